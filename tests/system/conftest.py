"""Real servers and real workers, on loopback, for every test in this folder."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from mailworker.celery import app, configuration
from mailworker.dev.mailbox import Mailbox, StoredMail, read_mails
from mailworker.dev.valkey import ValkeyServer

PATIENCE = 40.0


def wait_until(what: Callable[[], object], why: str, seconds: float = PATIENCE) -> None:
    """Look often until it is so; the deadline is for tests that fail, not for those that pass."""
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            pytest.fail(f"not within {seconds:g} s: {why}")
        time.sleep(0.02)


class Worker:
    """A worker started as a user would: `celery -A mailworker worker`, in a process group of its own."""

    def __init__(self, log: Path, *arguments: str, app: str = "mailworker") -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "celery",
                    "-A",
                    app,
                    "worker",
                    "--loglevel=INFO",
                    "--without-mingle",
                    *arguments,
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether it has said so."""
        if self.process.poll() is not None:
            pytest.fail(f"the worker ended by itself:\n{self.log.read_text()[-3000:]}")
        return b" ready." in self.log.read_bytes()

    def children(self) -> list[int]:
        """Its pool's processes."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return [int(pid) for pid in path.read_text().split()]
        return []

    def kill_group(self) -> None:
        """Kill -9 parent and children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM to the parent; returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(PATIENCE)
        self.kill_group()
        pytest.fail(f"the worker did not stop:\n{self.log.read_text()[-3000:]}")


def refused_start() -> str:
    """Start a worker that must not start; what it says on standard error."""
    command = [sys.executable, "-m", "celery", "-A", "mailworker", "worker"]
    worker = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert worker.returncode == 2
    return worker.stderr


class Post:
    """The whole installation of a test: server, mailbox, workers, and this process as the web app."""

    def __init__(self, server: ValkeyServer, mailbox: Mailbox, folder: Path) -> None:
        self.server = server
        self.mailbox = mailbox
        self.folder = folder
        self.workers: list[Worker] = []

    def worker(self, *arguments: str) -> Worker:
        """Start one and wait until it is ready."""
        worker = Worker(self.folder / f"worker{len(self.workers)}.log", "-n", f"w{len(self.workers)}@%h", *arguments)
        self.workers.append(worker)
        wait_until(worker.is_ready, "the worker is ready")
        return worker

    def stored(self) -> list[StoredMail]:
        """What the mailbox has taken."""
        return list(read_mails(self.mailbox.folder))

    def logs(self) -> str:
        """All that workers have said."""
        return "".join(worker.log.read_text() for worker in self.workers)

    @property
    def redis(self) -> redis.Redis:
        """A client for looking inside."""
        return self.server.client()


@pytest.fixture
def environment(valkey, tmp_path, monkeypatch) -> Iterator[pytest.MonkeyPatch]:
    """This test's own configuration, in an empty ledger."""
    for name in list(os.environ):
        if name.startswith(("MAILWORKER_", "SENTRY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MAILWORKER_REDIS__URL", valkey.url)
    monkeypatch.setenv("MAILWORKER_RELAYS__DEFAULT__HOST", "127.0.0.1")
    monkeypatch.setenv("MAILWORKER_RELAYS__DEFAULT__TLS", "none")
    monkeypatch.setenv("MAILWORKER_LANES__BULK__RELAY", "default")
    with valkey.client() as client:
        client.flushall()
    app.forget_runtime()
    # Celery keeps its configuration and its broker connections for a process's life; this process plays many.
    app.conf.update(configuration())
    app._after_fork()
    yield monkeypatch
    app.forget_runtime()


@pytest.fixture
def post(valkey, environment, tmp_path) -> Iterator[Post]:
    with Mailbox(tmp_path / "mailbox") as mailbox:
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__PORT", str(mailbox.address[1]))
        installation = Post(valkey, mailbox, tmp_path)
        yield installation
        for worker in installation.workers:
            worker.kill_group()


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
