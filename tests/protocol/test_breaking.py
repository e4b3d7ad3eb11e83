"""A link that breaks: how far had the mail come, and what is certain."""

import time

import pytest

from smtp_transport.errors import (
    ErrorKind,
)
from smtp_transport.observation import Observer
from smtp_transport.phase import Phase
from tests.protocol.mails import BOB, BOTH, CAT, CONTENT, GO, LARGE, MAIL, OK, QUEUED, WHOLE, Start, facts, receipts
from tests.protocol.script import Fault, Step, make_transaction

STEPS: tuple[tuple[Phase, tuple[Step, ...]], ...] = (
    (Phase.MAIL, (MAIL,)),
    (Phase.RCPT, (MAIL, OK, BOB)),
    (Phase.RCPT, (MAIL, OK, BOB, OK, CAT)),
    (Phase.DATA, (MAIL, OK, BOB, OK, CAT, OK, "DATA")),
    (Phase.DOT, (MAIL, OK, BOB, OK, CAT, OK, "DATA", GO, CONTENT, ".")),
)
BROKEN = (
    (Fault.STALL, ErrorKind.READ_TIMEOUT),
    (Fault.EOF, ErrorKind.CONNECTION_RESET),
    (Fault.RESET, ErrorKind.CONNECTION_RESET),
    (b"noise\r\n", ErrorKind.INVALID_RESPONSE),
    (b"334 what\r\n", ErrorKind.UNEXPECTED_RESPONSE),
)


def pipelined(steps: tuple[Step, ...], offers: tuple[str, ...]) -> tuple[Step, ...]:
    """What a pipelining client has said already when such a script breaks off."""
    said = [step for step in steps if isinstance(step, str)]
    return tuple(step for step in (MAIL, BOB, CAT, "DATA") if offers and step not in said)


@BOTH
@pytest.mark.parametrize(("fault", "kind"), BROKEN)
@pytest.mark.parametrize(("phase", "steps"), STEPS)
def test_a_link_that_breaks_tells_how_far_the_mail_had_come(
    play: Start, phase: Phase, steps: tuple[Step, ...], fault: Step, kind: ErrorKind, offers: tuple[str, ...]
) -> None:
    """NF-REL-03."""
    played = play(*steps, fault, offers=offers)
    mails = (make_transaction("bob@example.com", "cat@example.com"), make_transaction())
    (receipt,) = receipts(played.connection, *mails)
    assert facts(receipt) == [("bob", phase, None), ("cat", phase, None)]
    assert receipt.error
    assert (receipt.error.kind, receipt.error.phase) == (kind, phase)
    assert not played.connection.usable
    assert played.stream.closed
    played.stream._steps.clear()
    played.stream._unmatched = b""


@BOTH
@pytest.mark.parametrize(("phase", "steps"), STEPS)
def test_a_421_at_each_step_closes_the_link(
    play: Start, phase: Phase, steps: tuple[Step, ...], offers: tuple[str, ...]
) -> None:
    played = play(*steps, b"421 4.3.2 bye\r\n", *pipelined(steps, offers), offers=offers)
    (receipt,) = receipts(played.connection, make_transaction("bob@example.com", "cat@example.com"), make_transaction())
    assert receipt.error
    assert (receipt.error.kind, receipt.error.phase, receipt.error.code) == (ErrorKind.SERVER_SHUTDOWN, phase, 421)
    assert receipt.accepted == ()
    told = {fact[2] for fact in facts(receipt)}
    assert told == ({421, None} if phase is Phase.RCPT else {421})
    assert {fact[1] for fact in facts(receipt)} == {phase}
    assert not played.connection.usable
    assert played.stream.closed


@BOTH
def test_the_reason_for_a_failed_write_is_found(play: Start, offers: tuple[str, ...]) -> None:
    played = play(Fault.DEAF, b"421 4.3.2 idle too long\r\n", Fault.EOF, offers=offers)
    (receipt,) = receipts(played.connection, make_transaction())
    assert facts(receipt) == [("bob", Phase.MAIL, 421)]
    assert played.connection.delivered == 1
    assert played.stream.read_deadlines[-1] < time.monotonic() + 1, "it is there already, or it is not"
    played.stream._steps.clear()


