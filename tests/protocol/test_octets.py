"""A link that breaks at any octet of either side: nobody gets a mail twice, and what is told is what the server did."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtp_transport import PoolConfig, RawEmail, RetryConfig, SmtpClient
from smtp_transport.client import SendResult
from smtp_transport.config import SmtpConfig
from smtp_transport.connection import Connection
from smtp_transport.errors import ErrorKind, SmtpConnectionError, SmtpError, SmtpTimeoutError
from smtp_transport.phase import Phase
from smtp_transport.wire import WireMode
from tests.protocol.model_server import DECISIONS, OK, ModelServer
from tests.protocol.script import make_config

EMAILS = [
    RawEmail.of(
        f"Message-ID: <m{number}@example.com>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\n.dot\r\n".encode(),
        sender=f"s{number}@example.com",
        recipients=[f"r{number}-{person}@e{person}.example" for person in range(2)],
    )
    for number in range(3)
]


@dataclass(frozen=True)
class Break:
    """Where and how a link breaks. `fails`: the write does; else what it wrote in vain may arrive `late`."""

    side: str = ""
    octets: int = 0
    how: str = "eof"
    fails: bool = False
    late: bool = False


@dataclass
class BreakingLink(ModelServer):
    """A model server at the end of a link that carries so many octets."""

    plan: Break = Break()
    left: int = field(init=False)
    in_vain: bytes = b""

    def __post_init__(self) -> None:
        self.left = self.plan.octets

    def read(self, deadline: float) -> bytes:
        if self.plan.side == "reply":
            if not self.left:
                return self._gone(SmtpTimeoutError("no answer", ErrorKind.READ_TIMEOUT))
            self.cut = self.left
        elif self.in_vain and not self._out:
            return self._gone(SmtpTimeoutError("no answer", ErrorKind.READ_TIMEOUT))
        given_ = super().read(deadline)
        self.left -= len(given_) if self.plan.side == "reply" else 0
        return given_

    def read_now(self) -> bytes:
        is_over = self.in_vain or (self.plan.side == "reply" and not self.left)
        if is_over and self.plan.how != "stall":
            raise SmtpConnectionError("the connection was closed", ErrorKind.CONNECTION_RESET)
        return b"" if is_over and not self._out else super().read_now()

    def write(self, data: bytes, deadline: float, *, attentive: bool = False) -> None:
        if self.plan.side != "command":
            super().write(data, deadline)
            return
        arrives, lost = data[: self.left], data[self.left :]
        self.left -= len(arrives)
        super().write(arrives, deadline)
        self.in_vain += lost
        if lost and self.plan.fails:
            raise SmtpConnectionError("the connection was reset", ErrorKind.CONNECTION_RESET)

    def close(self) -> None:
        if self.plan.late and not (self.plan.fails or self.closed):
            with suppress(SmtpError):
                super().write(self.in_vain, 0.0)
        super().close()

    def _gone(self, late: SmtpError) -> bytes:
        if self.plan.how == "eof":
            return b""
        raise late if self.plan.how == "stall" else SmtpConnectionError("reset", ErrorKind.CONNECTION_RESET)

    def _obey(self, line: str) -> None:
        if line == "QUIT":
            self._out, self._fault = self._out + b"221 2.0.0 bye\r\n", "eof"
        else:
            super()._obey(line)


@dataclass
class World:
    """The servers that a client has met. Links break as planned, one after the other; later ones last."""

    plans: Iterator[Break]
    decisions: Iterator[str]
    lmtp: bool
    met: list[BreakingLink] = field(default_factory=list)

    def dial(self, config: SmtpConfig, deadline: float) -> BreakingLink:
        self.met.append(BreakingLink(self.decisions, lmtp=self.lmtp, plan=next(self.plans, Break())))
        return self.met[-1]

    def took(self) -> Counter[str]:
        """Count who got which mail how often; each mail's people are its own."""
        taken = [(one, address) for link in self.met for one in link.taken for address in one.accepted]
        for one, address in taken:
            found = re.search(rb"<m([0-9])@", one.content)
            assert found is not None, "content without its header"
            assert address.startswith(f"r{found[1].decode()}-"), "somebody got a mail that is not theirs"
        return Counter(address for _, address in taken)


def check(result: SendResult | SmtpError, recipients: Sequence[str], took: Counter[str]) -> None:
    got = {address for address in recipients if took[address]}
    if isinstance(result, SmtpError):
        assert not got or (result.phase is Phase.DOT and result.code is None), "what may have been taken is in doubt"
        return
    assert set(result.accepted) <= got
    assert got <= set(result.accepted) | set(result.unanswered)


BREAKS = st.builds(
    Break,
    st.sampled_from(["reply", "command"]),
    st.integers(0, 900),
    st.sampled_from(["eof", "reset", "stall"]),
    st.booleans(),
    st.booleans(),
)


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
@pytest.mark.parametrize("mode", WireMode)
@settings(max_examples=120)
@given(
    plans=st.lists(BREAKS, max_size=2),
    decisions=st.lists(st.sampled_from([*DECISIONS, *[OK] * 20]), max_size=25),
    retry=st.sampled_from([None, RetryConfig(initial_delay=1e-6, max_delay=1e-6)]),
    warm=st.integers(0, 2),
)
def test_nobody_gets_a_mail_twice_wherever_a_link_breaks(
    mode: WireMode, protocol: str, plans: list[Break], decisions: list[str], retry: RetryConfig | None, warm: int
) -> None:
    """NF-REL-03, NF-REL-04."""
    world = World(iter(plans), iter(decisions), protocol == "lmtp")
    config = make_config(mode=mode, protocol=protocol, port=2525, retry=retry, pool=PoolConfig(max_connections=2))
    with SmtpClient(config, partial(Connection.open, dialer=world.dial)) as client:
        results = [*client.send_batch(EMAILS[:warm]).results, *client.send_batch(EMAILS[warm:]).results]
        assert client.pool_status().in_use == 0
    took = world.took()
    assert max(took.values(), default=0) <= 1, "twice"
    for email, result in zip(EMAILS, results, strict=True):
        check(result, email.envelope.recipients, took)
