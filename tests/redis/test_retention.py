"""The record of an ended mail is kept as long as its state's retention says, and listed as long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailworker.ledger import LedgerPolicy
from mailworker.record import FINAL_STATES, MailState, Unreadable

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
MINUTE = 60_000
KEPT = {state: place * MINUTE for place, state in enumerate(FINAL_STATES, start=1)}


@pytest.fixture
def kept(rig: Rig) -> Rig:
    """A ledger that keeps each state for a time of its own."""
    return type(rig)(rig.redis, LedgerPolicy(**{f"{state}_ms": ms for state, ms in KEPT.items()}, key_ms=1))


def end(rig: Rig, state: MailState) -> str:
    mail = rig.accept(recipients=2)
    letters = {"sent": "dd", "partial": "db", "dead": "bb", "in_doubt": "id"}.get(state)
    if letters:
        assert rig.settle(rig.claim(), letters) == state
    elif state == "cancelled":
        rig.ledger.cancel(LANE, [mail])
    elif state == "expired":
        rig.expire(mail)
        assert rig.batch().mails == ()
    else:
        rig.ledger.set_aside(LANE, [Unreadable(mail, rig.claim().fence, "why", may_heal=False)])
    return mail


@pytest.mark.parametrize("state", FINAL_STATES)
def test_each_state_is_kept_for_a_time_of_its_own(kept: Rig, state: MailState) -> None:
    mail = end(kept, state)
    assert kept.state(mail) == state
    assert KEPT[state] - MINUTE < kept.redis.pttl(kept.keys.record(mail)) <= KEPT[state]


@pytest.mark.parametrize("state", FINAL_STATES[1:])
def test_each_state_is_listed_as_long_as_it_is_kept(kept: Rig, state: MailState) -> None:
    mail = end(kept, state)
    assert kept.ledger.parked(LANE, state) == (mail,)
    seconds, _ = kept.redis.time()
    ended = seconds * 1000 - KEPT[state]
    kept.redis.zadd(kept.keys.parked(state), {mail: ended + MINUTE // 2})
    kept.ledger.sweep(LANE)
    assert kept.ledger.parked(LANE, state) == (mail,)
    kept.redis.zadd(kept.keys.parked(state), {mail: ended - 1})
    kept.ledger.sweep(LANE)
    assert kept.ledger.parked(LANE, state) == ()
    assert kept.ledger.read(mail) is None


def test_a_sent_mail_leaves_only_what_a_report_needs(rig: Rig) -> None:
    mail = rig.accept(key="a" * 64, max_attempts=3, in_doubt="hold", expires_in_ms=10**6)
    rig.settle(rig.claim(), "-", error="later", told=b"told")
    rig.make_due()
    rig.ledger.sweep(LANE)
    rig.settle(rig.claim(), "d", told=b"told")
    left = {name.decode() for name in rig.redis.hkeys(rig.keys.record(mail))}
    assert left == {"version", "state", "accepted", "ended", "envelope", "recipients", "told", "fence", "attempts"}
