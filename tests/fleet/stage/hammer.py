"""Processes that do nothing but take of one relay's limits, as fast as they are let, and what they got.

Law: when a grant was is told by the slot that the server counted it in, so no clock of ours has a say.
"""

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailworker.fleet import Bucket, FleetKeys, Limiter
from mailworker.ledger.server import Server
from tests.fleet.stage.verdicts import SLOTS, Finding, most_within

RELAY = "hammered"
# Two at once; the second is the narrower one in the long run.
SHORT, LONG = Bucket("short", 300, 1000), Bucket("long", 2800, 10_000)
_AT_ONCE = 10
# Of so many grants one is given back by half.
_GIVES_BACK = 10
_LONGEST_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Blows:
    """What one process was granted and did not give back: slots of both limits, and how many; how often it asked."""

    taken: list[tuple[int, int, int]]
    calls: int


def strike(path: str, number: int, seconds: float, told: Any) -> None:
    """Take, and tell at the end."""
    chance = random.Random(number)
    taken, calls = [], 0
    with Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0)) as redis:
        server = Server(redis)
        limiter = Limiter(server.run, server.read, FleetKeys("mw"), f"w{number}")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            grant = limiter.take(RELAY, _AT_ONCE, [(SHORT, None), (LONG, None)])
            calls += 1
            kept = grant.granted
            if kept and not chance.randrange(_GIVES_BACK):
                back = (kept + 1) // 2
                limiter.refund(grant, back, [(SHORT, back), (LONG, back)])
                kept -= back
            if kept:
                taken.append((*grant.slots, kept))
            if grant.granted < _AT_ONCE:
                time.sleep(min(grant.wait_ms / 1000, _LONGEST_PAUSE_SECONDS))
    told.send(Blows(taken, calls))


def hammered(socket: Path, processes: int, seconds: float) -> list[Blows]:
    """Have so many processes strike for so long."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    workers = [
        context.Process(target=strike, args=(str(socket), number, seconds, told))
        for number, (_, told) in enumerate(pipes)
    ]
    for worker in workers:
        worker.start()
    blows = [heard.recv() for heard, _ in pipes]
    for worker in workers:
        worker.join(10)
    for ends in pipes:
        for end in ends:
            end.close()
    return blows


def verdict(blows: Sequence[Blows]) -> Iterator[Finding]:
    """Whether every window held, how much of it was used, and by whom."""
    for place, bucket in enumerate((SHORT, LONG)):
        slots = sorted(slot for each in blows for *at, count in each.taken for slot in [at[place]] * count)
        most = most_within(slots, SLOTS)
        window = f"{bucket.window_ms / 1000:g} s"
        yield Finding(
            "hammer", f"in any window of {window}, at most", str(most), f"<= {bucket.limit}", most <= bucket.limit
        )
    used = _used(slots)
    yield Finding(
        "hammer", "of what the narrower limit allows, used", f"{used:.1%}", ">= 98 %", used >= 0.98, is_timed=True
    )
    by_worker = [sum(taken[-1] for taken in each.taken) for each in blows]
    mean = sum(by_worker) / len(by_worker)
    found = f"{min(by_worker)} / {mean:.0f} / {max(by_worker)}"
    is_fair = min(by_worker) >= mean / 2
    yield Finding("hammer", "a process, least / mean / most", found, "least >= half the mean", is_fair, is_timed=True)
    yield Finding("hammer", "times asked", str(sum(each.calls for each in blows)))


def _used(slots: Sequence[int]) -> float:
    """Of whole windows."""
    window, first = LONG.window_ms // (SLOTS - 1), slots[0]
    whole = (slots[-1] - first) // SLOTS * SLOTS
    counted = sum(count for slot, count in Counter(slots).items() if first <= slot < first + whole)
    return counted / (LONG.limit * whole * window / LONG.window_ms) if whole else float("nan")
