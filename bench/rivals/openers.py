"""The peers that keep their queue in Redis, started beside a server of their own with the same settings as ours."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.contenders import a_content
from bench.processes import cpu_seconds, running
from bench.stand import CHILDREN, ROOT, Opener, Queue, UnavailableError, broker_url, child, store
from mailworker.dev.valkey import ValkeyServer

_NODE = Path(__file__).parent / "node"
_INSTALL_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Told:
    """A peer that is told what to do by a program of its own, which answers in JSON."""

    server: ValkeyServer
    worker: int
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    folder: Path

    def hold(self) -> None:
        """Have mails wait."""
        self.tell("hold")

    def fill(self, mails: int) -> None:
        """Put mails in line."""
        self.tell("fill", mails)

    def go(self) -> None:
        """Deliver."""
        self.tell("go")

    def offer(self, rate: int, seconds: int) -> float:
        """Hand over mails at an even rate."""
        return self.tell("offer", rate, seconds)["late_ms"]

    def cpu(self) -> float:
        """Worker and server."""
        return cpu_seconds(self.worker, self.server.pid)

    def tell(self, *what: object) -> Mapping[str, float]:
        """Have the program do something."""
        return child([*self.command, *map(str, what)], self.env, self.folder)


def celery_and_smtplib(children: int = CHILDREN) -> Opener:
    """One Celery task a mail."""

    @contextlib.contextmanager
    def opened(port: int, folder: Path) -> Iterator[Queue]:
        with store(folder) as server:
            env = naive_environment(server, port)
            command = [sys.executable, "-m", "celery", "-A", "bench.rivals.naive", "worker", "--loglevel=INFO"]
            command += [f"--concurrency={children}", "--without-mingle", "--without-gossip"]
            with running(command, folder / "worker.log", env, b" ready.", ROOT) as worker:
                yield Told(server, worker, naive_command(), env, ROOT)

    return opened


def naive_command() -> tuple[str, ...]:
    """Give the program that hands over tasks."""
    return (sys.executable, "-m", "bench.rivals.naive")


def naive_environment(server: ValkeyServer, port: int) -> dict[str, str]:
    """Give the settings of that program and of its workers."""
    return {**os.environ, "BENCH_BROKER": broker_url(server), "BENCH_PORT": str(port)}


def bullmq(children: int = CHILDREN, at_once: int = 10) -> Opener:
    """BullMQ and nodemailer, fetched by npm for this one time: so many processes, with so many connections each."""

    @contextlib.contextmanager
    def opened(port: int, folder: Path) -> Iterator[Queue]:
        node = _fetched(folder / "node")
        with store(folder) as server:
            env = {
                **os.environ,
                "BENCH_SOCKET": str(server.socket),
                "BENCH_PORT": str(port),
                "BENCH_CHILDREN": str(children),
                "BENCH_AT_ONCE": str(at_once),
                "BENCH_MAIL": a_content().data.decode(),
            }
            command = ("node", str(node / "queue.mjs"))
            with running([*command, "worker"], folder / "worker.log", env, b"queue ready.", node) as worker:
                yield Told(server, worker, command, env, node)

    return opened


def _fetched(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("npm is not installed")
    shutil.copytree(_NODE, folder)
    command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_INSTALL_SECONDS)
    except (subprocess.SubprocessError, OSError):
        raise UnavailableError("npm could not fetch it: is a package registry within reach?") from None
    return folder
