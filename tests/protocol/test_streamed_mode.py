"""One round trip a mail: its content, its dot and the next mail's announcement in one write (RFC 2920)."""

from collections.abc import Collection, Sequence

import pytest

from smtp_transport.errors import CancelledError, ErrorKind
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt
from tests.protocol.mails import BOB, CAT, CONTENT, GO, LARGE, MAIL, OK, QUEUED, WHOLE, Start, facts, receipts
from tests.protocol.script import Fault, Played, Step, make_transaction

FAST = {"offers": ("PIPELINING",), "mode": "streamed"}
UNTIL_DOT: tuple[Step, ...] = WHOLE[:8]
IN_DOUBT = [("bob", Phase.DOT, None)]
ACCEPTED = [("bob", Phase.DOT, 250)]


def test_a_mail_costs_one_write_and_is_permitted_alone(play: Start) -> None:
    asked: list[list[int]] = []

    def permit(positions: Sequence[int]) -> Collection[int]:
        asked.append(list(positions))
        return positions

    played = play(*WHOLE, *WHOLE, *WHOLE, **FAST)
    before = played.stream.writes
    given = list(played.connection.deliver([make_transaction()] * 3, permit))
    assert all(receipt.accepted for _, receipt in given)
    assert asked == [[0], [1], [2]]
    assert played.stream.writes - before == 4
    assert played.connection.usable


def test_a_large_mail_goes_alone_so_that_a_refusal_of_it_is_heard(play: Start) -> None:
    large = make_transaction(data=LARGE.replace("\n", "\r\n").encode())
    alone = (*UNTIL_DOT[:6], LARGE, ".", QUEUED)
    played = play(*WHOLE, *alone, *WHOLE, **FAST)
    before = played.stream.writes
    assert all(
        receipt.accepted for receipt in receipts(played.connection, make_transaction(), large, make_transaction())
    )
    assert played.stream.writes - before == len(["MAIL", "content", "MAIL", "content", ".", "MAIL", "content"])


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_replies_may_come_in_any_pieces(play: Start, cut: int) -> None:
    played = play(*WHOLE, *WHOLE, *WHOLE, **FAST, cut=cut)
    assert all(receipt.accepted for receipt in receipts(played.connection, *[make_transaction()] * 3))


def test_a_refusal_of_the_next_mail_is_no_matter_of_the_one_before(play: Start) -> None:
    refused_sender = (MAIL, b"553 5.7.1 not you\r\n", BOB, b"503 no\r\n", "DATA", b"503 no\r\n")
    refused_rcpt = (MAIL, OK, BOB, b"550 5.1.1 who?\r\n", "DATA", b"554 nobody\r\n")
    refused_data = ("RSET", OK, MAIL, OK, BOB, OK, "DATA", b"452 4.3.1 full\r\n")
    refused_content = ("RSET", OK, *UNTIL_DOT, b"554 5.7.1 spam\r\n")
    played = play(*WHOLE, *refused_sender, *refused_rcpt, *refused_data, *refused_content, *WHOLE, **FAST)
    given = receipts(played.connection, *[make_transaction()] * 6)
    assert [facts(receipt)[0][1:] for receipt in given] == [
        (Phase.DOT, 250),
        (Phase.MAIL, 553),
        (Phase.RCPT, 550),
        (Phase.DATA, 452),
        (Phase.DOT, 554),
        (Phase.DOT, 250),
    ]
    assert not any(receipt.error for receipt in given)
    assert played.connection.usable


def test_content_asked_for_after_all_were_refused_gets_a_lone_dot_in_the_stream(play: Start) -> None:
    asked: list[int] = []

    def permit(positions: Sequence[int]) -> Collection[int]:
        asked.extend(positions)
        return positions

    played = play(
        *WHOLE,
        *(MAIL, OK, BOB, b"550 5.1.1 who?\r\n", "DATA", GO, ".", b"554 nobody\r\n"),
        *WHOLE,
        **FAST,
    )
    given = list(played.connection.deliver([make_transaction()] * 3, permit))
    assert [facts(receipt)[0][1:] for _, receipt in given] == [(Phase.DOT, 250), (Phase.RCPT, 550), (Phase.DOT, 250)]
    assert asked == [0, 2], "a lone dot commits nothing"


