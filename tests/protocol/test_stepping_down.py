"""How fast mails go: as fast as is offered, configured and proven."""

import logging

import pytest

from smtp_transport.connection import Footing
from smtp_transport.errors import ErrorKind, ProtocolError, SmtpConnectionError, SmtpTimeoutError
from smtp_transport.phase import Phase
from smtp_transport.wire import WireMode
from tests.protocol.mails import BOB, MAIL, OK, WHOLE, Start, receipts
from tests.protocol.script import Fault, make_transaction

BROKEN = ProtocolError("what?", ErrorKind.INVALID_RESPONSE, phase=Phase.DOT)
LOST = SmtpConnectionError("gone", ErrorKind.CONNECTION_RESET, phase=Phase.DOT)
STALLED = SmtpTimeoutError("silent", ErrorKind.READ_TIMEOUT, phase=Phase.DATA)


@pytest.mark.parametrize(
    ("offers", "fields", "mode"),
    [
        (("PIPELINING", "CHUNKING"), {"mode": None}, WireMode.CHUNKED),
        (("PIPELINING",), {"mode": None}, WireMode.STREAMED),
        (("CHUNKING",), {"mode": None}, WireMode.LOCKSTEP),
        ((), {"mode": None}, WireMode.LOCKSTEP),
        (("PIPELINING", "CHUNKING"), {"mode": "streamed"}, WireMode.STREAMED),
        (("PIPELINING", "CHUNKING"), {"mode": "pipelined"}, WireMode.PIPELINED),
        (("PIPELINING", "CHUNKING"), {"mode": "lockstep"}, WireMode.LOCKSTEP),
        (("PIPELINING",), {"mode": "chunked"}, WireMode.STREAMED),
        (("PIPELINING", "CHUNKING"), {"mode": "chunked", "pipelining": False}, WireMode.LOCKSTEP),
    ],
)
def test_the_mode_is_the_fastest_that_is_offered_and_wanted(play: Start, offers, fields, mode: WireMode) -> None:
    assert play(offers=offers, **fields).connection.mode is mode


def test_a_forced_lockstep_says_nothing_before_its_turn(play: Start) -> None:
    played = play(*WHOLE, offers=("PIPELINING", "CHUNKING"), mode="lockstep")
    before = played.stream.writes
    receipts(played.connection, make_transaction())
    assert played.stream.writes - before == 4


def test_a_server_out_of_step_is_stepped_down_at_once_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    footing = Footing()
    with caplog.at_level(logging.WARNING):
        footing.broke(WireMode.CHUNKED, BROKEN, "mx.example.com:25")
    assert footing.within(WireMode.CHUNKED) is WireMode.STREAMED
    assert footing.within(WireMode.LOCKSTEP) is WireMode.LOCKSTEP
    assert footing.stumble
    assert footing.stumble.reason == "what?"
    assert "mx.example.com:25 stumbled in mode chunked, now streamed: what?" in caplog.text


def test_a_refusal_is_no_stumble() -> None:
    footing = Footing()
    refused = ProtocolError("RSET refused", ErrorKind.UNEXPECTED_RESPONSE, 451, "4.3.0", Phase.MAIL)
    footing.broke(WireMode.CHUNKED, refused, "mx")
    assert footing.stumble is None


@pytest.mark.parametrize("error", [LOST, STALLED])
def test_one_lost_link_is_bad_luck_and_two_in_a_row_are_not(error: Exception) -> None:
    footing = Footing()
    footing.broke(WireMode.STREAMED, error, "mx")
    assert footing.within(WireMode.STREAMED) is WireMode.STREAMED
    footing.went_well()
    footing.broke(WireMode.STREAMED, error, "mx")
    assert footing.within(WireMode.STREAMED) is WireMode.STREAMED
    footing.broke(WireMode.STREAMED, error, "mx")
    assert footing.within(WireMode.STREAMED) is WireMode.PIPELINED


def test_a_server_may_hang_up_between_mails_and_leave_by_421() -> None:
    footing = Footing()
    between = SmtpConnectionError("gone", ErrorKind.CONNECTION_RESET, phase=Phase.MAIL)
    leaving = ProtocolError("bye", ErrorKind.SERVER_SHUTDOWN, 421, phase=Phase.DOT)
    for error in (between, leaving) * 3:
        footing.broke(WireMode.CHUNKED, error, "mx")
    assert footing.stumble is None


def test_it_goes_down_step_by_step_and_never_below_the_slowest() -> None:
    footing = Footing()
    for mode, lower in ((WireMode.CHUNKED, "streamed"), (WireMode.STREAMED, "pipelined"), (WireMode.PIPELINED, None)):
        footing.broke(mode, BROKEN, "mx")
        assert footing.within(WireMode.CHUNKED) is WireMode(lower or "lockstep")
    footing.broke(WireMode.LOCKSTEP, BROKEN, "mx")
    assert footing.within(WireMode.CHUNKED) is WireMode.LOCKSTEP


def test_a_link_that_was_slow_to_break_does_not_speed_up_what_was_stepped_down() -> None:
    footing = Footing()
    footing.broke(WireMode.STREAMED, BROKEN, "mx")
    footing.broke(WireMode.CHUNKED, BROKEN, "mx")
    assert footing.within(WireMode.CHUNKED) is WireMode.PIPELINED


def test_after_an_hour_the_faster_way_is_tried_again() -> None:
    now = [0.0]
    footing = Footing(clock=lambda: now[0])
    footing.broke(WireMode.CHUNKED, BROKEN, "mx")
    now[0] = 3_599.0
    assert footing.within(WireMode.CHUNKED) is WireMode.STREAMED
    now[0] = 3_600.0
    assert footing.within(WireMode.CHUNKED) is WireMode.CHUNKED
    assert footing.stumble is None


def test_links_that_share_a_footing_learn_from_each_other(play: Start) -> None:
    offers = ("PIPELINING", "CHUNKING")
    first = play(MAIL, b"noise\r\n", offers=offers, mode=None)
    second = play(*WHOLE, offers=offers, mode=None)
    second.connection.footing = first.connection.footing
    receipts(first.connection, make_transaction())
    first.stream._unmatched = b""
    assert second.connection.mode is WireMode.STREAMED
    (receipt,) = receipts(second.connection, make_transaction())
    assert receipt.accepted


def test_two_links_lost_behind_windows_make_the_next_go_more_slowly(play: Start) -> None:
    offers = ("PIPELINING", "CHUNKING")
    footing = Footing()
    for _ in range(2):
        played = play(MAIL, OK, BOB, Fault.EOF, offers=offers, mode=None)
        played.connection.footing = footing
        footing.knows_chunks = True
        assert played.connection.mode is WireMode.CHUNKED
        receipts(played.connection, make_transaction())
        played.stream._steps.clear()
        played.stream._unmatched = b""
    assert footing.within(WireMode.CHUNKED) is WireMode.STREAMED
