from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailworker.ledger import Pause

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"


def test_a_released_claim_is_first_in_line_again_and_costs_no_attempt(rig: Rig) -> None:
    first, second = rig.accept(), rig.accept()
    claim = rig.claim(limit=1)
    rig.ledger.release(LANE, [claim])
    assert rig.homes(first) == ["ready"]
    claims = rig.batch().mails
    assert [(c.id, c.attempts) for c in claims] == [(first, 1), (second, 1)]
    assert claims[0].fence > claim.fence


def test_a_released_mail_overtakes_nothing_more_important(rig: Rig) -> None:
    rig.accept(priority=9)
    claim = rig.claim()
    important = rig.accept(priority=0)
    rig.ledger.release(LANE, [claim])
    assert rig.claim(limit=1).id == important


def test_only_the_owner_can_release(rig: Rig) -> None:
    mail_id = rig.accept()
    lost = rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    rig.claim()
    before = rig.ledger.read(mail_id)
    rig.ledger.release(LANE, [lost])
    assert rig.ledger.read(mail_id) == before


def test_a_claim_that_was_marked_is_not_released_as_if_nothing_had_been_sent(rig: Rig) -> None:
    mail_id = rig.accept()
    claim = rig.claim()
    rig.mark(claim)
    rig.ledger.release(LANE, [claim])
    assert rig.homes(mail_id) == ["claims"]


def test_a_marked_claim_of_which_its_owner_knows_that_nothing_was_sent_is_released_unmarked(rig: Rig) -> None:
    first, second = rig.accept(), rig.accept()
    claims = rig.batch().mails
    rig.ledger.mark_dot(LANE, claims, 60_000)
    rig.ledger.release(LANE, claims, unsent={first})
    assert (rig.homes(first), rig.homes(second)) == (["ready"], ["claims"])
    record = rig.ledger.read(first)
    assert record is not None
    assert (record.phase, record.attempts) == ("", 0)


def test_releasing_twice_is_releasing_once(rig: Rig) -> None:
    mail_id = rig.accept()
    claim = rig.claim()
    rig.ledger.release(LANE, [claim])
    rig.ledger.release(LANE, [claim])
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert record.attempts == 0


def test_pauses_double_up_to_their_cap(rig: Rig) -> None:
    lengths = []
    for _ in range(4):
        rig.ledger.release(LANE, [], Pause(100_000, 350_000, "relay down"))
        lengths.append(round(rig.ledger.stats(LANE).paused_ms, -4))
        rig.end_pause()
    assert lengths == [100_000, 200_000, 350_000, 350_000]
    assert rig.ledger.stats(LANE).pause_failures == 4
    assert rig.ledger.stats(LANE).pause_reason == "relay down"


def test_workers_that_meet_one_outage_count_one_failure(rig: Rig) -> None:
    for _ in range(3):
        rig.ledger.release(LANE, [], Pause(100_000, 10**9, "relay down"))
    stats = rig.ledger.stats(LANE)
    assert stats.pause_failures == 1
    assert stats.paused_ms <= 100_000


def test_a_short_pause_does_not_shorten_a_long_one(rig: Rig) -> None:
    rig.ledger.release(LANE, [], Pause(300_000, 300_000, "credentials"))
    rig.ledger.release(LANE, [], Pause(500, 30_000, "relay down"))
    assert rig.ledger.stats(LANE).paused_ms > 200_000


def test_no_bell_rings_in_a_paused_lane(rig: Rig) -> None:
    rig.ledger.release(LANE, [], Pause(60_000, 60_000, "relay down"))
    assert not rig.ledger.accept(LANE, [rig.new()]).bell_due
    assert not rig.ledger.sweep(LANE).bell_due
    rig.end_pause()
    assert rig.ledger.sweep(LANE).bell_due


@pytest.mark.parametrize(("base", "cap"), [(0, 1), (2, 1), (1, 10**14)])
def test_a_pause_that_is_none_is_refused(base: int, cap: int) -> None:
    with pytest.raises(ValueError, match="a pause"):
        Pause(base, cap, "")
