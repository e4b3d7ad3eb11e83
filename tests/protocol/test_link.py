"""What a link does besides mails, and how it ends."""

import time

import pytest

from smtp_transport.errors import (
    ProtocolError,
    SmtpConnectionError,
)
from smtp_transport.protocol.commands import Data, Noop, Vrfy
from tests.protocol.mails import BOB, MAIL, OK, WHOLE, Start, all_of, receipts
from tests.protocol.script import Fault, Step, make_transaction


def test_who_stops_listening_between_mails_leaves_a_usable_link(play: Start) -> None:
    played = play(*WHOLE, *WHOLE)
    delivery = played.connection.deliver([make_transaction()] * 3, all_of)
    assert next(delivery)[1].accepted
    delivery.close()
    assert played.connection.usable
    assert receipts(played.connection, make_transaction())[0].accepted


def test_noop_tells_whether_the_server_is_there(play: Start) -> None:
    played = play("NOOP", b"250-still\r\n250 here\r\n", "NOOP", b"421 4.3.2 bye\r\n")
    assert played.connection.noop()
    assert not played.connection.noop()
    assert not played.connection.usable
    assert not played.connection.noop(), "and nothing more is said"


def test_a_sign_of_life_is_waited_for_no_longer_than_is_asked(play: Start) -> None:
    played = play("NOOP", OK, "NOOP", OK, "NOOP", OK, io_timeout=60)
    for patience, most in ((None, 60), (10, 10), (1_000, 60)):
        before = time.monotonic()
        assert played.connection.noop(patience)
        assert played.connection._talk.patience == 60
        assert before + most <= played.stream.read_deadlines[-1] <= time.monotonic() + most


def test_reset_drops_an_open_transaction(play: Start) -> None:
    played = play(MAIL, OK, BOB, b"550 no\r\n", "RSET", OK, *WHOLE)
    receipts(played.connection, make_transaction())
    assert played.connection.reset()
    assert receipts(played.connection, make_transaction())[0].accepted


def test_quit_says_good_bye_and_closes(play: Start) -> None:
    """F-CONN-06."""
    played = play("QUIT", b"221 bye\r\n")
    assert played.connection.quit()
    assert played.stream.closed
    assert not played.connection.usable
    assert not played.connection.quit(), "a second time nothing is said"
    played.connection.close()


@pytest.mark.parametrize("fault", [Fault.EOF, Fault.RESET, Fault.STALL, b"noise\r\n", b"421 bye\r\n"])
def test_quit_never_raises_and_always_closes(play: Start, fault: Step) -> None:
    """F-CONN-06."""
    played = play("QUIT", fault)
    assert not played.connection.quit()
    assert played.stream.closed
    played.stream._steps.clear()


@pytest.mark.parametrize("fault", [Fault.STALL, b"noise\r\n"])
def test_a_link_that_is_out_of_step_gets_no_quit(play: Start, fault: Step) -> None:
    played = play(MAIL, fault)
    receipts(played.connection, make_transaction())
    assert not played.connection.quit()
    assert b"QUIT" not in played.stream.written
    played.stream._steps.clear()


def test_an_interrupt_in_the_middle_of_a_wait_closes_the_link(play: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play("NOOP")

    def interrupted(_: float) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(played.stream, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        played.connection.noop()
    assert played.stream.closed
    assert not played.connection.usable


def test_what_may_not_be_said_is_refused_and_harms_nothing(play: Start) -> None:
    played = play("NOOP", OK)
    talk = played.connection._talk
    for wrong in (Data(), Vrfy("a\r\nQUIT")):
        with pytest.raises(ProtocolError):
            talk.say(wrong)
    assert played.connection.noop()


def test_a_closed_link_says_nothing_more(play: Start) -> None:
    played = play()
    played.connection.close()
    with pytest.raises(SmtpConnectionError):
        played.connection._talk.say(Noop())
    assert receipts(played.connection, make_transaction()) == []


def test_a_connection_in_a_with_block_says_farewell(play: Start) -> None:
    played = play("NOOP", b"250 ok\r\n", "QUIT", b"221 bye\r\n")
    with played.connection as connection:
        assert connection.command(Noop()).is_positive
    assert not connection.usable
    assert played.stream.done
    assert played.stream.closed
