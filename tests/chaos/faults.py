"""The kinds of faults: each strikes at the installation, lasts a while, heals, and tells when it did.

Law: a kind leaves the installation as an operator's supervisor would find it: what it killed may stay dead, what it
bent (limits, clocks, frozen processes) is straight again, save the clocks.
"""

import contextlib
import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import redis

from tests.chaos.installation import Installation, Producers, Worker, born, kill, kill_group, wait_until
from tests.chaos.sink import DEEDS, STEPS

STOP_SECONDS = 60.0
"""Whoever has not followed SIGTERM by then is killed, as supervisors do; it is counted."""


@dataclass
class Fault:
    """One fault. Times are seconds since the epoch; `healed` is when nothing was broken any more by it."""

    number: int
    kind: str
    at: float = 0.0
    healed: float = 0.0
    detail: dict[str, Any] = field(default_factory=dict)

    def strike(self) -> None:
        self.at = self.healed = time.time()

    def heal(self) -> None:
        self.healed = time.time()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Ground:
    """What faults strike at. One at a time has Redis to itself; a worker is attacked by one at a time."""

    installation: Installation
    producers: Producers
    redis_lock: threading.Lock = field(default_factory=threading.Lock)
    producer_lock: threading.Lock = field(default_factory=threading.Lock)
    smtp_turn: int = 0

    @contextlib.contextmanager
    def some_worker(self, chance: random.Random) -> Iterator[Worker]:
        """A worker with children, which nobody else attacks or restarts meanwhile."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            for worker in chance.sample(self.installation.workers, len(self.installation.workers)):
                if worker.lock.acquire(blocking=False):
                    try:
                        if worker.is_running and len(worker.children()) > 1:
                            yield worker
                            return
                    finally:
                        worker.lock.release()
            time.sleep(0.05)
        raise TimeoutError("no worker has had children for two minutes")


Strike = Callable[[Fault, Ground, random.Random], None]


def _kill_parent(fault: Fault, ground: Ground, chance: random.Random) -> None:
    with ground.some_worker(chance) as worker:
        worker.orphans.update((pid, born(pid)) for pid in worker.children())
        fault.strike()
        kill(worker.pid)


def _kill_child(fault: Fault, ground: Ground, chance: random.Random) -> None:
    with ground.some_worker(chance) as worker:
        child = chance.choice(worker.children())
        fault.strike()
        kill(child)


def _kill_group(fault: Fault, ground: Ground, chance: random.Random) -> None:
    with ground.some_worker(chance) as worker:
        fault.strike()
        kill_group(worker.pid)


def _stop(fault: Fault, ground: Ground, chance: random.Random, *, is_group: bool, is_short: bool) -> None:
    grace = chance.uniform(0.02, 1.5) if is_short else STOP_SECONDS
    with ground.some_worker(chance) as worker:
        assert worker.process is not None
        fault.strike()
        (kill_group if is_group else kill)(worker.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not worker.is_running, "the worker stops", grace)
        fault.detail = {"grace": round(grace, 2), "took": round(time.time() - fault.at, 2), "killed": worker.is_running}
        kill_group(worker.pid)
        worker.process.wait()


def _kill_redis(fault: Fault, ground: Ground, chance: random.Random, *, fsync: str) -> None:
    server = ground.installation.redis
    with ground.redis_lock:
        _set_fsync(ground, fsync)
        time.sleep(chance.uniform(0.0, 1.0))
        fault.strike()
        server.kill()
        time.sleep(chance.uniform(0.1, 1.5))
        server.start()
        fault.heal()
        _set_fsync(ground, "everysec")


def _set_fsync(ground: Ground, fsync: str) -> None:
    server = ground.installation.redis
    if server.fsync != fsync:
        server.fsync = fsync
        with server.client() as client:
            client.config_set("appendfsync", fsync)


def _freeze_redis(fault: Fault, ground: Ground, chance: random.Random) -> None:
    with ground.redis_lock:
        fault.strike()
        kill(ground.installation.redis.pid, signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, 7.0))
        kill(ground.installation.redis.pid, signal.SIGCONT)
        fault.heal()


def _cut_connections(fault: Fault, ground: Ground, _: random.Random) -> None:
    with ground.redis_lock, ground.installation.redis.client() as client:
        fault.strike()
        fault.detail["cut"] = sum(client.client_kill_filter(_type=kind, skipme=True) for kind in ("normal", "pubsub"))


def _fill_memory(fault: Fault, ground: Ground, chance: random.Random) -> None:
    with ground.redis_lock, ground.installation.redis.client() as client:
        fault.strike()
        client.config_set("maxmemory", max(1, client.info("memory")["used_memory"] - 50_000))
        time.sleep(chance.uniform(0.3, 3.0))
        client.config_set("maxmemory", 0)
        fault.heal()


def _fill_disk(fault: Fault, ground: Ground, chance: random.Random, *, fsync: str) -> None:
    """With fsync always the server ends by itself when it cannot write; the supervisor finds room and restarts it."""
    server = ground.installation.redis
    with ground.redis_lock:
        _set_fsync(ground, fsync)
        fault.strike()
        file = server.aof.name
        server.limit_files(server.aof.stat().st_size + chance.randrange(1, 200))
        time.sleep(chance.uniform(0.5, 3.0))
        assert server.process is not None
        died = server.process.poll() is not None
        if died:
            server.start()
        else:
            server.limit_files(-1)
        _wait_until_it_writes(ground)
        fault.heal()
        fault.detail["died"] = died
        if not died and _has_refused(ground):
            # Until then its file may have a gap, and must not be needed: see mailworker.ledger.upkeep.
            wait_until(lambda: server.aof.name != file, "a worker has the file rewritten")
            wait_until(lambda: not _is_rewriting(ground), "the file is rewritten")
            fault.detail["rewritten"] = round(time.time() - fault.healed, 2)
        _set_fsync(ground, "everysec")


def _has_refused(ground: Ground) -> bool:
    """Whether it was asked to write anything while there was no room."""
    with ground.installation.redis.client() as client:
        return "errorstat_MISCONF" in client.info("errorstats")


def _is_rewriting(ground: Ground) -> bool:
    with ground.installation.redis.client() as client:
        told = client.info("persistence")
    return bool(told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])


def _wait_until_it_writes(ground: Ground) -> None:
    """After room was found, the server notices by its own timer."""

    def writes() -> bool:
        with contextlib.suppress(redis.RedisError), ground.installation.redis.client() as client:
            return bool(client.set("chaos", "1"))
        return False

    wait_until(writes, "the server writes again")


def _trouble_smtp(fault: Fault, ground: Ground, chance: random.Random, *, deed: str) -> None:
    ground.smtp_turn += 1
    # In the middle of content there is nothing to refuse; and who took a mail and says 421 has not taken it.
    senseless = {"refuse": {"BODY", "AFTER"}, "reject": {"BODY", "AFTER"}, "leave": {"AFTER"}}
    steps = [step for step in STEPS if step not in senseless.get(deed, ())]
    step = steps[ground.smtp_turn % len(steps)]
    seconds = chance.uniform(0.5, 1.5) if deed == "reject" else chance.uniform(0.5, 6.0)
    share = chance.uniform(0.02, 0.2) if deed == "reject" else chance.choice((0.1, 0.5, 1.0))
    fault.detail = {"step": step, "share": round(share, 2), "seconds": round(seconds, 2)}
    fault.strike()
    ground.installation.sink.misbehave(number=fault.number, step=step, deed=deed, share=share, seconds=seconds)
    time.sleep(seconds)
    fault.heal()


def _step_clock(fault: Fault, ground: Ground, chance: random.Random) -> None:
    worker = chance.choice(ground.installation.workers)
    if worker.clock is None:
        raise LookupError("stepping clocks takes a C compiler (cc)")
    seconds = chance.choice((-1, 1)) * chance.choice((0.5, 5.0, 60.0, 3600.0, 86400.0))
    fault.detail = {"seconds": seconds}
    fault.strike()
    worker.clock.step(seconds)


def _kill_producer(fault: Fault, ground: Ground, chance: random.Random, *, way: str) -> None:
    """Wait until one is in such a call, as far as its evidence tells, and kill it."""
    with ground.producer_lock:
        number, process = chance.choice(list(ground.producers.processes.items()))
        evidence = ground.producers.evidence_of(number)
        until = time.monotonic() + 20
        while not _is_in_call(evidence, way) and time.monotonic() < until:
            time.sleep(chance.uniform(0.0, 0.0005))
        fault.strike()
        process.kill()
        process.wait()
        fault.detail = {"inside": _is_in_call(evidence, way)}
        time.sleep(0.3)
        ground.producers.start(number)


def _is_in_call(evidence: Path, way: str) -> bool:
    with contextlib.suppress(OSError, ValueError, IndexError), evidence.open("rb") as file:
        file.seek(max(0, evidence.stat().st_size - 8192))
        last = json.loads(file.read().splitlines()[-1])
        return "began" in last and (last["way"] == "many") == (way == "many")
    return False


KINDS: MappingProxyType[str, Strike] = MappingProxyType(
    {
        "parent-killed": _kill_parent,
        "child-killed": _kill_child,
        "group-killed": _kill_group,
        "parent-stopped": partial(_stop, is_group=False, is_short=False),
        "parent-stopped-short": partial(_stop, is_group=False, is_short=True),
        "group-stopped": partial(_stop, is_group=True, is_short=False),
        "group-stopped-short": partial(_stop, is_group=True, is_short=True),
        "redis-killed": partial(_kill_redis, fsync="everysec"),
        "redis-killed-always": partial(_kill_redis, fsync="always"),
        "redis-frozen": _freeze_redis,
        "redis-cut": _cut_connections,
        "redis-memory-full": _fill_memory,
        "redis-disk-full": partial(_fill_disk, fsync="everysec"),
        "redis-disk-full-always": partial(_fill_disk, fsync="always"),
        **{f"smtp-{deed.replace(' ', '-')}": partial(_trouble_smtp, deed=deed) for deed in DEEDS},
        "clock-stepped": _step_clock,
        "producer-killed-in-delay": partial(_kill_producer, way="delay"),
        "producer-killed-in-many": partial(_kill_producer, way="many"),
    }
)
KILLS = frozenset({"parent-killed", "child-killed", "group-killed", "parent-stopped-short", "group-stopped-short"})
"""After these nobody renews what the dead had claimed."""
STRANDING = KILLS | {kind for kind in KINDS if kind.startswith("redis-")}
"""After these somebody's claims may have to run out."""
