from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mailworker.ledger import Sweep

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
NOTHING = Sweep(due=0, recovered=0, expired=(), in_doubt=(), more=False, bell_due=False)


def test_an_idle_lane_needs_no_sweep(rig: Rig) -> None:
    assert rig.ledger.sweep(LANE) == NOTHING
    assert rig.redis.dbsize() == 0


def test_what_is_due_gets_in_line_and_a_bell_rings(rig: Rig) -> None:
    mail_id = rig.accept(delay_ms=60_000)
    assert rig.ledger.sweep(LANE) == NOTHING
    rig.make_due()
    assert rig.ledger.sweep(LANE) == Sweep(due=1, recovered=0, expired=(), in_doubt=(), more=False, bell_due=True)
    assert (rig.state(mail_id), rig.homes(mail_id)) == ("ready", ["ready"])
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert record.due_ms is None


def test_due_mails_keep_their_priority_and_their_order(rig: Rig) -> None:
    low, first, second = (rig.accept(delay_ms=60_000, priority=p) for p in (7, 2, 2))
    rig.make_due()
    rig.ledger.sweep(LANE)
    assert [claim.id for claim in rig.batch().mails] == [first, second, low]


def test_equals_go_in_order_of_time_not_of_their_ids(rig: Rig) -> None:
    later, sooner = rig.accept(delay_ms=120_000), rig.accept(delay_ms=60_000)
    rig.make_due()
    rig.ledger.sweep(LANE)
    assert [claim.id for claim in rig.batch().mails] == [sooner, later]


def test_a_live_claim_is_left_alone(rig: Rig) -> None:
    rig.accept()
    claim = rig.claim()
    assert rig.ledger.sweep(LANE).recovered == 0
    assert rig.settle(claim, "d") == "sent"


def test_a_dead_workers_mail_is_sent_again(rig: Rig) -> None:
    mail_id = rig.accept()
    first = rig.claim()
    rig.end_leases()
    assert rig.ledger.sweep(LANE).recovered == 1
    assert rig.homes(mail_id) == ["ready"]
    again = rig.claim()
    assert (again.attempts, again.possible_duplicates) == (2, 0)
    assert again.fence > first.fence
    assert rig.counts() == {"accepted": 1, "recovered": 1}


def test_a_mail_lost_at_the_final_dot_is_resent_and_flagged(rig: Rig) -> None:
    rig.accept()
    rig.mark(rig.claim())
    rig.end_leases()
    assert rig.ledger.sweep(LANE).recovered == 1
    again = rig.claim()
    record = rig.ledger.read(again.id)
    assert record is not None
    assert (again.possible_duplicates, record.phase) == (1, "")
    assert json.loads(record.history[-1])["event"] == "recovered at the dot"
    assert rig.counts() == {"accepted": 1, "recovered": 1, "possible_duplicates": 1}


def test_a_mail_lost_at_the_final_dot_is_held_for_a_person_if_so_wished(rig: Rig) -> None:
    mail_id = rig.accept(recipients=3)
    rig.settle(rig.claim(), "db-")
    rig.make_due()
    rig.ledger.sweep(LANE)
    rig.mark(rig.claim())
    rig.end_leases()
    assert rig.ledger.sweep(LANE, hold=True).in_doubt == (mail_id,)
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert (record.state, record.recipients, record.payload_bytes > 0) == ("in_doubt", "dbi", True)
    assert rig.homes(mail_id) == ["in_doubt"]


@pytest.mark.parametrize(("own", "hold", "state"), [("hold", False, "in_doubt"), ("resend", True, "ready")])
def test_a_mails_own_policy_in_doubt_goes_before_its_lanes(rig: Rig, own: str, hold: bool, state: str) -> None:  # noqa: FBT001 - a case of the table
    mail_id = rig.accept(in_doubt=own)
    claim = rig.claim()
    assert claim.in_doubt == own
    rig.mark(claim)
    rig.end_leases()
    rig.ledger.sweep(LANE, hold=hold)
    assert rig.state(mail_id) == state


def test_what_kept_a_mail_from_being_sent_is_readable_when_it_has_expired(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), "-", error="the mailbox is full", delay_ms=60_000)
    rig.expire(mail_id)
    rig.make_due()
    rig.ledger.sweep(LANE)
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert (record.state, record.error) == ("expired", "expired after 1 attempts; at last: the mailbox is full")


