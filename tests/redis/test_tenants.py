"""Tenants of a lane take turns, on a real server, and nobody's mail is lost or reordered for it."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
EARLY = 1_700_000_000_000


def accept(rig: Rig, tenant: str, count: int = 1, **fields: object) -> list[str]:
    ids = []
    for first in range(0, count, 500):
        mails = [rig.new(tenant=tenant, **fields) for _ in range(min(500, count - first))]
        rig.ledger.accept(LANE, mails)
        ids += [mail.id for mail in mails]
    return ids


def drained(rig: Rig, *, limit: int = 50) -> list[str]:
    """Claim everything, in the order in which it comes."""
    ids: list[str] = []
    while batch := rig.batch(limit=limit).mails:
        ids += [claim.id for claim in batch]
    return ids


def turns(rig: Rig) -> dict[bytes, bytes]:
    return rig.redis.hgetall(rig.keys.turns)


def test_a_sender_of_thousands_delays_another_s_ten_by_ten_turns(rig: Rig) -> None:
    """The ten come at any time: before the first is claimed, or in the middle."""
    accept(rig, "big", 3_000)
    few = accept(rig, "small", 5)
    order = [claim.id for claim in rig.batch(limit=500).mails]
    few += accept(rig, "small", 5)
    nobody_s = accept(rig, "", 5)
    order += drained(rig)
    assert [order.index(mail) for mail in few[:5]] == [1, 3, 5, 7, 9]
    assert max(order.index(mail) for mail in (*few, *nobody_s)) < 500 + 15
    assert len(order) == len(set(order)) == 3_015


def test_a_share_is_so_many_turns(rig: Rig) -> None:
    big, small = accept(rig, "big", 100, share=5), accept(rig, "small", 100)
    first = drained(rig)[:60]
    assert Counter(mail in set(big) for mail in first) == {True: 50, False: 10}
    assert [mail for mail in first if mail in small] == small[:10]


def test_the_mails_of_one_tenant_and_those_of_nobody_keep_their_order(rig: Rig) -> None:
    ids = {name: [] for name in ("a", "b", "")}
    for name in ("a", "", "b", "b", "a", "", "", "a", "b") * 10:
        ids[name] += accept(rig, name)
    order = drained(rig, limit=7)
    assert all([mail for mail in order if mail in set(mine)] == mine for mine in ids.values())


def test_a_lane_without_tenants_is_a_line(rig: Rig) -> None:
    ids = [mail for _ in range(30) for mail in accept(rig, "", 3)]
    assert drained(rig, limit=4) == ids


def test_priorities_go_before_turns(rig: Rig) -> None:
    low = accept(rig, "small", 3, priority=9)
    high = accept(rig, "big", 10, priority=0)
    assert drained(rig) == high + low


def test_who_was_away_gets_no_turns_for_it(rig: Rig) -> None:
    accept(rig, "busy", 200)
    rig.batch(limit=150)
    late = accept(rig, "late", 50)
    order = drained(rig)
    assert [order.index(mail) for mail in late[:3]] == [1, 3, 5]
    assert Counter(mail in late for mail in order[:40]) == {True: 20, False: 20}


def test_who_was_served_while_nobody_else_was_there_is_not_punished(rig: Rig) -> None:
    accept(rig, "busy", 500)
    drained(rig)
    again, new = accept(rig, "busy", 10), accept(rig, "new", 10)
    order = drained(rig)
    assert order == [mail for pair in zip(again, new, strict=True) for mail in pair]


def test_a_crowd_that_is_due_at_once_overtakes_nobody(rig: Rig) -> None:
    crowd = accept(rig, "big", 600, delay_ms=10**9)
    waiting = accept(rig, "small", 20)
    rig.make_due()
    rig.ledger.sweep(LANE)
    rig.ledger.sweep(LANE)
    later = accept(rig, "other", 20)
    order = drained(rig)
    assert max(order.index(mail) for mail in (*waiting, *later)) < 60
    assert [mail for mail in order if mail in set(crowd)] == crowd


def test_what_was_given_back_has_not_lost_its_turn(rig: Rig) -> None:
    accept(rig, "big", 100)
    small = accept(rig, "small", 2)
    claims = {claim.id: claim for claim in rig.batch(limit=10).mails}
    rig.ledger.release(LANE, list(claims.values()))
    assert {claim.id for claim in rig.batch(limit=10).mails} == set(claims) >= set(small)


def test_a_recovered_mail_goes_before_all_tenants(rig: Rig) -> None:
    lost = accept(rig, "big", 1, priority=9)
    rig.claim()
    accept(rig, "small", 3, priority=0)
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert drained(rig)[:1] == lost


def test_a_mail_that_is_requeued_stands_behind_its_tenant_s_others(rig: Rig) -> None:
    (mail,) = accept(rig, "big")
    rig.settle(rig.claim(), "b")
    mine, others = accept(rig, "big", 3), accept(rig, "small", 5)
    rig.ledger.requeue(LANE, [mail], 10**9)
    order = drained(rig)
    assert [one for one in order if one in {*mine, mail}] == [*mine, mail]
    assert order.index(mail) == 6  # beside the fourth of the others, with the older id
    assert set(order) == {*mine, *others, mail}


def test_what_stands_in_line_by_the_clock_is_drained_first(rig: Rig) -> None:
    """What was accepted before there were turns; and what an older worker beside a newer one still puts there."""
    old = accept(rig, "", 40)
    for place, mail in enumerate(old):
        rig.redis.zadd(rig.keys.ready, {mail: 10**13 + EARLY + place})
    rig.redis.delete(rig.keys.turns)
    new = accept(rig, "a", 3)
    beside = accept(rig, "")
    rig.redis.zadd(rig.keys.ready, {beside[0]: 10**13 + EARLY + 10**6})
    order = drained(rig, limit=10)
    assert order == [*old, *beside, *new]
    assert turns(rig)


def test_turns_are_forgotten_when_the_line_is_empty(rig: Rig) -> None:
    for n in range(300):
        accept(rig, f"t{n}")
    drained(rig)
    rig.ledger.sweep(LANE)
    assert turns(rig) == {}


def test_thousands_of_tenants_that_had_their_turn_are_forgotten_though_the_line_is_never_empty(rig: Rig) -> None:
    accept(rig, "big", 2_000)
    for n in range(1_500):
        accept(rig, f"t{n}")
    rig.batch(limit=1000)
    rig.batch(limit=1000)
    kept = accept(rig, "waiting", 3)
    rig.batch(limit=1000)
    for _ in range(20):
        rig.ledger.sweep(LANE)
    held = turns(rig)
    assert len(held) < 210
    assert b"1:big" in held
    assert set(kept) <= {mail.decode() for mail in rig.redis.zunion([rig.keys.ready, rig.keys.claims])}


def test_the_age_of_a_lane_is_that_of_its_oldest_mail_whosever_it_is(rig: Rig) -> None:
    oldest = {}
    for hours, name in ((3, "a"), (9, "b"), (1, "")):
        first, *_ = accept(rig, name, 30)
        oldest[name] = hours * 3_600_000
        accepted = rig.ledger.read(first).accepted_ms
        rig.redis.hset(rig.keys.record(first), "accepted", accepted - oldest[name])
    age = rig.ledger.stats(LANE).oldest_ready_age_ms
    assert oldest["b"] <= age < oldest["b"] + 60_000
    rig.batch(limit=4)
    assert rig.ledger.stats(LANE).oldest_ready_age_ms < 60_000


def test_a_mail_that_waited_on_the_schedule_is_as_old_as_its_due_time(rig: Rig) -> None:
    (mail,) = accept(rig, "a", delay_ms=10**9)
    rig.redis.hset(rig.keys.record(mail), "accepted", EARLY)
    seconds, _ = rig.redis.time()
    rig.redis.zadd(rig.keys.due, {mail: seconds * 1000 - 5_000})
    rig.ledger.sweep(LANE)
    assert 5_000 <= rig.ledger.stats(LANE).oldest_ready_age_ms < 65_000


def test_a_damaged_tenant_is_one_all_the_same(rig: Rig) -> None:
    ids = accept(rig, "a", 6, delay_ms=10**9)
    for mail, tenant in zip(ids, (b"\xff*", b"a*0", b"a*-5", b"a*99999999999999999999", b"*", b"\0"), strict=True):
        rig.redis.hset(rig.keys.record(mail), "tenant", tenant)
    rig.make_due()
    rig.ledger.sweep(LANE)
    assert set(drained(rig)) == set(ids)


def test_a_record_tells_whose_mail_it_is_also_after_it_was_sent(rig: Rig) -> None:
    (mail,) = accept(rig, "shop-17", share=3)
    rig.settle(rig.claim(), "d")
    assert rig.ledger.read(mail).tenant == "shop-17"


@pytest.mark.parametrize("fields", [{"tenant": "ann@example.org"}, {"tenant": "a b"}, {"share": 0}, {"share": 101}])
def test_a_tenant_or_share_that_cannot_be_is_refused(rig: Rig, fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="tenant"):
        rig.new(**fields)


SENDERS = st.lists(st.tuples(st.integers(1, 10), st.integers(1, 15)), min_size=2, max_size=4)


@given(SENDERS, st.integers(1, 6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_two_tenants_that_wait_drift_apart(rig: Rig, senders: list[tuple[int, int]], limit: int) -> None:
    """In no stretch of time does one get more than its share of turns, but for one turn each (SFQ's theorem 1)."""
    rig.redis.flushall()
    owner = {
        mail: place
        for place, (share, count) in enumerate(senders)
        for mail in accept(rig, f"t{place}", count, share=share)
    }
    order = [owner[mail] for mail in drained(rig, limit=limit)]
    for one, two in itertools.combinations(range(len(senders)), 2):
        until = min(max(n for n, who in enumerate(order) if who == each) for each in (one, two))
        steps = [1000 // senders[who][0] if who in {one, two} else 0 for who in order[: until + 1]]
        signed = [step if who == one else -step for step, who in zip(steps, order, strict=False)]
        ahead = list(itertools.accumulate(signed, initial=0))
        assert max(ahead) - min(ahead) <= 1000 // senders[one][0] + 1000 // senders[two][0]
