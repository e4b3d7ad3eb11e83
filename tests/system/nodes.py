"""Servers of other shapes than one Redis: Sentinels with replicas, a Cluster, one with TLS and users, RabbitMQ.

All of them from Debian's packages or a wheel, on loopback, in folders and on ports of their own.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailworker.dev.binary import find_binary

_START_SECONDS = 60.0
_RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def missing(what: str) -> None:
    """Skip on a developer's machine; CI has installed it (`.ci/servers`), so there it is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held until the last is found."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports


def until(what: Callable[[], object], why: str, seconds: float = _START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if what():
                return
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {why}")
        time.sleep(0.05)


class Node:
    """One server program in a folder of its own, in a process group of its own."""

    def __init__(self, folder: Path, port: int, argv: list[str], env: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, port
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, cwd=folder, stdout=log, stderr=log, start_new_session=True, env=env or os.environ
            )

    @classmethod
    def server(cls, folder: Path, port: int, *options: str, binary: Path | None = None) -> Self:
        program = str(find_binary(binary).path)
        common = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir", "."]
        return cls(folder, port, [program, *common, "--repl-diskless-sync-delay", "0", *options])

    @classmethod
    def sentinel(cls, folder: Path, port: int, master: int) -> Self:
        folder.mkdir(parents=True)
        lines = [f"port {port}", "bind 127.0.0.1", f"sentinel monitor post 127.0.0.1 {master} 2"]
        lines += ["sentinel down-after-milliseconds post 700", "sentinel failover-timeout post 4000"]
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        return cls(folder, port, [str(find_binary().path), "sentinel.conf", "--sentinel"])

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def is_running(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        return True

    def is_up(self) -> bool:
        self.is_running()
        with self.client() as client:
            return bool(client.ping())

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Rabbit:
    """RabbitMQ, one node, with a port mapper of its own; killed and started again at will."""

    def __init__(self, folder: Path) -> None:
        if not _RABBIT.exists():
            missing("rabbitmq-server")
        self.folder = folder
        self.port, distribution, mapper = free_ports(3)
        folder.mkdir()
        (folder / "plugins").write_text("[].")
        self.env = os.environ | {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"mail{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "db"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2",
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        # Erlang's port mapper: started by RabbitMQ it would be a daemon that outlives it.
        self.mapper = Node(folder, mapper, ["epmd"], self.env)
        until(lambda: socket.create_connection(("127.0.0.1", mapper), 1).close() is None, "the port mapper listens")
        self.start()

    def start(self) -> None:
        self.node = Node(self.folder, self.port, [str(_RABBIT)], self.env)
        until(self._greets, "RabbitMQ answers")

    def _greets(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1) as link:
            link.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(link.recv(1))

    def kill(self) -> None:
        self.node.kill()

    def close(self) -> None:
        self.kill()
        self.mapper.kill()


def system_redis() -> Path:
    """Debian's Redis; the wheel's server has no TLS."""
    outside = os.pathsep.join(p for p in os.get_exec_path() if not Path(p).is_relative_to(sys.prefix))
    found = shutil.which("redis-server", path=outside)
    if found is None:
        missing("redis-server")
    return Path(str(found))