def test_a_link_that_breaks_at_a_lone_dot_in_the_stream_takes_nothing(play: Start) -> None:
    refused = (MAIL, OK, BOB, b"550 5.1.1 who?\r\n", "DATA", GO, ".")
    played = play(*WHOLE, *refused, Fault.EOF, **FAST)
    given = receipts(played.connection, *[make_transaction()] * 3)
    assert [facts(receipt)[0][1:] for receipt in given] == [(Phase.DOT, 250), (Phase.RCPT, 550)]
    assert not any(receipt.error for receipt in given)
    assert not played.connection.usable
    played.stream._steps.clear()
    played.stream._unmatched = b""


@pytest.mark.parametrize("fault", [Fault.EOF, Fault.RESET, Fault.STALL])
def test_a_link_lost_behind_a_dot_leaves_that_mail_in_doubt_and_the_next_not_begun(play: Start, fault: Fault) -> None:
    """NF-REL-04."""
    played = play(*WHOLE, *UNTIL_DOT, fault, **FAST)
    first, second = receipts(played.connection, *[make_transaction()] * 3)
    assert facts(first) == ACCEPTED
    assert facts(second) == IN_DOUBT
    assert second.error
    assert second.error.phase is Phase.DOT
    played.stream._steps.clear()
    played.stream._unmatched = b""


@pytest.mark.parametrize(
    ("steps", "phase"),
    [((MAIL,), Phase.MAIL), ((MAIL, OK, BOB), Phase.RCPT), ((MAIL, OK, BOB, OK, "DATA"), Phase.DATA)],
)
@pytest.mark.parametrize("fault", [Fault.EOF, Fault.STALL, b"421 4.3.2 bye\r\n"])
def test_a_link_lost_in_the_next_announcement_takes_nothing_from_the_mail_before(
    play: Start, steps: tuple[Step, ...], phase: Phase, fault: Step
) -> None:
    played = play(*WHOLE, *steps, fault, **FAST)
    first, second = receipts(played.connection, *[make_transaction()] * 3)
    assert facts(first) == ACCEPTED
    assert first.error is None
    assert facts(second) == [("bob", phase, 421 if isinstance(fault, bytes) else None)]
    assert second.error
    played.stream._steps.clear()
    played.stream._unmatched = b""


def test_out_of_step_behind_a_dot_the_verdict_before_is_not_believed(play: Start) -> None:
    """What was taken for it may have been a reply too many; the real one was then taken for MAIL's."""
    played = play(*WHOLE, *UNTIL_DOT, b"250 stray\r\n" + b"554 5.7.1 spam\r\n", MAIL, BOB, "DATA", OK + OK + GO, **FAST)
    first, second, third = receipts(played.connection, *[make_transaction()] * 3)
    assert facts(first) == ACCEPTED
    assert facts(second) == IN_DOUBT
    assert facts(third) == [("bob", Phase.RCPT, None)]
    assert played.stream.closed
    played.stream._steps.clear()
    played.stream._unmatched = b""


def test_a_dot_that_could_not_be_written_leaves_only_its_mail_in_doubt(play: Start) -> None:
    played = play(*WHOLE[:6], Fault.DEAF, Fault.EOF, **FAST)
    (receipt,) = receipts(played.connection, *[make_transaction()] * 2)
    assert facts(receipt) == IN_DOUBT
    played.stream._steps.clear()


@pytest.mark.parametrize(("refusal", "code"), [(b"552 5.3.4 too big\r\n", 552), (b"421 4.3.2 bye\r\n", 421)])
def test_a_refusal_that_came_before_the_content_is_no_reply_to_the_dot(play: Start, refusal: bytes, code: int) -> None:
    played = play(*WHOLE[:6], refusal, **FAST)
    (receipt,) = receipts(played.connection, *[make_transaction()] * 2)
    assert facts(receipt) == [("bob", Phase.BODY, code)]
    assert not played.stream.written.endswith(b"\r\n.\r\n")
    assert played.stream.closed


def test_a_mail_without_permission_costs_the_link_and_writes_no_content(play: Start) -> None:
    played = play(*WHOLE, *WHOLE[:6], **FAST)
    given = dict(played.connection.deliver([make_transaction()] * 3, lambda asked: [p for p in asked if p == 0]))
    assert set(given) == {0, 1}
    assert isinstance(given[1].error, CancelledError)
    assert facts(given[1]) == [("bob", Phase.BODY, None)]
    assert played.stream.written.endswith(b"DATA\r\n")
    assert played.stream.closed


