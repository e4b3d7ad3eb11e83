"""Queues to be measured: each holds mails in a store of its own and hands them to the sink."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.processes import cpu_seconds, running
from mailworker.dev.valkey import ValkeyServer
from mailworker.ledger import Ledger, Pause

LANE = "default"
CHILDREN = 4
_A_DAY = 86_400_000
_LOOK = 0.01
ROOT = Path(__file__).parent.parent


class UnavailableError(Exception):
    """A peer cannot take part here; the text says why."""


class Queue(Protocol):
    """A queue that runs: `fill` it while it is held, and let it `go`."""

    def hold(self) -> None:
        """Have mails wait."""

    def fill(self, mails: int) -> None:
        """Put mails in line."""

    def go(self) -> None:
        """Deliver what waits and what comes."""

    def offer(self, rate: int, seconds: int) -> float:
        """Hand over mails at an even rate. Gives how late one was at worst, in ms."""

    def cpu(self) -> float:
        """CPU seconds spent so far by whatever delivers and whatever stores."""


Opener = Callable[[int, Path], AbstractContextManager[Queue]]
"""Takes the sink's port and a folder of its own; gives the queue, which has said that it is ready."""


def child(command: Sequence[str], env: Mapping[str, str], folder: Path) -> Mapping[str, float]:
    """Run a program to its end, and read the JSON that it wrote."""
    ran = subprocess.run(command, env=dict(env), cwd=folder, stdout=subprocess.PIPE, check=True)
    told: Mapping[str, float] = json.loads(ran.stdout)
    return told


def producer() -> tuple[str, ...]:
    """Give the program that hands over mails as an application does."""
    return (sys.executable, "-m", "bench.producer")


def free_port() -> int:
    """Find a port of the loopback interface that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


@dataclass(frozen=True, slots=True)
class Ours:
    """mailworker: the ledger, and one worker."""

    server: ValkeyServer
    worker: int
    ledger: Ledger
    env: Mapping[str, str] = field(repr=False)

    def hold(self) -> None:
        """Pause the lane, once what was sent is settled, for that would end the pause."""
        while self.ledger.stats(LANE).claims:
            time.sleep(_LOOK)
        self.ledger.release(LANE, [], Pause(_A_DAY, _A_DAY, "measurement"))

    def fill(self, mails: int) -> None:
        """Put mails in line, as an application would."""
        self.produce("fill", mails)

    def go(self) -> None:
        """End the pause; the watch finds the mails."""
        self.ledger.pauses.resume(LANE)

    def offer(self, rate: int, seconds: int) -> float:
        """Hand over mails by `.delay()`."""
        return self.produce("offer", rate, seconds)["late_ms"]

    def cpu(self) -> float:
        """Worker and server."""
        return cpu_seconds(self.worker, self.server.pid)

    def produce(self, *what: object) -> Mapping[str, float]:
        """Have the producer do something."""
        return child([*producer(), *map(str, what)], self.env, ROOT)


def ours(children: int = CHILDREN, **settings: object) -> Opener:
    """Give mailworker with so many pool processes, and settings by the rest of their environment names."""

    @contextlib.contextmanager
    def opened(port: int, folder: Path) -> Iterator[Queue]:
        with store(folder) as server, server.client() as client:
            env = environment(server, port, **settings)
            command = [*_CELERY, "mailworker", "worker", "--loglevel=INFO", f"--concurrency={children}"]
            command += ["--without-mingle", "--without-gossip"]
            with running(command, folder / "worker.log", env, b" ready.", ROOT) as worker:
                yield Ours(server, worker, Ledger(client), env)

    return opened


_CELERY = (sys.executable, "-m", "celery", "-A")


def store(folder: Path) -> ValkeyServer:
    """Give a server with a journal that is synced every second."""
    return ValkeyServer(folder / "store")


def broker_url(server: ValkeyServer) -> str:
    """Name the server as Celery wants it."""
    return f"redis+socket://{server.socket}?virtual_host=0"


def environment(server: ValkeyServer, port: int, **settings: object) -> dict[str, str]:
    """Give the settings of everybody who works with this store and this sink, and none from outside."""
    ours = {
        "REDIS__URL": server.url,
        "RELAYS__DEFAULT__HOST": "127.0.0.1",
        "RELAYS__DEFAULT__PORT": port,
        "RELAYS__DEFAULT__TLS": "none",
        "RELAYS__DEFAULT__LOCAL_HOSTNAME": "bench.test",
        **settings,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILWORKER_")}
    return kept | {f"MAILWORKER_{name}": str(value) for name, value in ours.items()}
