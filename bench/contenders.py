"""Those who send: each opens one connection, then sends as many copies of one rendered mail as it is asked to."""

import asyncio
import importlib.util
import smtplib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from smtp_transport import Connection, Content, Email, Envelope, SmtpConfig, Transaction, WireMode, render

SENDER, RECIPIENT = "a@x.test", "b@y.test"
OCTETS = 5_000
ONE_BY_ONE = "smtplib"
IN_TIME = "smtplib, timeout 60 s"

Send = Callable[[int], None]
Contender = Callable[[int], AbstractContextManager[Send]]
"""Takes a port of the loopback interface; gives what sends so many mails over one connection."""


WAYS: Mapping[str, Mapping[str, Any]] = MappingProxyType({mode.value: {"mode": mode} for mode in WireMode})
"""Our modes, as fields of a configuration that insist on one."""


def an_email() -> Email:
    """Give an email of about 5 KB, text only."""
    text = ("x" * 76 + "\n") * (OCTETS // 77)
    email = Email(from_=SENDER, to=RECIPIENT, subject="bench", text_body=text)
    return email.stamped("<bench@x.test>", datetime(2026, 11, 1, tzinfo=UTC))


def a_content() -> Content:
    """Give that email as it goes over the wire."""
    return render(an_email(), eight_bit=True)


def config_for(port: int, way: Mapping[str, Any]) -> SmtpConfig:
    """Give the configuration of a client that sends in clear text to this port."""
    return SmtpConfig(host="127.0.0.1", port=port, tls="none", local_hostname="bench.test", **way)


def ours(way: Mapping[str, Any], render_each: Callable[[bool], Content] | None = None) -> Contender:
    """Give our client in one mode; it sends ready content unless it is told how to render each mail."""

    @contextmanager
    def connected(port: int) -> Iterator[Send]:
        content = a_content()
        transaction = Transaction(Envelope(SENDER, (RECIPIENT,)), render_each or (lambda _: content))
        connection = Connection.open(config_for(port, way))
        yield lambda count: deliver(connection, [transaction] * count)
        connection.quit()

    return connected


def deliver(connection: Connection, transactions: Sequence[Transaction]) -> None:
    """Send them all; raises if one was not accepted."""
    accepted = sum(bool(receipt.accepted) for _, receipt in connection.deliver(transactions, lambda asked: asked))
    _check(accepted, len(transactions))


@contextmanager
def by_smtplib(port: int, timeout: float | None = None) -> Iterator[Send]:
    """Send with the standard library, over a connection that is kept; by default each wait may last for ever."""
    content = a_content().data
    with smtplib.SMTP("127.0.0.1", port, "bench.test") as client:
        client.ehlo()
        if client.sock is not None:
            client.sock.settimeout(timeout)

        def send(count: int) -> None:
            for _ in range(count):
                client.sendmail(SENDER, [RECIPIENT], content)

        yield send


@contextmanager
def by_aiosmtplib(port: int) -> Iterator[Send]:
    """Send with aiosmtplib, over a connection that is kept."""
    import aiosmtplib

    content = a_content().data
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="bench.test", start_tls=False)

    async def all_of(count: int) -> None:
        for _ in range(count):
            await client.sendmail(SENDER, [RECIPIENT], content)

    with asyncio.Runner() as runner:
        runner.run(client.connect())
        yield lambda count: runner.run(all_of(count))
        runner.run(client.quit())


def contenders() -> dict[str, Contender]:
    """Give all that are installed, the standard library first."""
    found: dict[str, Contender] = {ONE_BY_ONE: by_smtplib, IN_TIME: partial(by_smtplib, timeout=60.0)}
    if importlib.util.find_spec("aiosmtplib"):
        found["aiosmtplib"] = by_aiosmtplib
    return found | {f"ours, {name}": ours(way) for name, way in WAYS.items()}


def _check(accepted: int, sent: int) -> None:
    if accepted != sent:
        raise RuntimeError(f"{accepted} of {sent} mails were accepted: a figure of this run would mean nothing")
