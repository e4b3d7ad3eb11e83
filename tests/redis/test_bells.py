"""Of those who must wait until mails of a lane may be sent, one does; and nobody is called in vain, or forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"


def test_one_waits_for_all(rig: Rig) -> None:
    rig.accept()
    bells = rig.ledger.bells
    assert bells.wait(LANE, "a", 1000, answering=True)
    assert not bells.wait(LANE, "b", 1000, answering=True)
    assert bells.wait(LANE, "a", 1000, answering=False)
    assert rig.redis.get(rig.keys.waiter) == b"a"
    assert 1000 < rig.redis.pttl(rig.keys.waiter) <= 2000, "who dies while he waits is replaced"


def test_nobody_waits_where_no_mail_does(rig: Rig) -> None:
    assert not rig.ledger.bells.wait(LANE, "a", 1000, answering=True)
    assert not rig.redis.exists(rig.keys.waiter)


def test_while_one_waits_others_hear_of_new_mails(rig: Rig) -> None:
    """What the waiting one waits for may not be what they would have to."""
    rig.accept()
    rig.ledger.bells.wait(LANE, "a", 1000, answering=True)
    assert rig.ledger.accept(LANE, [rig.new()]).bell_due


def test_whoever_came_in_vain_is_not_followed_at_once(rig: Rig) -> None:
    rig.accept()
    rig.ledger.bells.wait(LANE, "a", 1000, answering=True)
    rig.ledger.bells.wait(LANE, "b", 1000, answering=True)
    assert not rig.ledger.accept(LANE, [rig.new()]).bell_due
    assert 0 < rig.redis.pttl(rig.keys.bell) <= 250


def test_whoever_has_waited_calls_another_when_he_claims_though_one_came_in_vain(rig: Rig) -> None:
    for _ in range(3):
        rig.accept()
    rig.ledger.bells.wait(LANE, "a", 1000, answering=True)
    rig.ledger.bells.wait(LANE, "b", 1000, answering=True)
    batch = rig.batch(limit=1, waited=True)
    assert batch.mails
    assert batch.bell_due
    assert rig.ledger.bells.wait(LANE, "c", 1000, answering=True), "nobody waits any more"


def test_a_bell_that_somebody_will_hear_is_not_rung_again_by_whoever_has_waited(rig: Rig) -> None:
    for _ in range(3):
        rig.accept()
    rig.ledger.bells.wait(LANE, "a", 1000, answering=True)
    assert rig.ledger.bells.ring(LANE)
    assert not rig.batch(limit=1, waited=True).bell_due


def test_whoever_ends_after_a_bell_or_after_waiting_lets_another_hear_one(rig: Rig) -> None:
    rig.accept()
    rig.ledger.bells.wait(LANE, "a", 1000, answering=True)
    assert rig.ledger.bells.hand_on(LANE, "a")
    assert not rig.redis.exists(rig.keys.waiter)
    assert rig.ledger.bells.hand_on(LANE, "b"), "he has heard the one that was outstanding"


def test_whoever_ends_leaves_another_waiting(rig: Rig) -> None:
    rig.accept()
    rig.ledger.bells.wait(LANE, "a", 1000, answering=True)
    rig.ledger.bells.hand_on(LANE, "b")
    assert rig.redis.get(rig.keys.waiter) == b"a"


def test_nobody_is_called_to_a_lane_without_mails(rig: Rig) -> None:
    assert not rig.ledger.bells.hand_on(LANE, "a")


def test_nobody_is_waited_for_who_let_the_lane_rest(rig: Rig) -> None:
    rig.accept()
    rig.ledger.bells.wait(LANE, "a", 1000, answering=True)
    rig.ledger.pauses.rest(LANE, 60_000, "a limit")
    rig.ledger.pauses.resume(LANE)
    assert rig.ledger.bells.wait(LANE, "b", 1000, answering=True)
