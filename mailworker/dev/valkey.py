"""An embedded Valkey (or Redis) with a data folder of its own: append-only file on, a Unix socket, no network port.

Law: a data folder is open in one server at a time. The lock on it is held by the server itself (it inherits the file),
so it holds as long as the data are in use, even when whoever started the server is gone.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailworker.dev.binary import ServerBinary, ValkeyError, claim_folder, find_binary
from mailworker.dev.supervisor import Child, ChildDiedError, Command, Stage, Supervisor

__all__ = ["ServerBinary", "ValkeyError", "ValkeyServer"]

# sun_path holds 108 bytes on Linux and 104 on macOS; the server appends a suffix of its own while it binds.
_LONGEST_SOCKET = 90
_START_SECONDS = 30.0
_STOP_SECONDS = 30.0


class ValkeyServer:
    """One server on one data folder. Use it in a `with` block, or `start()` and `stop()` it.

    `folder`: where the data live; made if missing, closed to others. `binary`: the server program (default: see
    `find_binary`). `supervisor`: who else stops it; without one it has its own, which also ends it when we are killed.
    """

    def __init__(self, folder: Path, binary: Path | None = None, supervisor: Supervisor | None = None) -> None:
        self.folder = folder.absolute()
        self._wanted = binary
        self._own = supervisor is None
        self._supervisor = supervisor or Supervisor(self.folder / "log")
        self._child: Child | None = None
        self._runtime: Path | None = None
        self.binary: ServerBinary | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def socket(self) -> Path:
        """Where it listens: in the data folder, or in a short private folder if that path is too long for a socket."""
        return (self._runtime or self.folder) / "redis.sock"

    @property
    def url(self) -> str:
        """For `MAILWORKER_REDIS__URL`."""
        return f"unix://{quote(str(self.socket))}?db=0"

    @property
    def pid(self) -> int:
        """The server's process. Raises ValkeyError if it was not started."""
        if self._child is None:
            raise ValkeyError("the server was not started")
        return self._child.pid

    def client(self) -> redis.Redis:
        """A new client, which answers in bytes and does not retry."""
        return redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0)
        )

    def start(self) -> None:
        """Start, and come back when it answers. Raises ValkeyError if the folder is in use or not for this server."""
        if self._child is not None:
            raise ValkeyError("the server was started already")
        self.binary = find_binary(self._wanted)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked() as lock:
            claim_folder(self.folder, self.binary)
            self._place_socket()
            argv = [str(self.binary.path), *self._options()]
            command = Command("server", argv, Stage.SERVER, pass_fds=(lock.fileno(),), grace=_STOP_SECONDS)
            self._child = self._supervisor.start(command)
        try:
            self._wait_until_it_answers(self._child)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it cleanly: everything it acknowledged is on disk afterwards. Does nothing if it is not running."""
        if self._child is not None:
            self._supervisor.stop(self._child)
            self._child = None
        if self._own:
            self._supervisor.stop_all()
        if self._runtime is not None:
            shutil.rmtree(self._runtime, ignore_errors=True)

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "pidfile": str(self.folder / "server.pid"),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            # A queue that forgets its oldest mails when memory is short would be no queue.
            "maxmemory-policy": "noeviction",
            "save": "",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """Hold the folder's lock; the server, once started, holds it too, and goes on when we let go."""
        with (self.folder / "lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValkeyError(f"{self.folder} is in use by another server{self._who()}") from None
            yield lock

    def _who(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            return f", process {int((self.folder / 'server.pid').read_text())}"
        return ""

    def _place_socket(self) -> None:
        if self._runtime is not None:
            # Whoever knew the server before it was stopped finds it where it was. A folder that somebody else has made
            # there meanwhile is refused.
            self._runtime.mkdir(mode=0o700)
            return
        if len(os.fsencode(self.socket)) <= _LONGEST_SOCKET:
            return
        for place in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp is private
            if place and Path(place).is_dir() and len(os.fsencode(place)) <= _LONGEST_SOCKET // 2:
                self._runtime = Path(tempfile.mkdtemp(prefix="mailworker-", dir=place))
                return
        raise ValkeyError(f"{self.folder} is too long a path for a Unix socket, and there is no shorter place for it")

    def _wait_until_it_answers(self, child: Child) -> None:
        until = time.monotonic() + _START_SECONDS
        with self.client() as client:
            while time.monotonic() < until:
                try:
                    child.check()
                    client.ping()
                except ChildDiedError as error:
                    raise ValkeyError("\n".join([str(error), *child.last_lines(3)])) from error
                except redis.RedisError:
                    # Not listening yet, or still reading its data.
                    time.sleep(0.01)
                else:
                    return
        raise ValkeyError(f"the server did not answer within {_START_SECONDS:g} s; its log is {child.log}")