def test_what_is_too_much_to_write_blindly_goes_alone(play: Start) -> None:
    data = b"0123456789abcd\r\n" * 10_000
    text = "0123456789abcd\n" * 9_999 + "0123456789abcd"
    big = (*WHOLE[:6], text, ".", QUEUED)
    people = [f"p{number}@example.com" for number in range(120)]
    rcpts = [step for person in people for step in (f"RCPT TO:<{person}>", OK)]
    many = (MAIL, OK, *rcpts, "DATA", GO, CONTENT, ".", QUEUED)
    played = play(*WHOLE, *big, *many, *WHOLE, **FAST)
    mails = (make_transaction(), make_transaction(data=data), make_transaction(*people), make_transaction())
    assert all(receipt.accepted for receipt in receipts(played.connection, *mails))


def test_an_unfit_mail_in_between_stops_nothing(play: Start) -> None:
    played = play(*WHOLE, *WHOLE, **FAST)
    mails = (make_transaction(), make_transaction("jörg@example.com"), make_transaction())
    first, second, third = receipts(played.connection, *mails)
    assert (facts(first), facts(third)) == (ACCEPTED, ACCEPTED)
    assert second.error
    assert second.error.kind is ErrorKind.CAPABILITY_MISMATCH


def test_the_content_is_dot_stuffed_in_the_stream(play: Start) -> None:
    played = play(*WHOLE[:6], "a\n..\n..b", ".", QUEUED, *WHOLE, **FAST)
    first, _ = receipts(played.connection, make_transaction(data=b"a\r\n.\r\n.b\r\n"), make_transaction())
    assert first.accepted


def test_each_recipient_has_its_own_fate_in_the_stream(play: Start) -> None:
    both = make_transaction("bob@example.com", "cat@example.com")
    mixed = (MAIL, OK, BOB, b"450 later\r\n", CAT, OK, "DATA", GO, CONTENT, ".", QUEUED)
    played = play(*mixed, *mixed, **FAST)
    for receipt in receipts(played.connection, both, both):
        assert facts(receipt) == [("bob", Phase.RCPT, 450), ("cat", Phase.DOT, 250)]


TOGETHER: tuple[Step, ...] = (MAIL, BOB, "DATA", OK + OK + GO)
STRAYS = [b"250 2.0.0 stray\r\n", b"554 5.6.0 filtered\r\n", b"354 go on\r\n", b"noise\r\n"]


def sent_beside(stray: bytes, play: Start) -> tuple[Played, list[Receipt]]:
    """Have the server say this unasked, between its 354 and the content, with another mail to follow."""
    behind = (CONTENT, ".", *TOGETHER[:3], QUEUED + OK + OK + GO)
    played = play(*TOGETHER, *behind, **FAST)

    def permit(positions: Sequence[int]) -> Collection[int]:
        if 0 in positions:
            played.stream._steps.insert(0, stray)
        return positions

    return played, [receipt for _, receipt in played.connection.deliver([make_transaction()] * 2, permit)]


@pytest.mark.parametrize("stray", STRAYS)
def test_a_reply_that_comes_right_before_the_content_is_found_out_by_what_follows(
    play: Start, stray: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NF-REL-03."""
    monkeypatch.setattr("smtp_transport.connection.conversation._MOMENT", 60.0)
    played, given = sent_beside(stray, play)
    assert facts(given[0]) == IN_DOUBT, "neither accepted nor refused: the reply was none to this mail"
    assert [fact for receipt in given[1:] for fact in facts(receipt) if fact[1] >= Phase.BODY] == []
    assert played.stream.written.count(b"\r\n.\r\n") == 1
    assert played.stream.closed
    played.stream._steps.clear()
    played.stream._unmatched = b""


@pytest.mark.parametrize("stray", STRAYS)
def test_a_reply_that_came_while_permission_took_its_time_leaves_no_doubt(
    play: Start, stray: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtp_transport.connection.conversation._MOMENT", 0.0)
    played, (receipt, *_) = sent_beside(stray, play)
    code = 554 if stray.startswith(b"554") else None
    assert facts(receipt) == [("bob", Phase.BODY, code)]
    assert not played.stream.written.endswith(b"\r\n.\r\n")
    assert played.stream.closed
    played.stream._steps.clear()
