"""Many workers: a thousand by a clock of their own, and real processes by the server's."""

from __future__ import annotations

import heapq
import multiprocessing
import random
import time
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailworker.fleet import BreakerState, Bucket, FleetKeys, Limiter
from mailworker.ledger.server import Server
from tests.fleet.conftest import RELAY, START, World
from tests.fleet.test_limiter import most_in_any_window

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

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


LIMIT = 300


def hammer(path: str, number: int, seconds: float, told: Connection) -> None:
    """Take as fast as the limiter lets; tells when each grant was, by the server's clock."""
    redis = Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0))
    server = Server(redis)
    limiter = Limiter(server.run, server.read, FleetKeys("mw"), f"w{number}")
    bucket = Bucket("real", LIMIT, 1000)
    until = time.monotonic() + seconds
    times: list[int] = []
    while time.monotonic() < until:
        grant = limiter.take(RELAY, 10, [(bucket, None)])
        # The slot, a hundredth of the window, is when the server counted it.
        times += [grant.slots[0] * 10] * grant.granted
        if grant.granted < 10:
            time.sleep(min(grant.wait_ms / 1000, 0.05))  # what the limiter asks for; no state is awaited
    told.send(times)
    redis.close()


@pytest.mark.parametrize("seconds", [4.0])
def test_eight_processes_never_exceed_a_limit(server: ValkeyServer, redis: Redis, seconds: float) -> None:
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(8)]
    path = str(server.socket)
    workers = [
        context.Process(target=hammer, args=(path, number, seconds, told)) for number, (_, told) in enumerate(pipes)
    ]
    for worker in workers:
        worker.start()
    times = sorted(at for heard, _ in pipes for at in heard.recv())
    for worker in workers:
        worker.join(10)
    for heard, told in pipes:
        heard.close()
        told.close()
    assert most_in_any_window(times, 1000) <= LIMIT
    assert len(times) >= LIMIT
