"""A kit for testing programs that send mail: servers that fail on cue.

    from smtp_transport.testing import Close, Expect, FaultServer, Say, greeted

    script = [*greeted("PIPELINING"), Expect("MAIL FROM:"), Say("421 4.3.2 going down"), Close()]
    with FaultServer(script) as server:
        ...  # send to server.host, server.port; then look at server.conversations

Real sockets on the loopback interface, real TLS. The kit holds what a client says, passwords too: use made-up ones.
"""

from smtp_transport.testing.fault_server import FaultServer
from smtp_transport.testing.peer import Conversation, Departed, HungUp, Peer, ScriptBroken
from smtp_transport.testing.steps import (
    Behave,
    Close,
    Drip,
    Expect,
    ExpectContent,
    ExpectEnd,
    Raw,
    ReadSome,
    Reset,
    Say,
    Stall,
    StartTls,
    Step,
    behaved,
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
    "FaultServer",
    "HungUp",
    "Peer",
    "Raw",
    "ReadSome",
    "Reset",
    "Say",
    "ScriptBroken",
    "Stall",
    "StartTls",
    "Step",
    "behaved",
    "greeted",
    "mail_taken",
    "quit_said",
]
