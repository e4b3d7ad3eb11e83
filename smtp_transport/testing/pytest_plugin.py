"""Fixtures for pytest, which finds them by itself where this package is installed: smtp_server, smtp_faults, smtp_mock.

Law: nothing but pytest is loaded until a test asks for one of them.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    import ssl

    from smtp_transport.testing import FaultPlan, FaultServer, MockSmtpClient


class StartFaults(Protocol):
    """What `smtp_faults` is."""

    def __call__(
        self, plan: "FaultPlan", *capabilities: str, tls: "ssl.SSLContext | None" = None, **behaviour: Any
    ) -> "FaultServer":
        """Start a server that plays a plan; `tls` is its context for STARTTLS, `behaviour` goes to `Behave`."""
        ...


@pytest.fixture
def smtp_server() -> "Iterator[FaultServer]":
    """Run a server that takes everything; see `conversations` for what came."""
    from smtp_transport.testing import FaultServer, behaved  # noqa: PLC0415 - see the law above

    with FaultServer(behaved("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10485760")) as server:
        yield server


@pytest.fixture
def smtp_faults() -> "Iterator[StartFaults]":
    """Start servers on which things go wrong: `smtp_faults(FaultPlan().at("DOT", 1, Reset()), "PIPELINING")`.

    A fault that was planned and never came fails the test.
    """
    from smtp_transport.testing import Behave, FaultServer, ScriptBroken  # noqa: PLC0415 - see the law above

    plans = []
    with ExitStack() as running:

        def start(
            plan: "FaultPlan", *capabilities: str, tls: "ssl.SSLContext | None" = None, **behaviour: Any
        ) -> "FaultServer":
            plans.append(plan)
            script = [Behave(capabilities, faults=plan, **{"greeting": "220 fault.test ESMTP"} | behaviour)]
            return running.enter_context(FaultServer(script, tls=tls, strict=False))

        yield start
    outstanding = [fault for plan in plans for fault in plan.outstanding]
    if outstanding:
        raise ScriptBroken(f"planned, and never came: {', '.join(outstanding)}")


@pytest.fixture
def smtp_mock() -> "Iterator[MockSmtpClient]":
    """Give a client that only pretends to send; its expectations are verified when the test ends."""
    from smtp_transport.testing import MockSmtpClient  # noqa: PLC0415 - see the law above

    mock = MockSmtpClient()
    yield mock
    mock.shutdown()
    mock.verify()
