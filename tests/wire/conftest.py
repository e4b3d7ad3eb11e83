import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from smtp_transport import ConnectionPool, Email, PoolConfig, SmtpClient, SmtpConfig
from smtp_transport.testing import FaultServer, behaved
from tests.wire.pooling import Clock


@pytest.fixture(scope="session")
def issued(ca) -> Callable[..., ssl.SSLContext]:
    """Give a server's context with a certificate for these names."""

    def issue(*names: str, **options: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*(names or ("localhost",)), **options).configure_cert(context)
        return context

    return issue


@pytest.fixture
def config_for() -> Callable[..., SmtpConfig]:
    """Give a configuration for a server on the loopback interface, in clear text unless told otherwise."""

    def config(server: Any, **fields: Any) -> SmtpConfig:
        return SmtpConfig(
            **{"host": server.host, "port": server.port, "tls": "none", "local_hostname": "t.test"} | fields
        )

    return config


@pytest.fixture
def client_for(config_for) -> Iterator[Callable[..., SmtpClient]]:
    """Give a client of a server; it is shut down when the test ends, if not before."""
    clients = []

    def client(server: Any, **fields: Any) -> SmtpClient:
        clients.append(SmtpClient(config_for(server, **fields)))
        return clients[-1]

    yield client
    for each in clients:
        each.shutdown()


@pytest.fixture
def email() -> Callable[..., Email]:
    def make(*to: str, **fields: Any) -> Email:
        told = {"from_": "me@example.com", "to": to or ("you@example.org",), "subject": "Hi", "text_body": "Hello.\n"}
        return Email(**told | {"date": datetime(2026, 11, 1, tzinfo=UTC)} | fields)

    return make


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    with FaultServer(behaved()) as running:
        yield running


@pytest.fixture
def pool_of(config_for, clock):
    """Give a pool with these limits; its links live for all of `max_lifetime` unless a chance is told."""
    with ExitStack() as running:

        def pool(server, chance=0.0, **fields):
            config = config_for(server, pool=PoolConfig(**fields))
            made = ConnectionPool(config, clock=clock, chance=lambda: chance, tends_itself=False)
            running.callback(made.close_all)
            return made

        yield pool