@BOTH
@pytest.mark.parametrize("reply", [b"552 5.3.4 too big\r\n", b"451 4.3.1 full\r\n"])
def test_a_refusal_in_the_middle_of_the_content_is_found_behind_the_broken_write(
    play: Start, offers: tuple[str, ...], reply: bytes
) -> None:
    played = play(MAIL, OK, BOB, OK, "DATA", GO, Fault.DEAF, reply, Fault.EOF, offers=offers)
    (receipt,) = receipts(played.connection, make_transaction(), make_transaction())
    assert facts(receipt) == [("bob", Phase.BODY, int(reply[:3]))]
    assert receipt.error is None
    assert not played.connection.usable
    played.stream._steps.clear()


@BOTH
@pytest.mark.parametrize(("after", "kind"), [(Fault.EOF, ErrorKind.CONNECTION_RESET), (b"250 ok\r\n", None)])
def test_a_link_lost_in_the_content_leaves_no_doubt(
    play: Start, offers: tuple[str, ...], after: Step, kind: ErrorKind | None
) -> None:
    """NF-REL-04."""
    played = play(MAIL, OK, BOB, OK, "DATA", GO, Fault.DEAF, after, offers=offers)
    (receipt,) = receipts(played.connection, make_transaction())
    assert facts(receipt) == [("bob", Phase.BODY, None)]
    assert receipt.error
    assert receipt.error.kind is (kind or ErrorKind.UNEXPECTED_RESPONSE)
    assert b"\r\n.\r\n" not in played.stream.written
    played.stream._steps.clear()


@BOTH
@pytest.mark.parametrize("fault", [Fault.EOF, Fault.RESET, Fault.STALL])
def test_a_link_lost_after_the_dot_leaves_the_mail_in_doubt(play: Start, offers: tuple[str, ...], fault: Fault) -> None:
    """NF-REL-04."""
    played = play(*WHOLE[:-1], fault, offers=offers)
    (receipt,) = receipts(played.connection, make_transaction())
    assert facts(receipt) == [("bob", Phase.DOT, None)]
    assert receipt.error
    assert "may have been accepted" in str(receipt.error)
    played.stream._steps.clear()


@BOTH
def test_a_dot_that_could_not_be_written_leaves_the_mail_in_doubt(play: Start, offers: tuple[str, ...]) -> None:
    played = play(*WHOLE[:6], LARGE, Fault.DEAF, Fault.EOF, offers=offers)
    (receipt,) = receipts(played.connection, make_transaction(data=LARGE.replace("\n", "\r\n").encode() + b"\r\n"))
    assert facts(receipt) == [("bob", Phase.DOT, None)]
    played.stream._steps.clear()


@BOTH
def test_a_refused_rset_leaves_the_mail_for_another_link(play: Start, offers: tuple[str, ...]) -> None:
    group = (BOB, b"503 no\r\n", "DATA", b"503 no\r\n") if offers else ()
    first = (MAIL, OK, BOB, b"550 no\r\n", *(("DATA", b"554 no\r\n") if offers else ()))
    played = play(*first, "RSET", b"500 what\r\n", *((MAIL, *group[:1], "DATA") if offers else ()), offers=offers)
    _, second = receipts(played.connection, *[make_transaction()] * 3)
    assert facts(second) == [("bob", Phase.MAIL, None)]
    assert second.error
    assert second.error.code == 500
    assert played.stream.closed


def test_a_reply_too_many_is_not_taken_for_the_next_ones(play: Start) -> None:
    played = play(*WHOLE[:-1], QUEUED + b"250 2.0.0 queued as 5AbC34\r\n", offers=("PIPELINING",))
    (receipt,) = receipts(played.connection, make_transaction(), make_transaction())
    assert receipt.accepted, "the first reply is the answer"
    assert not played.connection.usable


@pytest.mark.parametrize("heard", [[], [lambda _: None]], ids=["unobserved", "observed"])
def test_the_final_reply_may_take_longer_than_the_others(play: Start, heard: list[Observer]) -> None:
    played = play(*WHOLE, observers=heard, io_timeout=1, final_timeout=1000)
    receipts(played.connection, make_transaction())
    *_, before, final = played.stream.read_deadlines
    assert final - before > 900
