"""What dead processes held is freed before its lease is over, and nothing else is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis

from mailworker.ledger import LedgerUnavailableError, Sweep

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
DEAD, ALIVE = "0123456789ab:17", "0123456789ab:18"
NOTHING = Sweep(due=0, recovered=0, expired=(), in_doubt=(), more=False, bell_due=False)


def bury(rig: Rig, *names: str, hold: bool = False) -> Sweep:
    return rig.ledger.departed.bury(LANE, lambda name: name in (names or {DEAD}), hold=hold)


def history(rig: Rig, mail_id: str) -> list[dict[str, Any]]:
    record = rig.ledger.read(mail_id)
    assert record is not None
    return [json.loads(line) for line in record.history]


def test_what_a_dead_process_had_claimed_is_first_in_line_again_and_its_lease_is_not_waited_for(rig: Rig) -> None:
    rig.accept(priority=9)
    claim = rig.claim(owner=DEAD)
    rig.accept(priority=0)
    rig.redis.delete(rig.keys.bell)
    assert bury(rig) == Sweep(due=0, recovered=1, expired=(), in_doubt=(), more=False, bell_due=True)
    again = rig.batch(limit=1).mails[0]
    assert (again.id, again.attempts, again.possible_duplicates) == (claim.id, 2, 0)
    assert again.fence > claim.fence
    (note,) = history(rig, claim.id)
    assert (note["event"], note["why"]) == ("recovered", "its process had ended")
    assert rig.counts() == {"accepted": 2, "recovered": 1}


def test_what_others_hold_is_left_to_them(rig: Rig) -> None:
    mails = [rig.accept() for _ in range(3)]
    claims = [rig.claim(owner=owner, limit=1) for owner in (ALIVE, "", DEAD)]
    assert bury(rig).recovered == 1
    assert [rig.state(mail) for mail in mails] == ["sending", "sending", "ready"]
    assert [rig.mark(claim) for claim in claims] == [True, True, False]
    assert bury(rig) == NOTHING


def test_what_was_at_the_final_dot_is_flagged_as_when_a_lease_is_over(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.mark(rig.claim(owner=DEAD))
    assert bury(rig).recovered == 1
    assert rig.claim().possible_duplicates == 1
    assert history(rig, mail_id)[-1]["event"] == "recovered at the dot"
    assert rig.counts() == {"accepted": 1, "recovered": 1, "possible_duplicates": 1}


@pytest.mark.parametrize(("own", "hold"), [(None, True), ("hold", False)])
def test_where_doubts_are_held_it_waits_for_a_person(rig: Rig, own: str | None, hold: bool) -> None:  # noqa: FBT001 - a case of the table
    mail_id = rig.accept(in_doubt=own)
    rig.mark(rig.claim(owner=DEAD))
    assert bury(rig, hold=hold).in_doubt == (mail_id,)
    assert (rig.state(mail_id), rig.homes(mail_id)) == ("in_doubt", ["in_doubt"])


def test_what_has_expired_meanwhile_ends(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.claim(owner=DEAD)
    rig.expire(mail_id)
    assert bury(rig).expired == (mail_id,)
    assert rig.homes(mail_id) == []


def test_a_250_that_a_dead_process_had_still_sent_to_the_ledger_is_a_fact(rig: Rig) -> None:
    claim = rig.claim(owner=DEAD) if rig.accept() else None
    assert claim is not None
    rig.mark(claim)
    bury(rig)
    assert rig.settle(claim, "d") == "sent"
    assert rig.batch().mails == ()


def test_whoever_claims_a_mail_after_the_dead_keeps_it(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.claim(owner=DEAD)
    rig.end_leases()
    rig.ledger.sweep(LANE)
    claim = rig.claim(owner=ALIVE)
    assert bury(rig) == NOTHING
    assert (rig.state(mail_id), rig.mark(claim)) == ("sending", True)


def test_a_claim_by_a_worker_that_tells_no_name_is_not_taken_for_the_claim_before(rig: Rig) -> None:
    """A worker of an older version raises the fence, and leaves the field as it stands."""
    mail_id = rig.accept()
    rig.claim(owner=DEAD)
    record = rig.keys.record(mail_id)
    assert rig.redis.hget(record, "owner") == f"1:{DEAD}".encode()
    rig.redis.hset(record, "fence", 2)
    assert bury(rig) == NOTHING
    assert rig.state(mail_id) == "sending"


def test_a_claim_that_is_given_up_between_the_look_and_the_deed_is_left_alone(rig: Rig) -> None:
    """Another watch was faster, and somebody has claimed the mail anew."""
    mail_id = rig.accept()
    rig.claim(owner=DEAD)

    def is_gone(name: str) -> bool:
        rig.end_leases()
        rig.ledger.sweep(LANE)
        rig.claim(owner=ALIVE)
        return name == DEAD

    assert rig.ledger.departed.bury(LANE, is_gone) == NOTHING
    assert (rig.state(mail_id), rig.homes(mail_id)) == ("sending", ["claims"])


def test_all_of_many_claims_are_looked_at(rig: Rig) -> None:
    for owner in (DEAD, ALIVE) * 2:
        rig.ledger.accept(LANE, [rig.new() for _ in range(700)])
        assert len(rig.batch(limit=700, owner=owner).mails) == 700
    assert bury(rig).recovered == 1400
    assert bury(rig) == NOTHING
    assert rig.ledger.stats(LANE).claims == 1400


def test_nothing_remains_of_a_name_when_the_mail_has_ended(rig: Rig) -> None:
    ended, deferred = rig.accept(), rig.accept()
    claims = {claim.id: claim for claim in rig.batch(owner=ALIVE).mails}
    rig.settle(claims[ended], "d")
    rig.settle(claims[deferred], "-", delay_ms=60_000)
    assert [rig.redis.hexists(rig.keys.record(mail), "owner") for mail in (ended, deferred)] == [False, False]


def test_damaged_records_stop_nobody(rig: Rig) -> None:
    mails = [rig.accept() for _ in range(4)]
    rig.batch(owner=DEAD)
    rig.redis.set(rig.keys.record(mails[0]), "no hash")
    rig.redis.delete(rig.keys.record(mails[1]))
    rig.redis.hset(rig.keys.record(mails[2]), "owner", b"\xff\xfe")
    rig.redis.zadd(rig.keys.claims, {b"\xff": 10**13})
    assert bury(rig).recovered == 1
    assert rig.state(mails[3]) == "ready"


def test_a_ledger_out_of_reach_is_an_error_of_the_ledger(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(rig.redis, "execute_command", unreachable)
    with pytest.raises(LedgerUnavailableError):
        bury(rig)
