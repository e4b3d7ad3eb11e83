"""`mailworker dev`: everything a web app needs to try mail out, on this machine, until Ctrl-C.

Law: the data stay. What was accepted before a stop is delivered after the next start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailworker.dev.stack import LOOPBACK, Stack, free_port
from mailworker.dev.supervisor import Supervisor
from mailworker.settings import PREFIX, Settings

_SMTP_PORT = 1025
_FLOWER_PORT = 5555


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is. `exports`: the variables that a producer needs. `flower`: its URL and login, if it runs."""

    smtp: tuple[str, int]
    mails: Path
    server: Path
    socket: Path
    logs: Path
    exports: dict[str, str]
    flower: tuple[str, str] | None


def serve(folder: Path, carried: Settings, *, with_flower: bool, tell: Callable[[Places], None]) -> None:
    """Start everything, tell where it is, and wait. Raises Interrupted, ValkeyError, ChildDiedError, TimeoutError."""
    folder = folder.absolute()
    with Supervisor(folder / "log") as supervisor:
        stack = Stack(folder, supervisor, carried)
        stack.start_server()
        smtp = stack.start_mailbox(free_port(_SMTP_PORT))
        stack.start_worker("worker", "--task-events")
        flower = None
        if with_flower:
            port = free_port(_FLOWER_PORT)
            flower = f"http://{LOOPBACK}:{port}", stack.start_flower(port)
        exports = {f"{PREFIX}REDIS__URL": stack.server.url}
        if carried.broker.url is not None:
            exports[f"{PREFIX}BROKER__URL"] = stack.server.url
        tell(Places(smtp, stack.mails, stack.server.folder, stack.server.socket, stack.log_folder, exports, flower))
        supervisor.watch()
