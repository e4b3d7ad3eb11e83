"""All processes of a chaos run, and a supervisor that restarts what died, as an operator's would."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailworker.dev.binary import find_binary
from tests.chaos.letters import HELD, LANES
from tests.chaos.preload import Clock, build, compiler

RESTART_SECONDS = 0.5
_START_SECONDS = 60.0
PYTHON = sys.executable


def wait_until(what: Callable[[], object], why: str, seconds: float = _START_SECONDS) -> None:
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds:g} s: {why}")
        time.sleep(0.02)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_group(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def born(pid: int) -> int | None:
    """When a process began, in ticks since the machine did: with its number this tells it from any other."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return None


class RedisServer:
    """The ledger and the broker, to be ill-treated: a server on a port of the loopback interface, AOF on."""

    def __init__(self, folder: Path, preload: Mapping[str, str] | None = None) -> None:
        self.folder = folder / "redis"
        self.folder.mkdir()
        self.fsync = "everysec"
        self._preload = dict(preload or {})
        self._log = folder / "redis.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def aof(self) -> Path:
        """The file that grows."""
        return max((self.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)

    def client(self, timeout: float = 5.0) -> redis.Redis:
        return redis.Redis(
            port=self.port, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )

    def start(self, folder: Path | None = None, seconds: float = _START_SECONDS) -> None:
        """Start and come back when it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "dir": folder or self.folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": self.fsync, "maxmemory-policy": "noeviction"}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [find_binary().path, *words],
                stdout=log,
                stderr=log,
                env={**os.environ, **self._preload},
                # Python ignores SIGXFSZ, and so shall the server: a file at its limit is an error, as a full disk is.
                restore_signals=False,
                start_new_session=True,
            )
        wait_until(self.answers, "the server answers", seconds)

    def answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client(1.0) as client:
            return bool(client.ping())
        return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def limit_files(self, octets: int) -> None:
        """Let no file grow beyond this (-1: any size), as if the disk were full."""
        limits = (resource.RLIM_INFINITY if octets < 0 else octets, resource.RLIM_INFINITY)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, limits)


@dataclass
class Worker:
    """`celery -A mailworker worker`, in a process group of its own."""

    number: int
    log: Path
    environment: Mapping[str, str]
    clock: Clock | None
    process: subprocess.Popen[bytes] | None = None
    orphans: set[tuple[int, int | None]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        words = [
            "-A",
            "mailworker",
            "worker",
            "--loglevel=INFO",
            "--without-mingle",
            "-c",
            "2",
            "-n",
            f"w{self.number}@%h",
        ]
        environment = {**self.environment, **(self.clock.environment if self.clock else {})}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "celery", *words], stdout=log, stderr=log, env=environment, start_new_session=True
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def children(self) -> list[int]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []


class Producers:
    """Web processes; a killed one has a successor, which repeats what its predecessor did not finish."""

    def __init__(self, folder: Path, environment: Mapping[str, str], rate: float, seed: str) -> None:
        self._folder = folder
        self._environment = environment
        self._rate = rate
        self._seed = seed
        self._lives: dict[int, int] = {}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        life = self._lives[number] = self._lives.get(number, -1) + 1
        words = ["--evidence", self._evidence(number, life), "--name", f"{number}x{life}", "--rate", f"{self._rate}"]
        words += ["--seed", self._seed, *(["--before", self._evidence(number, life - 1)] if life else [])]
        with (self._folder / "producers.log").open("ab") as log:
            self.processes[number] = subprocess.Popen(
                [PYTHON, "-m", "tests.chaos.producer", *words], stdout=log, stderr=log, env=self._environment
            )

    def evidence_of(self, number: int) -> Path:
        """The file of the one that lives."""
        return Path(self._evidence(number, self._lives[number]))

    def _evidence(self, number: int, life: int) -> str:
        return str(self._folder / f"producer-{number}-{life}.jsonl")

    def dead(self) -> list[int]:
        """Those that have ended and have no successor."""
        return [number for number, process in self.processes.items() if process.poll() is not None]

    def stop(self) -> None:
        """Let each finish the call that it is in."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(120)


class Sink:
    """The process of `tests.chaos.sink`."""

    def __init__(self, folder: Path, pace: float, seed: str) -> None:
        self.truth = folder / "truth.jsonl"
        ready = folder / "sink.json"
        words = ["--truth", self.truth, "--ready", ready, "--pace", f"{pace}", "--seed", seed]
        with (folder / "sink.log").open("ab") as log:
            self.process = subprocess.Popen([PYTHON, "-m", "tests.chaos.sink", *words], stdout=log, stderr=log)
        wait_until(ready.exists, "the sink listens")
        self.ports: dict[str, int] = json.loads(ready.read_text())

    def misbehave(self, **trouble: Any) -> list[dict[str, Any]]:
        """Plan a fault; with none, tell of those that were planned."""
        with socket.create_connection(("127.0.0.1", self.ports["control"]), 10) as link, link.makefile("rw") as talk:
            talk.write(json.dumps(trouble) + "\n")
            talk.flush()
            told: list[dict[str, Any]] = json.loads(talk.readline())
            return told


class Installation:
    """Everything that runs. Leave the block and nothing runs any more."""

    def __init__(self, folder: Path, *, workers: int, pace: float, seed: str) -> None:
        self.folder = folder
        library = build(folder) if compiler() else None
        self.redis = RedisServer(folder)
        self.sink = Sink(folder, pace, seed)
        self.environment = {**os.environ, **settings_for(self.redis.url, self.sink.ports), "PYTHONUNBUFFERED": "1"}
        self.workers = [
            Worker(
                number,
                folder / f"worker-{number}.log",
                self.environment,
                Clock(library, folder / f"clock-{number}") if library else None,
            )
            for number in range(workers)
        ]
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def start(self) -> None:
        self.redis.start()
        for worker in self.workers:
            worker.start()
        self._watch.start()

    def stop(self) -> None:
        """Stop the workers as an operator would, and everything else at once."""
        self._stopping.set()
        if self._watch.is_alive():
            self._watch.join()
        for worker in self.workers:
            if worker.process is not None:
                kill_group(worker.pid)
                worker.process.wait()
        for pid in self.orphans():
            kill(pid)
        if self.redis.process is not None:
            self.redis.kill()
        self.sink.process.terminate()
        self.sink.process.wait(30)

    def orphans(self) -> list[int]:
        """Children that have outlived a killed parent."""
        return [pid for worker in self.workers for pid, start in worker.orphans if start and born(pid) == start]

    def _supervise(self) -> None:
        """Start again, half a second later, what has died; whoever holds a worker's lock does it himself."""
        while not self._stopping.wait(0.05):
            for worker in self.workers:
                if not worker.is_running and worker.lock.acquire(blocking=False):
                    try:
                        if not worker.is_running:
                            self._stopping.wait(RESTART_SECONDS)
                            worker.start()
                    finally:
                        worker.lock.release()


def settings_for(url: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Default settings, but for where things are."""
    settings = {"REDIS__URL": url, f"LANES__{HELD.upper()}__IN_DOUBT": "hold"}
    for lane in LANES:
        settings |= {
            f"LANES__{lane.upper()}__RELAY": lane,
            f"RELAYS__{lane.upper()}__HOST": "127.0.0.1",
            f"RELAYS__{lane.upper()}__PORT": str(ports[lane]),
            f"RELAYS__{lane.upper()}__TLS": "none",
        }
    return {f"MAILWORKER_{name}": value for name, value in settings.items()}
