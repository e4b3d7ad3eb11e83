"""What happens on the stage: mails come, workers are killed, Redis is restarted or frozen, relays die and heal."""

import contextlib
import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from redis import Redis, RedisError

from mailworker.intake import Intake, Limits
from mailworker.keys import new_mail_id
from mailworker.ledger import Ledger, LedgerError, NewMail
from mailworker.options import Options
from mailworker.sealing import KeyRing
from mailworker.settings import Settings
from smtp_transport.message import Email
from tests.chaos.installation import RedisServer
from tests.fleet.stage.relays import Relay, serve
from tests.fleet.stage.worker import BELLS, be_worker

KINDS = ("limit", "tenants", "throttle", "cap", "crowd", "dead", "failover")
LIMIT, THROTTLE = 300, 100
PACE_SECONDS = 0.04
SMALL = 10
RESTART_SECONDS = 0.5
_BACKLOG = 1500
_TICK = 0.05
# Who has a few mails every second beside somebody's many: lane, tenant.
_FEW = (("small", None), ("shared", "modest"))
_LANES = {
    "limit": {"bulk": "limit", "small": "limit"},
    "tenants": {"shared": "shared"},
    "throttle": {"throttle": "throttle"},
    "cap": {"cap": "cap"},
    "crowd": {"crowd": "crowd"},
    "dead": {"dead": "dead"},
    "failover": {"failover": "first, second"},
}


