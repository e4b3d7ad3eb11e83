from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from mailworker.ledger import Claim, Claiming, Pause

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
WANT = {"limit": 1, "max_bytes": 1, "lease_ms": 1, "max_attempts": 1}


def test_a_claim_holds_all_that_is_needed_to_send(rig: Rig) -> None:
    mail = rig.new(payload=bytes(range(256)), envelope=b"\x00\xffe", recipients=2, priority=3, expires_ms=9 * 10**12)
    rig.accept_outcome(mail)
    claim = rig.claim()
    assert (claim.id, claim.payload, claim.envelope) == (mail.id, mail.payload, mail.envelope)
    assert (claim.recipients, claim.told, claim.priority, claim.expires_ms) == ("pp", b"", 3, 9 * 10**12)
    assert (claim.fence, claim.attempts, claim.possible_duplicates) == (1, 1, 0)
    assert rig.state(mail.id) == "sending"
    assert rig.homes(mail.id) == ["claims"]


def test_what_is_claimed_is_not_claimed_again(rig: Rig) -> None:
    rig.accept()
    rig.claim()
    assert rig.batch().mails == ()


def test_the_important_go_first_and_equals_in_order(rig: Rig) -> None:
    late, early = rig.accept(priority=9), rig.accept(priority=0)
    middle = [rig.accept(priority=5) for _ in range(3)]
    assert [claim.id for claim in rig.batch().mails] == [early, *middle, late]


def test_a_recovered_mail_goes_before_all_others(rig: Rig) -> None:
    rig.accept(priority=9)
    rig.claim()
    rig.accept(priority=0, delay_ms=60_000)
    rig.make_due()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert [claim.priority for claim in rig.batch().mails] == [9, 0]


def test_a_claim_takes_no_more_mails_than_wanted(rig: Rig) -> None:
    ids = [rig.accept() for _ in range(5)]
    batch = rig.batch(limit=2)
    assert [claim.id for claim in batch.mails] == ids[:2]
    assert batch.ready_left == 3


def test_a_claim_takes_no_more_bytes_than_wanted(rig: Rig) -> None:
    ids = [rig.accept(payload=b"x" * 400) for _ in range(3)]
    batch = rig.batch(max_bytes=1000)
    assert [claim.id for claim in batch.mails] == ids[:2]
    assert rig.homes(ids[2]) == ["ready"]


def test_a_mail_larger_than_the_bound_is_claimed_alone(rig: Rig) -> None:
    large, _ = rig.accept(payload=b"x" * 5000), rig.accept()
    assert [claim.id for claim in rig.batch(max_bytes=1000).mails] == [large]


def test_fences_only_grow(rig: Rig) -> None:
    rig.accept()
    fences = []
    for _ in range(4):
        claim = rig.claim()
        fences.append(claim.fence)
        rig.settle(claim, "-")
        rig.make_due()
        rig.ledger.sweep(LANE)
    assert fences == sorted(set(fences))


def test_a_mail_that_keeps_killing_its_workers_ends_dead(rig: Rig) -> None:
    mail_id = rig.accept()
    for attempt in (1, 2, 3):
        assert rig.claim(max_attempts=3).attempts == attempt
        rig.end_leases()
        rig.ledger.sweep(LANE)
    batch = rig.batch(max_attempts=3)
    record = rig.ledger.read(mail_id)
    assert batch.mails == ()
    assert record is not None
    assert (record.state, record.payload_bytes > 0) == ("dead", True)
    assert "attempts" in record.error
    assert rig.homes(mail_id) == ["dead"]
    assert rig.counts()["dead"] == 1


@pytest.mark.parametrize(("own", "claims"), [(1, 2), (2, 3), (5, 6)])
def test_a_mail_may_bring_its_own_cap_of_attempts(rig: Rig, own: int, claims: int) -> None:
    """One claim more than attempts: the last verdict is a verdict, not the end of a crash loop."""
    mail_id = rig.accept(max_attempts=own)
    for attempt in range(1, claims + 1):
        claim = rig.claim(max_attempts=4)
        assert (claim.attempts, claim.max_attempts) == (attempt, own)
        rig.end_leases()
        rig.ledger.sweep(LANE)
    assert rig.batch(max_attempts=4).mails == ()
    assert rig.state(mail_id) == "dead"


