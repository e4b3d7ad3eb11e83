"""A breaker is shared, fenced, and lets exactly so many probes through."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mailworker.fleet import BreakerState
from tests.fleet.conftest import World

CLOSED, OPEN, HALF_OPEN, HELD = (
    BreakerState.CLOSED,
    BreakerState.OPEN,
    BreakerState.HALF_OPEN,
    BreakerState.HELD,
)


def fail(world: World, times: int, **policy: int) -> None:
    breaker = world.breaker(**policy)
    for _ in range(times):
        breaker.failed("w", breaker.admit("w").epoch, "down")


def test_it_opens_at_the_fifth_failure_within_a_minute_for_everybody(world: World) -> None:
    fail(world, 4)
    assert world.breaker().admit("other").wait_ms == 0
    change = world.breaker().failed("w", 0, "connection_refused")
    assert (change.before, change.now, change.wait_ms) == (CLOSED, OPEN, 30_000)
    assert world.breaker().admit("other").wait_ms == 30_000
    report = world.breaker().report()
    assert (report.state, report.reason, report.opened) == (OPEN, "connection_refused", 1)


def test_failures_count_only_within_the_window(world: World) -> None:
    for _ in range(20):
        fail(world, 1)
        world.now += 60_000 // 4
    assert world.breaker().admit("w").state is CLOSED


def test_one_failure_is_enough_where_it_says_so(world: World) -> None:
    assert world.breaker().failed("w", 0, "credentials", 300_000).wait_ms == 300_000


def test_after_the_recovery_time_a_single_probe_goes_out(world: World) -> None:
    fail(world, 5)
    world.now += 30_000
    probe = world.breaker().admit("a")
    assert probe.is_probe
    assert probe.wait_ms == 0
    assert world.breaker().admit("b").wait_ms > 0
    assert world.breaker().failed("a", probe.epoch, "still down").now is OPEN
    assert world.breaker().admit("b").wait_ms == 30_000


def test_a_probe_that_died_is_replaced(world: World) -> None:
    fail(world, 5)
    world.now += 30_000
    world.breaker().admit("a")
    world.now += world.breaker().policy.probe_ms
    assert world.breaker().admit("b").wait_ms == 0


def test_a_probe_that_was_not_used_is_free_for_another(world: World) -> None:
    fail(world, 5)
    world.now += 30_000
    probe = world.breaker().admit("a")
    world.breaker().withdraw("a", probe.epoch)
    assert world.breaker().admit("b").wait_ms == 0


def test_three_successes_close_it(world: World) -> None:
    fail(world, 5)
    world.now += 30_000
    for expected in (HALF_OPEN, HALF_OPEN, CLOSED):
        probe = world.breaker().admit("a")
        assert world.breaker().went_well("a", probe.epoch).now is expected
    assert world.breaker().admit("b").wait_ms == 0


def test_a_late_success_of_an_old_attempt_closes_nothing(world: World) -> None:
    early = world.breaker().admit("slow")
    fail(world, 5)
    world.now += 30_000
    world.breaker().admit("a")
    for _ in range(5):
        assert world.breaker().went_well("slow", early.epoch).now is HALF_OPEN


def test_a_late_failure_of_an_old_attempt_opens_nothing(world: World) -> None:
    early = world.breaker().admit("slow")
    fail(world, 5)
    world.breaker().switch(CLOSED)
    for _ in range(10):
        world.breaker().failed("slow", early.epoch, "late")
    assert world.breaker().admit("a").state is CLOSED


def test_a_person_may_open_hold_and_close_it(world: World) -> None:
    breaker = world.breaker()
    assert breaker.switch(HELD, "maintenance") is CLOSED
    world.now += 10**9
    assert breaker.admit("w").state is HELD
    assert breaker.admit("w").wait_ms > 0
    assert breaker.report().reason == "maintenance"
    assert breaker.switch(CLOSED) is HELD
    assert breaker.admit("w").wait_ms == 0
    breaker.switch(OPEN)
    assert breaker.admit("w").state is OPEN
    with pytest.raises(ValueError, match="by itself"):
        breaker.switch(HALF_OPEN)


def test_a_probe_that_lasts_is_waited_for_as_long_as_it_is_renewed(world: World) -> None:
    fail(world, 5)
    world.now += 30_000
    probe = world.breaker().admit("a")
    for _ in range(20):
        world.now += 10_000
        assert world.breaker().keep_probe("a", probe.epoch)
        assert world.breaker().admit("b").wait_ms > 0
    world.breaker().switch(CLOSED)
    assert not world.breaker().keep_probe("a", probe.epoch)


def test_a_clock_that_is_set_back_keeps_no_breaker_open(world: World) -> None:
    fail(world, 5)
    world.now -= 3_600_000
    assert world.breaker().admit("a").is_probe
    world.now -= 3_600_000
    assert world.breaker().admit("b").wait_ms == 0, "the other probe is of a time to come"


def test_workers_that_start_again_and_again_do_not_try_again_and_again(world: World) -> None:
    world.breaker().failed("w", 0, "credentials", 300_000)
    world.breaker().retry()
    assert world.breaker().admit("w").wait_ms == 300_000
    world.now += 5000
    world.breaker().retry()
    assert world.breaker().admit("w").is_probe


@pytest.mark.parametrize("state", [CLOSED, HELD])
def test_only_an_open_breaker_is_tried_again(world: World, state: BreakerState) -> None:
    world.breaker().switch(state)
    world.now += 5000
    world.breaker().retry()
    assert world.breaker().admit("w").state is state


class Fleet(RuleBasedStateMachine):
    """Workers that try a relay, hear of it late or never, and a plain model of what the breaker should be."""

    world: World

    @initialize(probes=st.integers(1, 3))
    def begin(self, probes: int) -> None:
        self.world.redis.flushall()
        self.policy = {"failures": 3, "window_ms": 10_000, "recovery_ms": 5000, "successes": 2, "probes": probes}
        self.breaker = self.world.breaker(**self.policy, probe_ms=20_000)
        self.admitted: dict[str, tuple[int, int, bool]] = {}
        self.epoch = 0

    @rule(who=st.sampled_from("abcdef"))
    def admit(self, who: str) -> None:
        told = self.breaker.admit(who)
        if told.wait_ms == 0:
            self.admitted[who] = (told.epoch, self.world.now, told.is_probe)
        else:
            assert told.state is not CLOSED

    @rule(who=st.sampled_from("abcdef"), well=st.booleans())
    def tell(self, who: str, well: bool) -> None:  # noqa: FBT001 - hypothesis passes it
        if who not in self.admitted:
            return
        epoch, _, _ = self.admitted.pop(who)
        before = self.breaker.report()
        current = self.stored_epoch()
        change = self.breaker.went_well(who, epoch) if well else self.breaker.failed(who, epoch, "x")
        if epoch != current:
            assert change.before is change.now
            assert self.breaker.report() == before
        elif change.before is HALF_OPEN and not well:
            assert change.now is OPEN

    @rule(ms=st.sampled_from([10, 900, 5000, 20_000]))
    def wait(self, ms: int) -> None:
        self.world.now += ms

    def stored_epoch(self) -> int:
        return int(self.breaker._read(self.breaker._keys[0]).get("epoch", 0))

    @invariant()
    def probes_are_bounded(self) -> None:
        current = self.stored_epoch()
        alive = [
            who
            for who, (epoch, at, is_probe) in self.admitted.items()
            if is_probe and epoch == current and self.world.now < at + 20_000
        ]
        assert len(alive) <= self.policy["probes"]

    @invariant()
    def the_epoch_only_grows(self) -> None:
        current = self.stored_epoch()
        assert current >= self.epoch
        self.epoch = current


def test_whatever_happens_probes_are_bounded_and_old_news_is_ignored(world: World) -> None:
    class Bound(Fleet):
        pass

    Bound.world = world
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
