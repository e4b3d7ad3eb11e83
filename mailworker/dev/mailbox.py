"""A mailbox for trying things out: a real SMTP server on loopback that keeps every mail it takes as an `.eml` file.

An address tells what becomes of mail to it, by the end of its local part:
`refuse` or `…+refuse`: 550 5.1.1, always.
`later` or `…+later`: 451 4.2.1 the first time that a sender names it, then taken.

Law: a file in the folder is a whole mail, and it is there before the server says 250 (written aside, then renamed).
A mail with several recipients is one file. The envelope precedes the message: an `X-RcptTo` line for each recipient,
then one `X-MailFrom` line; what follows are the bytes that came after DATA, unchanged.
"""

import argparse
import asyncio
import contextlib
import json
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
_LONGEST_NAME = 80
_RCPT = b"X-RcptTo: "
_FROM = b"X-MailFrom: "
_NULL_PATH = "<>"


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A mail as the mailbox keeps it. `sender` is "" for the null reverse-path; `content` is what came after DATA."""

    path: Path
    sender: str
    recipients: tuple[str, ...]
    content: bytes


def read_mails(folder: Path) -> Iterator[StoredMail]:
    """Read every mail in the folder, the oldest first."""
    for path in sorted(folder.glob("*.eml")):
        yield read_mail(path)


def read_mail(path: Path) -> StoredMail:
    """Read one file that a mailbox wrote. Raises ValueError if it is something else."""
    recipients = []
    rest = path.read_bytes()
    while True:
        line, _, rest = rest.partition(b"\r\n")
        if line.startswith(_RCPT):
            recipients.append(line.removeprefix(_RCPT).decode())
        elif line.startswith(_FROM):
            return StoredMail(path, line.removeprefix(_FROM).decode(), tuple(recipients), rest)
        else:
            raise ValueError(f"{path} was not written by a mailbox")


class Mailbox:
    """The server, in a thread of its own. Use it in a `with` block, or `start()` and `stop()` it.

    `folder` is made if missing. `port` 0 takes a free one; `address` tells where it listens.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.folder = folder
        self._wanted = (host, port)
        self._address: tuple[str, int] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port. Raises RuntimeError before it was started."""
        if self._address is None:
            raise RuntimeError("the mailbox was not started")
        return self._address

    def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        self.folder.mkdir(parents=True, exist_ok=True)
        listening: Future[tuple[str, int]] = Future()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="mailbox", daemon=True)
        self._thread.start()
        try:
            self._address = listening.result()
        except OSError:
            self._thread.join()
            raise

    def stop(self) -> None:
        """Close the listener and every connection. Does nothing if it is not running."""
        if self._address is not None and self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._address = None

    def _run(self, listening: "Future[tuple[str, int]]") -> None:
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            connections: set[_Conversation] = set()
            handler = _Handler(self.folder)
            try:
                server = loop.run_until_complete(
                    loop.create_server(lambda: _Conversation(handler, connections, loop), *self._wanted)
                )
            except OSError as error:
                listening.set_exception(error)
                return
            self._loop = loop
            listening.set_result(server.sockets[0].getsockname()[:2])
            loop.run_forever()
            server.close()
            for connection in tuple(connections):
                connection.abort()
            # Connections end by cancelled tasks and scheduled calls; the loop may only close after them.
            while tasks := asyncio.all_tasks(loop):
                loop.run_until_complete(asyncio.wait(tasks))
            loop.run_until_complete(server.wait_closed())


class _Conversation(SMTP):
    """One connection. Each command is answered in order and no input is dropped, so PIPELINING (RFC 2920) is honest."""

    def __init__(self, handler: "_Handler", connections: "set[_Conversation]", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            handler, data_size_limit=MAX_MESSAGE_BYTES, enable_SMTPUTF8=True, hostname="localhost", loop=loop
        )
        self.__ident__ = "mailworker mailbox"
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(error)

    def abort(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


class _Handler:
    """What aiosmtpd asks at each step. It finds the methods by their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told_later: set[tuple[str, str]] = set()
        self._stored = 0

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", responses[-1]]

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.isprintable():
            return "553 5.1.7 This sender cannot be kept"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender ok"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if not address.isprintable():
            return "553 5.1.3 This recipient cannot be kept"
        wish = address.rpartition("@")[0].lower().rpartition("+")[2]
        if wish == "refuse":
            return "550 5.1.1 No such mailbox, as its name asks"
        # Which message it will be is not known at RCPT, so sender and recipient must tell one mail from another.
        named = (str(envelope.mail_from), address)
        if wish == "later" and named not in self._told_later:
            self._told_later.add(named)
            return "451 4.2.1 Mailbox busy the first time, as its name asks"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        name = self._store(envelope)
        return f"250 2.0.0 Ok: queued as {name}"

    def _store(self, envelope: Envelope) -> str:
        self._stored += 1
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        recipient = _UNSAFE.sub("_", envelope.rcpt_tos[0])[:_LONGEST_NAME].lstrip(".-")
        name = f"{moment}-{self._stored:05}"
        sender = "" if envelope.mail_from == _NULL_PATH else str(envelope.mail_from)
        lines = [*(_RCPT + address.encode() for address in envelope.rcpt_tos), _FROM + sender.encode()]
        content: Any = envelope.original_content
        partial = self._folder / f".{name}.partial"
        partial.write_bytes(b"\r\n".join([*lines, content]))
        partial.rename(self._folder / f"{name}-{recipient}.eml")
        return name


def main() -> None:
    """Serve until SIGTERM; the address goes to the file `--ready` as JSON once it listens."""
    options = argparse.ArgumentParser(prog="python -m mailworker.dev.mailbox", description=main.__doc__)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--ready", type=Path, required=True)
    chosen = options.parse_args()
    # Blocked before the thread starts, so that it is the wait below that gets them.
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    with Mailbox(chosen.folder, chosen.host, chosen.port) as mailbox:
        host, port = mailbox.address
        partial = chosen.ready.with_suffix(".partial")
        partial.write_text(json.dumps({"host": host, "port": port}), encoding="utf-8")
        partial.rename(chosen.ready)
        signal.sigwait(stops)


if __name__ == "__main__":
    main()
