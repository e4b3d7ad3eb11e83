"""What a person decides about a mail: cancel, requeue, purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.redis.conftest import LANE

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

HOUR = 3_600_000


@pytest.mark.parametrize("fields", [{}, {"delay_ms": HOUR}])
def test_a_mail_that_waits_can_be_cancelled_and_is_never_sent(rig: Rig, fields: dict[str, int]) -> None:
    mail = rig.accept(**fields)
    assert rig.ledger.cancel(LANE, [mail]) == ("cancelled",)
    rig.make_due()
    rig.ledger.sweep(LANE)
    assert rig.batch().mails == ()
    record = rig.ledger.read(mail)
    assert record.state.is_final
    assert record.payload_bytes > 0


def test_a_deferred_mail_can_be_cancelled(rig: Rig) -> None:
    mail = rig.accept()
    rig.settle(rig.claim(), "-", delay_ms=HOUR)
    assert rig.ledger.cancel(LANE, [mail]) == ("cancelled",)


def test_a_mail_on_the_wire_cannot_be_called_back(rig: Rig) -> None:
    mail = rig.accept()
    claim = rig.claim()
    assert rig.ledger.cancel(LANE, [mail]) == ("sending",)
    assert rig.settle(claim, "d") == "sent"
    assert rig.ledger.cancel(LANE, [mail]) == ("sent",)
    assert rig.ledger.cancel(LANE, [rig.new().id]) == ("unknown",)


def test_a_dead_mail_gets_another_go_with_new_attempts_and_a_new_age(rig: Rig) -> None:
    mail = rig.accept()
    rig.settle(rig.claim(), "b", error="no such user")
    assert rig.ledger.parked(LANE, "dead") == (mail,)
    rig.redis.delete(rig.keys.bell)
    requeued = rig.ledger.requeue(LANE, [mail], HOUR)
    assert (requeued.states, requeued.bell_due) == (("ready",), True)
    assert rig.ledger.parked(LANE, "dead") == ()
    assert rig.redis.pttl(rig.keys.record(mail)) == -1
    claim = rig.claim()
    assert (claim.attempts, claim.recipients) == (1, "p")
    assert rig.settle(claim, "d") == "sent"


def test_only_who_has_not_got_it_gets_it_again(rig: Rig) -> None:
    mail = rig.accept(recipients=3)
    rig.settle(rig.claim(), "dbd")
    rig.ledger.requeue(LANE, [mail], HOUR)
    assert rig.claim().recipients == "dpd"


def test_a_mail_in_doubt_is_sent_again_flagged(rig: Rig) -> None:
    mail = rig.accept()
    rig.settle(rig.claim(), "i")
    assert rig.ledger.parked(LANE, "in_doubt") == (mail,)
    rig.ledger.requeue(LANE, [mail], HOUR)
    assert rig.claim().possible_duplicates == 1


def test_a_requeued_mail_keeps_its_fence_growing_so_that_an_old_claim_stays_dead(rig: Rig) -> None:
    mail = rig.accept()
    old = rig.claim()
    rig.settle(old, "b")
    rig.ledger.requeue(LANE, [mail], HOUR)
    assert rig.claim().fence > old.fence
    assert rig.settle(old, "b") == "fenced"


def test_what_has_not_ended_or_was_sent_is_not_requeued(rig: Rig) -> None:
    ready, sent = rig.accept(), rig.accept(priority=9)
    rig.settle(rig.claim(limit=1), "d")
    states = rig.ledger.requeue(LANE, [ready, sent, rig.new().id], HOUR).states
    assert sorted(states) == ["ready", "sent", "unknown"]
    assert rig.redis.zcard(rig.keys.ready) == 1


def test_a_purged_mail_is_forgotten_and_an_open_one_is_not(rig: Rig) -> None:
    dead = rig.accept()
    rig.settle(rig.claim(), "b")
    ready = rig.accept()
    assert rig.ledger.purge(LANE, [dead, ready]) == ("purged", "ready")
    assert rig.ledger.read(dead) is None
    assert rig.ledger.parked(LANE, "dead") == ()
    assert rig.ledger.read(ready) is not None
