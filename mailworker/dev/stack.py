"""The whole of mailworker on one machine: an embedded server, a mailbox, workers, and Flower if wanted.

Law: nothing that is started here can reach a real relay or somebody else's ledger: the environment of every process is
made here, and of the caller's own settings only those that name neither are carried over.
"""

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from mailworker.dev.supervisor import Child, Command, Stage, Supervisor
from mailworker.dev.valkey import ValkeyServer
from mailworker.policy.routes import Route
from mailworker.settings import PREFIX, Settings

LOOPBACK = "127.0.0.1"
_CELERY = (sys.executable, "-m", "celery", "-A", "mailworker")
_READY_SECONDS = 30.0
_FLOWER_USER = "mailworker"


class Stack:
    """The parts, each started when asked for; the supervisor stops them.

    `folder`: where everything is kept. `carried`: the caller's settings, whose lanes, limits and keys hold here too.
    """

    def __init__(self, folder: Path, supervisor: Supervisor, carried: Settings | None = None) -> None:
        self.folder = folder
        self.mails = folder / "mails"
        self.server = ValkeyServer(folder / "server", supervisor=supervisor)
        self._supervisor = supervisor
        self._settings = _carried_over(carried) if carried else {}

    @property
    def log_folder(self) -> Path:
        """Where each process has its log."""
        return self._supervisor.log_folder

    @property
    def settings(self) -> dict[str, str]:
        """The `MAILWORKER_…` variables of this stack."""
        return dict(self._settings)

    @property
    def environ(self) -> dict[str, str]:
        """The environment for its processes: ours, with no setting of mailworker, Celery, Flower or Sentry in it."""
        foreign = (PREFIX, "FLOWER_", "CELERY_", "SENTRY_")
        return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | self._settings

    def start_server(self) -> None:
        """Start the ledger's server. Raises ValkeyError."""
        self.server.start()
        self._settings[f"{PREFIX}REDIS__URL"] = self.server.url

    def start_mailbox(self, port: int = 0) -> tuple[str, int]:
        """Start the mailbox and make it the relay. Gives host and port; raises ChildDiedError, as for a taken port."""
        self.mails.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "mailbox.json"
        ready.unlink(missing_ok=True)
        options = [f"--folder={self.mails}", f"--ready={ready}", f"--port={port}"]
        argv = [sys.executable, "-m", "mailworker.dev.mailbox", *options]
        child = self._supervisor.start(Command("mailbox", argv, Stage.MAILBOX, self.environ, grace=5))
        _wait_for(ready, child)
        told = json.loads(ready.read_text(encoding="utf-8"))
        relay = {"HOST": told["host"], "PORT": str(told["port"]), "TLS": "none"}
        self._settings |= {f"{PREFIX}RELAYS__DEFAULT__{name}": value for name, value in relay.items()}
        return told["host"], told["port"]

    def start_worker(self, name: str, *options: str) -> Child:
        """Start a worker as a user would, `celery -A mailworker worker`."""
        argv = [*_CELERY, "worker", "--loglevel=INFO", f"--hostname={name}@%h", *options]
        return self._supervisor.start(Command(name, argv, Stage.WORKER, self.environ))

    def start_flower(self, port: int) -> str:
        """Start Flower, read-only and behind a password. Gives `user:password`."""
        login = f"{_FLOWER_USER}:{secrets.token_urlsafe(12)}"
        options = ["--read-only=True", f"--address={LOOPBACK}", f"--port={port}", "--max-tasks=10000"]
        # The password goes by the environment: other users of the machine can read the words of a command.
        environ = self.environ | {"FLOWER_BASIC_AUTH": login}
        self._supervisor.start(Command("flower", [*_CELERY, "flower", *options], Stage.DASHBOARD, environ, grace=5))
        return login


def free_port(wanted: int) -> int:
    """Give the wanted port of the loopback interface if nobody listens there, else another that is free."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port is free")


def _wait_for(ready: Path, child: Child) -> None:
    until = time.monotonic() + _READY_SECONDS
    while not ready.exists():
        child.check()
        if time.monotonic() > until:
            raise TimeoutError(
                f"{child.command.name} was not ready within {_READY_SECONDS:g} s; its log is {child.log}"
            )
        time.sleep(0.01)


def _carried_over(settings: Settings) -> dict[str, str]:
    """Write as variables what does not say where the ledger, the broker or a relay is."""
    variables = {
        f"{PREFIX}REDIS__PREFIX": settings.redis.prefix,
        f"{PREFIX}BROKER__FOREIGN_QUEUE": settings.broker.foreign_queue or "",
    }
    sections: dict[str, BaseModel] = {
        name: getattr(settings, name) for name in ("limits", "sealing", "worker", "retention")
    }
    sections |= {
        f"lanes__{name}": lane.model_copy(update={"relay": (Route("default"),)})
        for name, lane in settings.lanes.items()
    }
    for name, section in sections.items():
        values: Mapping[str, Any] = section.model_dump(exclude_unset=True)
        variables |= {f"{PREFIX}{name}__{field}".upper(): _written(value) for field, value in values.items()}
        if name.startswith("lanes__"):
            variables[f"{PREFIX}{name}__relay".upper()] = "default"
    return variables


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
