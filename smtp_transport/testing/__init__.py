"""A kit for testing programs that send mail: servers that fail on cue, a client that only pretends, recordings.

    from smtp_transport.testing import FaultPlan, FaultServer, behaved

    plan = FaultPlan().at("RCPT", 2, "450 4.2.1 busy")
    with FaultServer(behaved("PIPELINING", faults=plan)) as server:
        ...  # send to server.host, server.port; then look at server.conversations

Real sockets on the loopback interface, real TLS. The kit holds what a client says, passwords too: use made-up ones.
Names are loaded when they are first used, so that the pytest plugin costs nothing where it is not.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smtp_transport.testing.behaviour import Behave, behaved
    from smtp_transport.testing.fault_server import FaultServer
    from smtp_transport.testing.mock import ExpectationFailed, MockSmtpClient, SentMail, UnexpectedSend
    from smtp_transport.testing.peer import Conversation, Departed, HungUp, Peer, ScriptBroken
    from smtp_transport.testing.plan import FaultPlan
    from smtp_transport.testing.recording import Recorder, RecordingFailed, replayed
    from smtp_transport.testing.steps import (
        Close,
        Drip,
        Expect,
        ExpectContent,
        ExpectEnd,
        HoldBack,
        LongLine,
        Pause,
        Raw,
        ReadSome,
        Reset,
        Say,
        Stall,
        StartTls,
        Step,
        greeted,
        mail_taken,
        quit_said,
    )

__all__ = [
    "Behave",
    "Close",
    "Conversation",
    "Departed",
    "Drip",
    "Expect",
    "ExpectContent",
    "ExpectEnd",
    "ExpectationFailed",
    "FaultPlan",
    "FaultServer",
    "HoldBack",
    "HungUp",
    "LongLine",
    "MockSmtpClient",
    "Pause",
    "Peer",
    "Raw",
    "ReadSome",
    "Recorder",
    "RecordingFailed",
    "Reset",
    "Say",
    "ScriptBroken",
    "SentMail",
    "Stall",
    "StartTls",
    "Step",
    "UnexpectedSend",
    "behaved",
    "greeted",
    "mail_taken",
    "quit_said",
    "replayed",
]

_NAMES_OF_MODULE = {
    "behaviour": "Behave behaved",
    "fault_server": "FaultServer",
    "mock": "ExpectationFailed MockSmtpClient SentMail UnexpectedSend",
    "peer": "Conversation Departed HungUp Peer ScriptBroken",
    "plan": "FaultPlan",
    "recording": "Recorder RecordingFailed replayed",
    "steps": (
        "Close Drip Expect ExpectContent ExpectEnd HoldBack LongLine Pause Raw ReadSome Reset Say Stall StartTls Step "
        "greeted mail_taken quit_said"
    ),
}
_HOME = {name: module for module, names in _NAMES_OF_MODULE.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load a name from its module, once."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
