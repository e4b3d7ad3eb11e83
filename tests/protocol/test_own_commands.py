"""Commands beside the mail: built-in ones, and those of one's own."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from smtp_transport.errors import ErrorKind, ProtocolError, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Command, Data, Ehlo, Expn, Mail, Noop, Quit, Rset, StartTls, Vrfy
from tests.protocol.mails import BOB, MAIL, OK, WHOLE, Start, facts, receipts
from tests.protocol.script import Fault, Step, make_transaction


@dataclass(frozen=True, repr=False)
class Xclient(Command):
    verb: ClassVar[str] = "XCLIENT"

    attribute: str

    @property
    def argument(self) -> str:
        return f"NAME={self.attribute}"


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Vrfy("bob"), "VRFY bob"),
        (Expn("staff"), "EXPN staff"),
        (Noop(), "NOOP"),
        (Rset(), "RSET"),
        (Xclient("mx"), "XCLIENT NAME=mx"),
    ],
)
@pytest.mark.parametrize("code", [250, 252, 450, 550])
def test_a_command_is_said_and_its_reply_given_whatever_it_says(
    play: Start, command: Command, line: str, code: int
) -> None:
    played = play(line, f"{code}-one\r\n{code} two\r\n".encode(), *WHOLE)
    reply = played.connection.command(command)
    assert (reply.code, reply.lines) == (code, ("one", "two"))
    (receipt,) = receipts(played.connection, make_transaction())
    assert receipt.accepted


def test_a_command_may_be_said_while_a_refused_mail_is_still_open(play: Start) -> None:
    refused = (MAIL, OK, BOB, b"550 who?\r\n")
    played = play(*refused, "VRFY bob", b"252 maybe\r\n", "RSET", OK, *WHOLE, mode="lockstep")
    (first,) = receipts(played.connection, make_transaction())
    assert facts(first) == [("bob", Phase.RCPT, 550)]
    assert played.connection.command(Vrfy("bob")).code == 252
    (second,) = receipts(played.connection, make_transaction())
    assert second.accepted


class Sly(Command):
    verb = "DATA"


@pytest.mark.parametrize(
    "command",
    [Mail("ann@example.com"), Data(), Ehlo("me"), StartTls(), Quit(), Sly()],
    ids=lambda command: command.verb,
)
def test_what_has_a_door_of_its_own_is_not_said_here(play: Start, command: Command) -> None:
    played = play(*WHOLE)
    with pytest.raises(ProtocolError) as caught:
        played.connection.command(command)
    assert caught.value.kind is ErrorKind.COMMAND_SEQUENCE_ERROR
    (receipt,) = receipts(played.connection, make_transaction())
    assert receipt.accepted


@pytest.mark.parametrize("fault", [Fault.EOF, Fault.STALL, b"noise\r\n", b"354 what\r\n"])
def test_a_link_that_breaks_at_a_command_is_closed(play: Start, fault: Step) -> None:
    played = play("NOOP", fault)
    with pytest.raises(SmtpError):
        played.connection.command(Noop())
    assert played.stream.closed
    with pytest.raises(ProtocolError):
        played.connection.command(Noop())
    played.stream._steps.clear()


def test_a_421_is_a_reply_and_the_end(play: Start) -> None:
    played = play("NOOP", b"421 4.3.2 bye\r\n")
    assert played.connection.command(Noop()).code == 421
    assert played.stream.closed


def test_an_argument_that_is_no_line_is_not_said(play: Start) -> None:
    played = play(*WHOLE)
    with pytest.raises(ProtocolError):
        played.connection.command(Vrfy("bob\r\nRSET"))
    assert receipts(played.connection, make_transaction())[0].accepted
