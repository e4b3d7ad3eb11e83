"""Ends that somebody asked to be told of: none is forgotten, and each is told until it was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.redis.conftest import EARLY, LANE

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

HOUR = 3_600_000


def taken(rig: Rig, lease_ms: int = HOUR) -> list[tuple[str, str, bytes]]:
    return [(mail.id, mail.state, mail.callbacks) for mail in rig.ledger.outbox.take(LANE, 10, lease_ms)]


def test_every_way_to_end_is_to_be_told(rig: Rig) -> None:
    sent, bounced, parked, cancelled, expired, lost = (rig.accept(callbacks=b"who") for _ in range(6))
    rig.ledger.cancel(LANE, [cancelled])
    rig.expire(expired)
    claims = {claim.id: claim for claim in rig.batch().mails}
    for mail_id, letter in ((sent, "d"), (bounced, "b"), (parked, "i")):
        rig.settle(claims[mail_id], letter)
    rig.mark(claims[lost])
    rig.end_leases()
    rig.ledger.sweep(LANE, hold=True)
    assert {mail_id: state for mail_id, state, blob in taken(rig) if blob == b"who"} == {
        sent: "sent",
        bounced: "dead",
        parked: "in_doubt",
        cancelled: "cancelled",
        expired: "expired",
        lost: "in_doubt",
    }


def test_a_mail_given_up_in_line_is_to_be_told_and_named_by_the_claim(rig: Rig) -> None:
    mail_id = rig.accept(callbacks=b"who")
    rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert [(mail.id, mail.state) for mail in rig.batch(max_attempts=1).ended] == [(mail_id, "dead")]
    assert taken(rig) == [(mail_id, "dead", b"who")]


def test_a_mail_without_callbacks_is_nobodys_business(rig: Rig) -> None:
    rig.accept()
    rig.settle(rig.claim(), "d")
    assert taken(rig) == []
    assert not rig.ledger.outbox.ring(LANE)


def test_what_was_taken_is_another_tellers_only_if_it_is_not_told_in_time(rig: Rig) -> None:
    mail_id = rig.accept(callbacks=b"who")
    rig.settle(rig.claim(), "d")
    assert len(taken(rig)) == 1
    assert taken(rig) == []
    rig.redis.zadd(rig.keys.untold, {mail_id: EARLY})
    (mail,) = rig.ledger.outbox.take(LANE, 10, HOUR)
    rig.ledger.outbox.told(LANE, [mail])
    assert rig.redis.zcard(rig.keys.untold) == 0
    assert not rig.redis.hexists(rig.keys.record(mail_id), "callbacks")


def test_one_is_asked_to_tell_at_a_time_and_nobody_when_all_is_being_told(rig: Rig) -> None:
    rig.accept(callbacks=b"who")
    rig.settle(rig.claim(), "d")
    assert [rig.ledger.outbox.ring(LANE), rig.ledger.outbox.ring(LANE)] == [True, False]
    taken(rig)
    rig.redis.delete(rig.keys.telling)
    assert not rig.ledger.outbox.ring(LANE)


def test_a_mail_given_another_go_is_told_of_each_end(rig: Rig) -> None:
    mail_id = rig.accept(callbacks=b"who")
    rig.settle(rig.claim(), "b")
    (dead,) = rig.ledger.outbox.take(LANE, 10, HOUR)
    rig.ledger.requeue(LANE, [mail_id], HOUR)
    rig.ledger.outbox.told(LANE, [dead])
    rig.settle(rig.claim(), "d")
    assert taken(rig) == [(mail_id, "sent", b"who")]


def test_a_record_whose_end_is_untold_outlives_its_retention(rig: Rig) -> None:
    week = 7 * 24 * HOUR
    rig = type(rig)(rig.redis, type(rig.ledger._policy)(sent_ms=HOUR, dead_ms=HOUR, key_ms=HOUR))
    mail_id = rig.accept(callbacks=b"who")
    rig.settle(rig.claim(), "d")
    assert week - HOUR < rig.redis.pttl(rig.keys.record(mail_id)) <= week
    rig.ledger.outbox.told(LANE, rig.ledger.outbox.take(LANE, 10, HOUR))
    assert 0 < rig.redis.pttl(rig.keys.record(mail_id)) <= HOUR


def test_a_purged_mail_is_told_of_no_more(rig: Rig) -> None:
    mail_id = rig.accept(callbacks=b"who")
    rig.ledger.cancel(LANE, [mail_id])
    rig.ledger.purge(LANE, [mail_id])
    assert rig.redis.zcard(rig.keys.untold) == 0


def test_who_reports_late_has_not_told_of_the_next_end(rig: Rig) -> None:
    mail_id = rig.accept(callbacks=b"who")
    rig.settle(rig.claim(), "b")
    (first,) = rig.ledger.outbox.take(LANE, 10, HOUR)
    rig.ledger.requeue(LANE, [mail_id], HOUR)
    claim = rig.claim()
    while rig.redis.time()[0] * 1000 + rig.redis.time()[1] // 1000 <= first.ended_ms:
        pass
    rig.settle(claim, "b")
    rig.ledger.outbox.told(LANE, [first])
    assert taken(rig) == [(mail_id, "dead", b"who")]
