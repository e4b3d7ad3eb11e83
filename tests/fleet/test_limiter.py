"""Limits hold for everybody together, in every window."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailworker.fleet import Bucket
from tests.fleet.conftest import RELAY, START, World

if TYPE_CHECKING:
    from collections.abc import Sequence


def most_in_any_window(times: Sequence[int], window: int) -> int:
    """The largest number of these sorted times within any window of so many ms."""
    return max((bisect_left(times, at + window) - place for place, at in enumerate(times)), default=0)


def test_a_limit_grants_what_it_allows_and_tells_how_long_the_rest_waits(world: World) -> None:
    bucket = world.bucket(3)
    grant = world.limiter().take(RELAY, 5, [(bucket, None)])
    assert grant.granted == 3
    assert grant.waits[:3] == (0, 0, 0)
    world.now += grant.wait_ms - 1
    assert world.limiter().take(RELAY, 1, [(bucket, None)]).granted == 0
    world.now += 1
    assert world.limiter().take(RELAY, 1, [(bucket, None)]).granted == 1


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    limit=st.integers(1, 30),
    window=st.sampled_from([1000, 1500, 7777, 60_000]),
    asks=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 40), st.integers(0, 2)), min_size=1, max_size=60),
)
def test_no_window_ever_holds_more_than_the_limit(
    world: World, limit: int, window: int, asks: list[tuple[int, int, int]]
) -> None:
    bucket = world.bucket(limit, window)
    times: list[int] = []
    for step, items, who in asks:
        world.now += step
        times += [world.now] * world.limiter(f"w{who}").take(RELAY, items, [(bucket, None)]).granted
    assert most_in_any_window(times, window) <= limit


@pytest.mark.parametrize("burst", [0, 5])
def test_many_workers_use_at_least_98_percent_and_never_more(world: World, burst: int) -> None:
    """Sixty seconds of eight greedy workers, by a clock of their own."""
    bucket = world.bucket(50, 1000, burst)
    workers = [world.limiter(f"w{n}") for n in range(8)]
    ready_at = [START] * 8
    times: list[int] = []
    by_worker = [0] * 8
    while world.now < START + 60_000:
        turn = min(range(8), key=lambda n: ready_at[n])
        world.now = max(world.now, ready_at[turn])
        grant = workers[turn].take(RELAY, 20, [(bucket, None)])
        times += [world.now] * grant.granted
        by_worker[turn] += grant.granted
        ready_at[turn] = world.now + max(1, grant.wait_ms if grant.granted < 20 else 1)
    assert most_in_any_window(times, 1000) <= 50
    assert len(times) >= 0.98 * 50 * 60
    assert min(by_worker) >= len(times) / 8 / 2, by_worker


def test_several_limits_are_taken_together_or_not_at_all(world: World) -> None:
    second, day = world.bucket(10), world.bucket(4, 86_400_000)
    assert world.limiter().take(RELAY, 10, [(second, None), (day, None)]).granted == 4
    world.now += 2000
    assert world.limiter().take(RELAY, 1, [(second, None), (day, None)]).granted == 0
    assert world.limiter().take(RELAY, 10, [(second, None)]).granted == 10


def test_recipients_are_counted_and_nobody_overtakes_who_waits_for_them(world: World) -> None:
    mails, recipients = world.bucket(100), world.bucket(10)
    grant = world.limiter().take(RELAY, 4, [(mails, None), (recipients, [4, 7, 5, 1])])
    assert [wait == 0 for wait in grant.waits] == [True, False, False, False]


def test_a_mail_that_is_larger_than_the_limit_goes_alone(world: World) -> None:
    bucket = world.bucket(10)
    assert world.limiter().take(RELAY, 1, [(bucket, [25])]).granted == 1
    assert world.limiter().take(RELAY, 1, [(bucket, [1])]).granted == 0


def test_what_was_not_used_is_given_back(world: World) -> None:
    bucket = world.bucket(10)
    grant = world.limiter().take(RELAY, 10, [(bucket, None)])
    world.now += 100
    world.limiter().refund(grant, 4, [(bucket, 4)])
    assert world.limiter().take(RELAY, 10, [(bucket, None)]).granted == 4


def test_more_than_was_taken_cannot_be_given_back(world: World) -> None:
    bucket = world.bucket(10)
    grant = world.limiter().take(RELAY, 2, [(bucket, None)])
    world.limiter().refund(grant, 500, [(bucket, 500)])
    assert world.limiter().take(RELAY, 50, [(bucket, None)]).granted == 10


def test_a_burst_is_followed_by_an_even_pace(world: World) -> None:
    bucket = world.bucket(10, 1000, burst=2)
    assert world.limiter().take(RELAY, 5, [(bucket, None)]).waits == (0, 0, 100, 200, 300)
    world.now += 100
    assert world.limiter().take(RELAY, 5, [(bucket, None)]).granted == 1


def test_each_of_those_who_wait_is_told_a_moment_of_its_own(world: World) -> None:
    bucket = world.bucket(2, 1000)
    world.limiter().take(RELAY, 2, [(bucket, None)])
    first, second, third, _ = world.limiter().take(RELAY, 4, [(bucket, None)]).waits
    assert first == second < third


def test_whoever_was_refused_finds_its_share(world: World) -> None:
    bucket = world.bucket(10)
    world.limiter("greedy").take(RELAY, 10, [(bucket, None)])
    refused = world.limiter("modest").take(RELAY, 10, [(bucket, None)])
    world.now += refused.wait_ms
    assert world.limiter("greedy").take(RELAY, 10, [(bucket, None)]).granted == 5
    assert world.limiter("modest").take(RELAY, 10, [(bucket, None)]).granted == 5


def test_a_worker_that_died_in_line_is_not_waited_for_for_long(world: World) -> None:
    bucket = world.bucket(10)
    world.limiter("one").take(RELAY, 10, [(bucket, None)])
    world.limiter("dead").take(RELAY, 1, [(bucket, None)])
    world.now += 11_000
    assert world.limiter("one").take(RELAY, 10, [(bucket, None)]).granted == 10


def test_a_clock_that_is_set_back_stops_nobody_for_ever(world: World) -> None:
    bucket = world.bucket(5, 1000)
    world.limiter().take(RELAY, 5, [(bucket, None)])
    world.now -= 3_600_000
    assert world.limiter().take(RELAY, 5, [(bucket, None)]).granted == 5


def test_a_relay_that_complains_is_sent_half_as_much_at_once(world: World) -> None:
    send(world, seconds=10, each=20)
    rate = world.limiter().throttle(RELAY).rate
    assert rate == pytest.approx(10, rel=0.15)
    assert send(world, seconds=10, each=20) <= 10 * 10 * 1.15 + 10
    assert world.limiter().lesson(RELAY).ceiling == pytest.approx(20, rel=0.15)


def test_one_complaint_heard_by_many_workers_counts_once(world: World) -> None:
    send(world, seconds=10, each=20)
    rates = {world.limiter(f"w{n}").throttle(RELAY).rate for n in range(8)}
    assert len(rates) == 1


def test_of_mails_that_went_before_the_last_lesson_a_relay_complains_in_vain(world: World) -> None:
    send(world, seconds=10, each=20)
    early, late = (world.limiter().take(RELAY, 1, []) for _ in range(2))
    rate = world.limiter().throttle(RELAY, of=early).rate
    world.now += 3000
    told = world.limiter("slow").throttle(RELAY, of=late)
    assert (told.rate, told.is_news) == (pytest.approx(rate, rel=0.01), False)
    after = world.limiter().take(RELAY, 1, [])
    world.now += 3000
    assert world.limiter().throttle(RELAY, of=after).rate <= 0.6 * rate


def test_left_alone_the_rate_creeps_up_until_it_is_forgotten(world: World) -> None:
    send(world, seconds=10, each=20)
    world.limiter().throttle(RELAY)
    world.now += 5 * 60_000
    assert send(world, seconds=10, each=100) == pytest.approx(10 * 10 * 1.1**5, rel=0.2)
    world.now += 30 * 60_000
    assert send(world, seconds=2, each=100) == 200
    assert world.limiter().lesson(RELAY).rate is None


def test_a_relay_that_asks_for_a_pause_gets_it(world: World) -> None:
    world.limiter().throttle(RELAY, 30)
    assert world.limiter("other").take(RELAY, 1, []).wait_ms == 30_000
    world.now += 30_000
    assert world.limiter("other").take(RELAY, 1, []).granted == 1


def test_a_pinned_rate_is_moved_by_nobody_but_a_person(world: World) -> None:
    world.limiter().pin(RELAY, 5.0)
    send(world, seconds=5, each=50)
    world.limiter().throttle(RELAY)
    world.now += 3_600_000
    assert send(world, seconds=10, each=50) == pytest.approx(50, abs=6)
    world.limiter().pin(RELAY, None)
    assert send(world, seconds=2, each=50) == 100


def test_what_could_grant_nothing_is_refused_when_it_is_said(world: World) -> None:
    for limit, window, burst in ((0, 1000, 0), (1, 10, 0), (5, 1000, 6)):
        with pytest.raises(ValueError, match="a limit is at least"):
            Bucket("b", limit, window, burst)
    with pytest.raises(ValueError, match="cost for each item"):
        world.limiter().take(RELAY, 2, [(world.bucket(1), [1])])
    with pytest.raises(ValueError, match="1 to 500"):
        world.limiter().take(RELAY, 0, [])


def test_whoever_waits_for_one_domain_keeps_nobody_from_another(world: World) -> None:
    big, small = world.bucket(1, 60_000), world.bucket(1, 60_000)
    for who in "abc":
        world.limiter(who).take(RELAY, 2, [(big, [1, 1])], line="")
    assert world.limiter("d").take(RELAY, 1, [(small, [1])], line="").granted == 1


def test_whoever_waits_for_his_lane_s_limit_keeps_nobody_from_the_relay(world: World) -> None:
    relay, lane = world.bucket(3, 1000), world.bucket(1, 60_000)
    for who in "abc":
        world.limiter(who).take(RELAY, 2, [(relay, None)], [(lane, None)])
    world.now += 1010
    assert world.limiter("d").take(RELAY, 3, [(relay, None)]).granted == 3


def test_it_is_told_how_long_nobody_can_send_whoever_asks(world: World) -> None:
    bucket = world.bucket(1, 1000)
    for who in "abc":
        world.limiter(who).take(RELAY, 1, [(bucket, None)])
    last = world.limiter("d").take(RELAY, 1, [(bucket, None)])
    assert last.all_ms <= 1010
    assert last.wait_ms > 2000


def test_of_a_learned_rate_too_what_was_not_used_is_given_back(world: World) -> None:
    world.limiter().pin(RELAY, 10.0)
    went = 0
    for _ in range(200):
        grant = world.limiter().take(RELAY, 50, [])
        if grant.granted:
            world.limiter().refund(grant, grant.granted - 1, [])
            went += 1
        world.now += 100
    assert went >= 0.98 * 200


def test_a_complaint_halves_what_was_sent_not_what_was_granted(world: World) -> None:
    for _ in range(50):
        grant = world.limiter().take(RELAY, 50, [])
        world.limiter().refund(grant, 49, [])
        world.now += 200
    assert world.limiter().throttle(RELAY).rate == pytest.approx(2.5, rel=0.15)


def test_a_paced_limit_is_given_back_to_the_last_part_of_a_ms(world: World) -> None:
    bucket = world.bucket(3000, 1000, burst=30)
    for _ in range(300):
        grant = world.limiter().take(RELAY, 30, [(bucket, None)])
        world.limiter().refund(grant, 30, [(bucket, 30)])
    assert world.limiter().take(RELAY, 30, [(bucket, None)]).granted == 30


def test_thousands_a_second_are_paced_too(world: World) -> None:
    bucket = world.bucket(4000, 1000, burst=4)
    went = 0
    for _ in range(500):
        while world.limiter().take(RELAY, 1, [(bucket, None)]).granted:
            went += 1
        world.now += 1
    assert went <= 4 * 500 + 4


def test_nothing_that_was_learned_outlives_a_clock_that_is_set_back(world: World) -> None:
    send(world, seconds=10, each=20)
    world.limiter().throttle(RELAY, 30)
    world.now -= 7_200_000
    assert world.limiter().take(RELAY, 1, []).granted == 1
    world.now += 30_000
    send(world, seconds=3, each=20)
    assert world.limiter().throttle(RELAY).is_news


def test_a_line_is_forgotten_when_the_clock_is_set_back(world: World) -> None:
    bucket = world.bucket(1, 1000)
    for who in "abc":
        world.limiter(who).take(RELAY, 1, [(bucket, None)])
    world.now -= 7_200_000
    assert world.limiter("d").take(RELAY, 1, [(bucket, None)]).granted == 1


def test_a_rate_never_jumps_while_more_is_wanted(world: World) -> None:
    """Demand without end after a complaint: each minute brings at most about twice what the last one did."""
    send(world, seconds=5, each=40)
    world.limiter().throttle(RELAY)
    by_minute = []
    for _ in range(20):
        by_minute.append(0)
        for _ in range(300):
            by_minute[-1] += world.limiter().take(RELAY, 100, []).granted
            world.now += 200
    assert all(now <= 2.1 * before + 20 for before, now in pairwise(by_minute)), by_minute
    assert by_minute[-1] >= 60 * 100


def test_a_quota_holds_a_relay_and_teaches_no_rate(world: World) -> None:
    send(world, seconds=5, each=40)
    assert world.limiter().hold(RELAY, 60).is_news
    assert not world.limiter().hold(RELAY, 60).is_news
    assert world.limiter().lesson(RELAY).rate is None
    world.now += 60_000
    assert send(world, seconds=1, each=40) == 40


def test_a_relay_that_takes_not_even_a_first_mail_is_left_alone_for_a_moment(world: World) -> None:
    assert world.limiter().throttle(RELAY).rate is None
    assert world.limiter().take(RELAY, 1, []).wait_ms == 5000


def test_a_mail_to_many_domains_costs_what_it_counts(world: World) -> None:
    """Each of 500 mails has fifty domains of its own: as many counts as recipients, not as domains times mails."""
    buckets = [world.bucket(10, 60_000) for _ in range(2000)]
    costs = [(bucket, [int(place % 40 == item) for item in range(40)]) for place, bucket in enumerate(buckets)]
    assert world.limiter().take(RELAY, 40, costs, line="").granted == 40


def send(world: World, *, seconds: int, each: int) -> int:
    """Ask for so many every second, in tenths; how many went."""
    went = 0
    for _ in range(seconds * 10):
        went += world.limiter().take(RELAY, each // 10, []).granted
        world.now += 100
    return went


def test_after_a_lesson_all_rest_until_what_is_on_its_way_has_come(world: World) -> None:
    """Else the relay counts it together with the first mails by the new rate, and complains of those too."""
    send(world, seconds=10, each=20)
    assert world.limiter().throttle(RELAY).hold_seconds == 1
    assert world.limiter("other").take(RELAY, 5, []).wait_ms == 1000
    world.now += 1000
    assert world.limiter("other").take(RELAY, 5, []).granted
