import ssl
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from bench.contenders import WAYS
from smtp_transport import Credentials, Email, SmtpClient, SmtpConfig, TlsConfig
from smtp_transport.dkim import Signer
from tests.servers import dovecot, exim, postfix
from tests.servers.standing import LATER, PASSWORD, REFUSED, SMALL, USER, Found, Standing
from tests.wire.sink import Sink


@pytest.fixture(scope="session")
def real_postfix(ca) -> Iterator[Standing]:
    with postfix.running(ca) as server:
        yield server


@pytest.fixture(scope="session")
def real_exim(ca) -> Iterator[Standing]:
    with exim.running(ca) as server:
        yield server


@pytest.fixture(scope="session")
def real_dovecot() -> Iterator[Standing]:
    with dovecot.running() as server:
        yield server


@dataclass
class Aiosmtpd:
    doors: Mapping[str, int]
    sinks: list[Sink]
    name: str = "aiosmtpd"

    def kept(self) -> Collection[Found]:
        return [
            Found((number,), tuple(taken.recipients), taken.content)
            for sink in self.sinks
            for number, taken in enumerate(sink.taken)
        ]


@pytest.fixture
def real_aiosmtpd(ca) -> Iterator[Standing]:
    warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS", UserWarning)  # it does require TLS
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    refuse = {REFUSED: "550 5.1.1 nobody here", LATER: "450 4.2.1 full for now"}
    # It reads from its buffer, so that pipelined commands work, but it does not say so.
    with (
        Sink(capabilities=("PIPELINING",), refuse=refuse) as plain,
        Sink(tls=context, user=(USER.encode(), PASSWORD.encode()), capabilities=("PIPELINING",)) as secure,
        Sink(max_size=SMALL, capabilities=("PIPELINING",)) as small,
    ):
        yield Aiosmtpd({"plain": plain.port, "secure": secure.port, "small": small.port}, [plain, secure, small])


@pytest.fixture(params=["postfix", "exim", "aiosmtpd"])
def server(request) -> Standing:
    return request.getfixturevalue(f"real_{request.param}")


@pytest.fixture(params=WAYS, ids=WAYS.keys())
def way(request) -> Mapping[str, Any]:
    """Fields of a configuration that insist on one mode of the wire."""
    return WAYS[request.param]


@pytest.fixture
def client_of(ca_file) -> Iterator[Callable[..., SmtpClient]]:
    """Give a client of one door of a server."""
    clients = []

    def client(server: Standing, door: str = "plain", signer: Signer | None = None, **fields: Any) -> SmtpClient:
        told: dict[str, Any] = {"host": "127.0.0.1", "port": server.doors[door], "tls": "none"}
        if door == "secure":
            told |= {"host": "localhost", "tls": "starttls", "tls_config": TlsConfig(ca_certs=ca_file)}
            told |= {"credentials": Credentials.password(USER, PASSWORD)}
        config = SmtpConfig(**told | {"local_hostname": "client.test"} | fields)
        clients.append(SmtpClient(config, signer=signer))
        return clients[-1]

    yield client
    for each in clients:
        each.shutdown()


@pytest.fixture
def email(request) -> Callable[..., Email]:
    """Give an email with a Message-ID that no other test uses."""
    made = []

    def make(*to: str, **fields: Any) -> Email:
        made.append(None)
        name = "".join(c if c.isalnum() else "." for c in request.node.name).strip(".")
        while ".." in name:
            name = name.replace("..", ".")
        told = {"from_": "me@example.com", "to": to or ("you@example.org",), "subject": "Hi", "text_body": "Hello.\n"}
        told |= {"date": datetime(2026, 11, 1, tzinfo=UTC), "message_id": f"<{name}.{len(made)}@example.com>"}
        return Email(**told | fields)

    return make