def test_an_expired_mail_is_not_claimed(rig: Rig) -> None:
    mail_id = rig.accept(expires_ms=1)
    assert rig.batch().mails == ()
    assert (rig.state(mail_id), rig.homes(mail_id)) == ("expired", [])
    assert rig.counts() == {"accepted": 1, "expired": 1}


def test_expired_mails_do_not_hide_those_behind_them(rig: Rig) -> None:
    rig.ledger.accept(LANE, [rig.new(expires_ms=1) for _ in range(50)])
    good = rig.accept()
    assert [claim.id for claim in rig.batch(limit=3).mails] == [good]


def test_an_id_without_a_record_is_skipped_and_forgotten(rig: Rig) -> None:
    ghost, good = rig.accept(), rig.accept()
    rig.redis.delete(rig.keys.record(ghost))
    assert rig.claim().id == good
    assert rig.homes(ghost) == []


def test_an_ended_mail_is_not_claimed_even_if_it_stands_in_line(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), "b")
    rig.redis.zadd(rig.keys.ready, {mail_id: 1})
    assert rig.batch().mails == ()
    assert (rig.state(mail_id), rig.homes(mail_id)) == ("dead", ["dead"])


def test_a_mail_without_its_payload_is_parked_and_does_not_stop_the_lane(rig: Rig) -> None:
    broken, good = rig.accept(), rig.accept()
    rig.redis.hdel(rig.keys.record(broken), "payload")
    assert rig.claim().id == good
    assert rig.state(broken) == "quarantined"


def test_one_call_looks_at_a_bounded_number_of_mails(rig: Rig) -> None:
    for _ in range(3):
        rig.ledger.accept(LANE, [rig.new(expires_ms=1) for _ in range(500)])
    batch = rig.batch(limit=10, answering=True)
    assert batch.mails == ()
    assert batch.ready_left > 0
    assert batch.bell_due


def test_a_paused_lane_gives_nothing_and_says_for_how_long(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.ledger.release(LANE, [], Pause(60_000, 60_000, "relay down"))
    batch = rig.batch(answering=True)
    assert (batch.mails, batch.bell_due, batch.ready_left) == ((), False, 1)
    assert 0 < batch.paused_ms <= 60_000
    assert rig.homes(mail_id) == ["ready"]
    rig.end_pause()
    assert rig.claim().id == mail_id


def test_a_drain_that_leaves_work_is_told_to_ring_for_another(rig: Rig) -> None:
    rig.ledger.accept(LANE, [rig.new() for _ in range(3)])
    assert rig.batch(limit=1, answering=True).bell_due
    assert not rig.batch(limit=1).bell_due
    assert not rig.batch(limit=1, answering=True).bell_due


def test_a_bell_can_be_taken_once(rig: Rig) -> None:
    assert rig.ledger.bells.ring(LANE)
    assert not rig.ledger.bells.ring(LANE)
    rig.batch(answering=True)
    assert rig.ledger.bells.ring(LANE)
    assert 0 < rig.redis.pttl(rig.keys.bell) <= 5000


def test_workers_that_claim_at_once_share_the_mails(rig: Rig) -> None:
    mails = [rig.new() for _ in range(300)]
    rig.ledger.accept(LANE, mails)
    taken: list[Claim] = []

    def work() -> None:
        while batch := rig.batch(limit=7).mails:
            taken.extend(batch)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(claim.id for claim in taken) == sorted(mail.id for mail in mails)


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": 1001}, {"max_bytes": 0}, {"lease_ms": 0}, {"max_attempts": 0}]
)
def test_a_claim_that_can_take_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a claim takes"):
        Claiming(**{**WANT, **wrong})
