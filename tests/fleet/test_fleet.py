"""Many workers: a thousand by a clock of their own, and real processes by the server's."""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING

import pytest

from mailworker.fleet import BreakerState
from tests.fleet.conftest import RELAY, START, World
from tests.fleet.stage.hammer import SHORT, Blows, hammered, verdict
from tests.fleet.stage.verdicts import SLOTS, broken
from tests.fleet.test_limiter import most_in_any_window

if TYPE_CHECKING:
    from mailworker.dev.valkey import ValkeyServer


def test_a_thousand_workers_share_a_limit_and_a_dead_relay_costs_a_handful_of_probes(world: World) -> None:
    """A minute: the relay dies after 10 s and heals after 40 s. Attempts are counted, and when mail flows again."""
    chance = random.Random(7)
    bucket = world.bucket(200, 1000)
    breaker = world.breaker(recovery_ms=5000)
    died, healed, end = START + 10_000, START + 40_000, START + 60_000
    asleep = [(START + chance.randrange(1000), number) for number in range(1000)]
    heapq.heapify(asleep)
    sent: list[int] = []
    tried_in_vain: list[int] = []
    while asleep[0][0] < end:
        world.now, number = heapq.heappop(asleep)
        who = f"w{number}"
        admission = breaker.admit(who)
        wait = admission.wait_ms
        if not wait:
            grant = world.limiter(who).take(RELAY, 1 if admission.is_probe else 5, [(bucket, None)])
            wait = max(50, grant.wait_ms)
            if grant.granted and died <= world.now < healed:
                tried_in_vain.append(world.now)
                wait = breaker.failed(who, admission.epoch, "down").wait_ms or 50
                world.limiter(who).refund(grant, grant.granted, [(bucket, grant.granted)])
            elif grant.granted:
                sent += [world.now] * grant.granted
                breaker.went_well(who, admission.epoch)
            else:
                breaker.withdraw(who, admission.epoch)
        heapq.heappush(asleep, (world.now + wait + chance.randrange(20), number))
    assert most_in_any_window(sent, 1000) <= 200
    assert sum(at < died for at in sent) >= 0.98 * 200 * 10 - 200
    recoveries = (healed - died) // 5000
    assert len(tried_in_vain) <= 5 + recoveries
    assert min(at for at in sent if at > healed) <= healed + 6000
    assert breaker.report().state is BreakerState.CLOSED
    assert sum(at > healed + 6000 for at in sent) >= 0.95 * 200 * 13


@pytest.mark.timeout(60)
def test_eight_processes_never_exceed_limits_that_they_take_of_and_give_back_to(server: ValkeyServer) -> None:
    blows = hammered(server.socket, 8, 4.0)
    assert not [finding for finding in broken(list(verdict(blows))) if not finding.is_timed]
    assert sum(count for each in blows for *_, count in each.taken) >= SHORT.limit


def test_a_window_that_held_one_too_many_is_found() -> None:
    blows = [Blows([(0, 0, SHORT.limit)], 1), Blows([(SLOTS - 1, 10, 1)], 1)]
    assert next(finding.what for finding in broken(list(verdict(blows)))) == "in any window of 1 s, at most"
