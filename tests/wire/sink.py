"""aiosmtpd, an SMTP server that was written by others, in a thread."""

import asyncio
import contextlib
import ssl
import threading
from dataclasses import dataclass, field
from typing import Self

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass
class Taken:
    sender: str
    recipients: list[str]
    content: bytes


@dataclass
class Sink:
    """Takes everything but what `refuse` names (recipient -> reply)."""

    tls: ssl.SSLContext | None = None
    implicit: bool = False
    max_size: int | None = None
    user: tuple[bytes, bytes] | None = None
    without_mechanisms: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    refuse: dict[str, str] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 0

    def __enter__(self) -> Self:
        listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)))
        self._thread.start()
        listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    async def _serve(self, listening: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._connections: list[SMTP] = []
        context = self.tls if self.implicit else None
        server = await self._loop.create_server(self._connection, self.host, 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        listening.set()
        await self._stopped.wait()
        server.close()
        for connection in self._connections:
            if connection.transport:
                # A TLS transport that has ended by itself has nothing left to abort (CPython before 3.11.4).
                with contextlib.suppress(AttributeError):
                    connection.transport.abort()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    def _connection(self) -> SMTP:
        options = {}
        if self.user:
            options = {"auth_required": True, "authenticator": self._authenticate}
        if self.tls and not self.implicit:
            options |= {"tls_context": self.tls, "require_starttls": True}
        connection = SMTP(
            self,
            hostname="sink.test",
            data_size_limit=self.max_size or 50_000_000,
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            auth_exclude_mechanism=self.without_mechanisms,
            **options,
        )
        self._connections.append(connection)
        return connection

    def _authenticate(self, server, session, envelope, mechanism, data):
        assert isinstance(data, LoginPassword)
        self.logins.append(mechanism)
        return AuthResult(success=(data.login, data.password) == self.user, handled=False)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802 - aiosmtpd's name
        session.host_name = hostname
        return [*responses[:1], *(f"250-{word}" for word in self.capabilities), *responses[1:]]

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.taken.append(Taken(envelope.mail_from, list(envelope.rcpt_tos), envelope.original_content))
        return "250 2.0.0 Ok: queued as SINK01"
