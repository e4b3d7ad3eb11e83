"""LMTP (RFC 2033): LHLO, and a final reply for each recipient that was accepted."""

import pytest
from pydantic import ValidationError

from smtp_transport.connection import Connection
from smtp_transport.errors import ErrorKind, SmtpError
from smtp_transport.phase import Phase
from tests.protocol.mails import BOB, CAT, CONTENT, GO, MAIL, OK, Start, all_of, facts
from tests.protocol.script import Fault, ScriptedStream, Step, make_config, make_transaction

DAN = "RCPT TO:<dan@example.com>"
PEOPLE = ("bob@example.com", "cat@example.com", "dan@example.com")
FULL = b"452 4.2.2 mailbox full\r\n"
MODES = pytest.mark.parametrize("mode", ["lockstep", "pipelined", "streamed", "chunked"])


def spoken(*steps: Step, mode: str = "lockstep", cut: int = 65_536) -> tuple[Connection, ScriptedStream]:
    offer = b"250-store\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
    stream = ScriptedStream(b"220 store LMTP\r\n", "LHLO client.example.com", offer, *steps, cut=cut)
    connection = Connection.over(stream, make_config(protocol="lmtp", port=24, mode=mode))
    connection._talk.takes_chunks = True
    return connection, stream


def content(mode: str) -> tuple[Step, ...]:
    return ("BDAT 22 LAST", CONTENT) if mode == "chunked" else ("DATA", GO, CONTENT, ".")


@MODES
@pytest.mark.parametrize("cut", [1, 5, 65_536])
def test_each_recipient_has_its_own_final_reply(mode: str, cut: int) -> None:
    whole = (MAIL, OK, BOB, OK, CAT, b"550 5.1.1 who?\r\n", DAN, OK, *content(mode))
    between = ("RSET", OK) if mode == "chunked" else ()
    second = (MAIL, OK, BOB, OK, *content(mode), OK)
    connection, stream = spoken(*whole, FULL + b"250 2.1.5 kept\r\n", *between, *second, mode=mode, cut=cut)
    given = list(connection.deliver([make_transaction(*PEOPLE), make_transaction()], all_of))
    assert facts(given[0][1]) == [("bob", Phase.DOT, 452), ("cat", Phase.RCPT, 550), ("dan", Phase.DOT, 250)]
    assert given[0][1].accepted == ("dan@example.com",)
    assert given[0][1].final_reply.code == 250
    assert given[1][1].accepted
    assert connection.usable
    assert stream.done


@MODES
def test_a_link_lost_between_final_replies_leaves_the_rest_in_doubt(mode: str) -> None:
    """NF-REL-04."""
    whole = (MAIL, OK, BOB, OK, CAT, OK, *content(mode), b"250 kept\r\n", Fault.EOF)
    connection, _ = spoken(*whole, mode=mode)
    ((_, receipt),) = connection.deliver([make_transaction(*PEOPLE[:2])], all_of)
    assert facts(receipt) == [("bob", Phase.DOT, 250), ("cat", Phase.DOT, None)]
    assert receipt.error
    assert receipt.error.phase is Phase.DOT
    assert not connection.usable


@MODES
def test_a_421_between_final_replies_is_one_recipients(mode: str) -> None:
    whole = (MAIL, OK, BOB, OK, CAT, OK, *content(mode), b"421 4.3.2 bye\r\n")
    connection, _ = spoken(*whole, mode=mode)
    ((_, receipt),) = connection.deliver([make_transaction(*PEOPLE[:2])], all_of)
    assert facts(receipt) == [("bob", Phase.DOT, 421), ("cat", Phase.DOT, None)]


def test_one_reply_too_few_is_waited_for_and_one_too_many_ends_the_link() -> None:
    whole = (MAIL, OK, BOB, OK, *content("lockstep"), OK + OK)
    connection, _ = spoken(*whole)
    ((_, receipt),) = connection.deliver([make_transaction(), make_transaction()], all_of)
    assert receipt.accepted
    assert not connection.usable


def test_a_chunk_for_nobody_has_one_reply() -> None:
    refused = (MAIL, OK, BOB, b"550 who?\r\n", *content("chunked"), b"503 nobody\r\n")
    connection, stream = spoken(*refused, "RSET", OK, MAIL, OK, BOB, OK, *content("chunked"), OK, mode="chunked")
    (_, first), (_, second) = connection.deliver([make_transaction()] * 2, all_of)
    assert facts(first) == [("bob", Phase.RCPT, 550)]
    assert second.accepted
    assert stream.done


def test_no_helo_is_tried() -> None:
    stream = ScriptedStream(b"220 store\r\n", "LHLO client.example.com", b"500 what?\r\n")
    with pytest.raises(SmtpError):
        Connection.over(stream, make_config(protocol="lmtp", port=24))
    assert stream.done


def test_port_25_is_smtps_alone() -> None:
    with pytest.raises(ValidationError, match="port"):
        make_config(protocol="lmtp", port=25)


def test_a_relay_that_speaks_no_lmtp_is_told_apart(play: Start) -> None:
    stream = ScriptedStream(b"220 mx\r\n", "LHLO client.example.com", b"502 5.5.1 no\r\n")
    with pytest.raises(SmtpError) as caught:
        Connection.over(stream, make_config(protocol="lmtp", port=24))
    assert caught.value.phase is Phase.EHLO
    assert caught.value.kind is ErrorKind.UNEXPECTED_RESPONSE