@dataclass(frozen=True)
class Plan:
    """`waiting` mails lie in the lane of the dead relay, and so many are one tenant's where two share a lane.

    `has_faults`: whether workers and Redis are ill-treated.
    """

    workers: int
    seconds: float
    seed: str
    kinds: tuple[str, ...] = KINDS
    waiting: int = 100_000
    has_faults: bool = True

    @property
    def cap(self) -> int:
        """How many connections are configured, where some are."""
        return max(2, self.workers // 5)

    @property
    def crowd(self) -> int:
        """How many a relay stands that does not say so."""
        return max(3, self.workers // 4)

    @property
    def is_weighed(self) -> bool:
        """Whether nothing but the dead relay happens, so that what it costs can be told."""
        return self.kinds == ("dead",) and not self.has_faults

    @property
    def recovery_seconds(self) -> float:
        return 5.0 if self.seconds >= 40 else 1.5

    @property
    def calm(self) -> tuple[float, float]:
        """When nothing is ill-treated, and all have begun: in seconds since the start."""
        return min(5.0, 0.2 * self.seconds), 0.45 * self.seconds


@dataclass
class Told:
    """All that a run left. Times by time.monotonic."""

    plan: Plan
    began: float
    relays: dict[str, dict[str, Any]] = field(default_factory=dict)
    moments: dict[str, float] = field(default_factory=dict)
    # By whom, of which relay's limit, in which slot, how many (given back: less than 0), and for how many ms.
    grants: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    few_at: dict[str, float] = field(default_factory=dict)
    attempts: list[int] = field(default_factory=list)
    kills: int = 0
    restarts: int = 0
    freezes: int = 0
    spent: dict[str, dict[str, float]] = field(default_factory=dict)
    wall_offset: float = 0.0
    log_lines: int = 0
    ledger: dict[str, int] = field(default_factory=dict)


class Play:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self._folder = folder
        self._chance = random.Random(plan.seed)
        self._redis = RedisServer(folder)
        self._workers: dict[int, int] = {}
        self._due_again: list[tuple[float, int]] = []
        self._orders, self._theirs = socket.socketpair()
        self._few = 0
        self._made: dict[str, NewMail] = {}

    def run(self) -> Told:
        names = {name.strip() for kind in self.plan.kinds for way in _LANES[kind].values() for name in way.split(",")}
        relays = [self._relay_of(name) for name in sorted(names)]
        listening = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in relays]
        self._redis.start()
        self._settings = self._configured({r.name: s.getsockname()[1] for r, s in zip(relays, listening, strict=True)})
        self._intake = Intake(Limits(1 << 20, 50, 10), KeyRing(), dict.fromkeys(self._settings.lanes, 86_400_000))
        sinks = self._fork(lambda: serve(relays, listening, self._theirs, self._folder / "relays.json"))
        self._theirs.close()
        for place in listening:
            place.close()
        try:
            return self._act()
        finally:
            for pid in self._workers.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._orders.close()
            os.kill(sinks, signal.SIGKILL)
            os.waitpid(sinks, 0)
            self._redis.kill()

    def _relay_of(self, name: str) -> Relay:
        cap = self.plan.crowd if name == "crowd" else 0
        rate = THROTTLE if name == "throttle" else 0
        return Relay(name, cap, rate, 0.0 if name in {"limit", "shared", "throttle", "dead"} else PACE_SECONDS)

    def _configured(self, ports: dict[str, int]) -> Settings:
        common = {"host": "127.0.0.1", "tls": "none", "breaker_recovery_seconds": self.plan.recovery_seconds}
        relays = {name: {**common, "port": port} for name, port in ports.items()}
        few = {"all_connections": max(2, self.plan.workers // 10)}
        bounds = {
            "limit": {"limits": f"{LIMIT}/s"},
            "shared": {"limits": f"{LIMIT}/s"},
            "cap": {"all_connections": self.plan.cap},
            "first": few,
            "second": few,
        }
        for name in relays.keys() & bounds.keys():
            relays[name] |= bounds[name]
        lanes = {lane: {"relay": way} for kind in self.plan.kinds for lane, way in _LANES[kind].items()}
        first = next(iter(lanes.values()))
        return Settings(redis={"url": self._redis.url}, relays=relays, lanes={"default": first, **lanes})

    def _fork(self, what: Callable[[], object]) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            self._orders.close()
            what()
        finally:
            os._exit(1)

    def _order(self, do: str, relay: str = "") -> None:
        self._orders.sendall(json.dumps({"do": do, "relay": relay}).encode() + b"\n")
        assert self._orders.recv(16) == b"done\n"

    def _act(self) -> Told:
        dead = 0 if self.plan.is_weighed else self.plan.waiting
        many = {"dead": dead, "shared": self.plan.waiting, "small": 0, "default": 0}
        for lane in self._settings.lanes:
            self._fill(lane, many.get(lane, _BACKLOG))
        told = self.told = Told(self.plan, time.monotonic(), wall_offset=time.time() - time.monotonic())
        if "dead" in self.plan.kinds:
            self._order("die", "dead")
        for number in range(self.plan.workers + self._watches):
            self._start(number)
        script = sorted(self._script(), key=lambda act: act[0])
        next_fill = next_few = 0.0
        while (now := time.monotonic() - told.began) < self.plan.seconds:
            while script and script[0][0] <= now:
                script.pop(0)[1]()
            self._revive()
            with contextlib.suppress(LedgerError, RedisError):
                if now >= next_fill:
                    next_fill = now + 0.5
                    self._top_up()
                if now >= next_few:
                    next_few = now + 1.0
                    self._add_few()
            time.sleep(_TICK)
        self._end()
        return told

    @property
    def _watches(self) -> int:
        """As a worker's parent has several children."""
        return max(1, self.plan.workers // 8)

    def _start(self, number: int) -> None:
        is_watch = number >= self.plan.workers
        self._workers[number] = self._fork(lambda: be_worker(number, self._settings, self._folder, is_watch=is_watch))

    def _revive(self) -> None:
        now = time.monotonic()
        for number, pid in list(self._workers.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self._workers[number]
                self._due_again.append((now + RESTART_SECONDS, number))
        for due, number in [each for each in self._due_again if each[0] <= now]:
            self._due_again.remove((due, number))
            self._start(number)

    def _script(self) -> Iterator[tuple[float, Callable[[], object]]]:
        seconds, kinds = self.plan.seconds, self.plan.kinds
        if "failover" in kinds:
            yield 0.25 * seconds, lambda: self._relay("die", "first")
            yield 0.5 * seconds, lambda: self._relay("heal", "first")
        if "dead" in kinds:
            if self.plan.is_weighed:
                yield 0.05 * seconds, lambda: self._weigh("idle from")
                yield 0.25 * seconds, lambda: self._weigh("idle to")
                yield 0.251 * seconds, lambda: self._fill("dead", self.plan.waiting)
                yield 0.45 * seconds, lambda: self._weigh("waiting from")
                yield 0.7 * seconds, lambda: self._weigh("waiting to")
            yield 0.72 * seconds, self._count_attempts
            yield 0.73 * seconds, lambda: self._relay("heal", "dead")
        if not self.plan.has_faults:
            return
        yield 0.56 * seconds, self._restart_redis
        yield 0.64 * seconds, self._freeze_redis
        yield 0.66 * seconds, self._thaw_redis
        yield 0.9 * seconds, self._restart_redis
        at = 0.46 * seconds
        while at < 0.95 * seconds:
            yield at, self._kill_a_worker
            at += self._chance.expovariate(1 / 0.6)

    def _relay(self, do: str, relay: str) -> None:
        self._order(do, relay)
        self.told.moments[f"{do} {relay}"] = time.monotonic()

    def _kill_a_worker(self) -> None:
        number = self._chance.choice(sorted(self._workers))
        os.kill(self._workers[number], signal.SIGKILL)
        self.told.kills += 1

    def _restart_redis(self) -> None:
        self._redis.kill()
        self._redis.start()
        self.told.restarts += 1

    def _freeze_redis(self) -> None:
        os.kill(self._redis.pid, signal.SIGSTOP)
        self.told.freezes += 1

    def _thaw_redis(self) -> None:
        os.kill(self._redis.pid, signal.SIGCONT)

    def _weigh(self, when: str) -> None:
        """Note what the fleet and Redis have spent so far: seconds of CPU, user's and system's, and scripts run."""
        with self._redis.client(2.0) as client:
            told: Any = client.info("commandstats")
        self.told.spent[when] = {
            "workers": sum(map(_cpu_seconds, self._workers.values())),
            "redis": _cpu_seconds(self._redis.pid),
            "scripts": told.get("cmdstat_evalsha", {}).get("calls", 0),
            "at": time.monotonic(),
        }

    def _count_attempts(self) -> None:
        """Of mails that wait for the dead relay, taken from the whole line."""
        with contextlib.suppress(LedgerError, RedisError), self._redis.client(2.0) as client:
            mails = client.zrange("mw:{dead}:ready", 0, -1)
            some = [mail.decode() for mail in mails[:500] + mails[:: max(1, len(mails) // 500)]]
            self.told.attempts = [record.attempts for record in Ledger(client).read_all(some) if record]

    def _mails(self, lane: str, count: int) -> list[NewMail]:
        """Make mails that differ in their ids alone, which is what takes time to make otherwise."""
        if lane not in self._made:
            self._made[lane] = self._admitted(lane, lane, "big" if lane == "shared" else None)
        now, octets = int(time.time() * 1000), os.urandom(10)
        return [replace(self._made[lane], id=new_mail_id(lane, now, octets, place)) for place in range(count)]

    def _admitted(self, lane: str, sender: str, tenant: str | None) -> NewMail:
        email = Email(from_=f"{sender}@fleet.test", to=("ann@example.org",), subject="Hi", text_body="Hi.")
        return self._intake.admit([email], [Options(lane=lane, tenant=tenant)])[0]

    def _fill(self, lane: str, count: int) -> None:
        with self._redis.client(5.0) as client:
            for first in range(0, count, 250):
                self._accept(client, lane, self._mails(lane, min(250, count - first)))

    @staticmethod
    def _accept(client: Redis, lane: str, mails: list[NewMail]) -> None:
        if Ledger(client).accept(lane, mails).bell_due:
            client.lpush(BELLS, lane)

    def _top_up(self) -> None:
        with self._redis.client(0.5) as client:
            for lane in self._settings.lanes:
                if lane in {"small", "shared", "default", "dead"}:
                    continue
                missing = _BACKLOG - client.zcard(f"mw:{{{lane}}}:ready")
                if missing > 250:
                    self._fill(lane, missing)

    def _add_few(self) -> None:
        for lane, tenant in _FEW:
            if lane not in self._settings.lanes:
                continue
            mails = []
            for _ in range(SMALL):
                self._few += 1
                sender = f"few{self._few}"
                mails.append(self._admitted(lane, sender, tenant))
                self.told.few_at[f"{lane} {sender}"] = time.monotonic()
            with self._redis.client(0.5) as client:
                self._accept(client, lane, mails)

    def _end(self) -> None:
        for pid in self._workers.values():
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 15
        while self._workers and time.monotonic() < until:
            for number, pid in list(self._workers.items()):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    del self._workers[number]
            time.sleep(_TICK)
        self._order("report")
        self.told.relays = json.loads((self._folder / "relays.json").read_text())
        for notes in sorted(self._folder.glob("*.grants")):
            for line in notes.read_text().splitlines():
                relay, *numbers = line.split()
                slot, count, ms = map(int, numbers)
                self.told.grants.append((notes.stem, relay, slot, count, ms))
        for log in self._folder.glob("w*.log"):
            self.told.log_lines += sum(
                " WARNING " in line or " ERROR " in line for line in log.read_text().splitlines()
            )


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