def test_a_requeued_mail_keeps_its_own_cap_and_expires_anew(rig: Rig) -> None:
    mail_id = rig.accept(max_attempts=1, max_age_ms=60_000)
    rig.settle(rig.claim(), "b")
    rig.ledger.requeue(LANE, [mail_id], 3_600_000)
    again = rig.claim()
    assert (again.attempts, again.max_attempts) == (1, 1)
    assert again.expires_ms is not None
    assert again.expires_ms > again.accepted_ms + 3_000_000


def test_holding_does_not_hold_what_cannot_have_been_sent(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.claim()
    rig.end_leases()
    assert rig.ledger.sweep(LANE, hold=True).recovered == 1
    assert rig.state(mail_id) == "ready"


@pytest.mark.parametrize("was", ["scheduled", "claimed"])
def test_an_expired_mail_is_not_sent_any_more(rig: Rig, was: str) -> None:
    mail_id = rig.accept(delay_ms=60_000 if was == "scheduled" else 0)
    if was == "claimed":
        rig.claim()
        rig.end_leases()
    rig.expire(mail_id)
    rig.make_due()
    assert rig.ledger.sweep(LANE).expired == (mail_id,)
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert (record.state, record.due_ms, rig.homes(mail_id)) == ("expired", None, [])


def test_an_expired_mail_that_may_have_been_delivered_is_in_doubt(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.mark(rig.claim())
    rig.expire(mail_id)
    rig.end_leases()
    assert rig.ledger.sweep(LANE).in_doubt == (mail_id,)
    assert rig.state(mail_id) == "in_doubt"


def test_an_expired_claim_may_still_be_settled_by_its_owner(rig: Rig) -> None:
    mail_id = rig.accept()
    claim = rig.claim()
    rig.expire(mail_id)
    assert rig.settle(claim, "d") == "sent"


def test_a_sweep_takes_so_many_and_says_if_more_wait(rig: Rig) -> None:
    rig.ledger.accept(LANE, [rig.new(delay_ms=60_000) for _ in range(5)])
    rig.make_due()
    assert [(s.due, s.more) for s in (rig.ledger.sweep(LANE, 3), rig.ledger.sweep(LANE, 3))] == [(3, True), (2, False)]
    rig.batch()
    rig.end_leases()
    assert rig.ledger.sweep(LANE, 4).more
    assert not rig.ledger.sweep(LANE, 4).more


def test_a_missing_bell_is_rung_once(rig: Rig) -> None:
    rig.accept()
    assert not rig.ledger.sweep(LANE).bell_due
    rig.redis.delete(rig.keys.bell)
    assert rig.ledger.sweep(LANE).bell_due
    assert not rig.ledger.sweep(LANE).bell_due


@pytest.mark.parametrize("home", ["due", "claims"])
def test_an_ended_mail_is_not_brought_back(rig: Rig, home: str) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), "b")
    rig.redis.zadd(getattr(rig.keys, home), {mail_id: 1})
    assert rig.ledger.sweep(LANE) == NOTHING
    assert (rig.state(mail_id), rig.homes(mail_id)) == ("dead", ["dead"])


def test_ids_without_records_are_swept_away(rig: Rig) -> None:
    scheduled, claimed = rig.accept(delay_ms=60_000), rig.accept()
    rig.claim()
    rig.end_leases()
    rig.make_due()
    for mail_id in (scheduled, claimed):
        rig.redis.delete(rig.keys.record(mail_id))
    assert rig.ledger.sweep(LANE) == NOTHING
    assert rig.homes(scheduled) == rig.homes(claimed) == []


@pytest.mark.parametrize("letter", ["b", "i"])
def test_a_parked_mail_is_listed_as_long_as_its_record_lives(rig: Rig, letter: str) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), letter)
    rig.ledger.sweep(LANE)
    (home,) = rig.homes(mail_id)
    rig.redis.zadd(getattr(rig.keys, home), {mail_id: 1})
    rig.ledger.sweep(LANE)
    assert rig.homes(mail_id) == []


def test_the_history_tells_what_happened_without_a_worker(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    rig.expire(mail_id)
    rig.batch()
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert [json.loads(line)["event"] for line in record.history] == ["recovered", "expired"]
    assert json.loads(record.history[0])["at"] >= record.accepted_ms
