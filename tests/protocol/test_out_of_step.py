"""What a server says unasked: it never counts as the reply to something else."""

from collections.abc import Collection, Sequence

import pytest

from smtp_transport.envelope import StreamedContent, Transaction
from smtp_transport.errors import ErrorKind, ProtocolError
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt
from tests.protocol.mails import BOB, BOTH, CAT, GO, LARGE, MAIL, OK, WHOLE, Start, all_of, facts, receipts
from tests.protocol.script import Fault, Step, make_transaction

BIG = b"x" * 70_000
UNTIL_GO: tuple[Step, ...] = WHOLE[:5]
UNTIL_DOT: tuple[tuple[Step, ...], ...] = (WHOLE[:6], (*WHOLE[:6], LARGE))
"""What goes in one write with the dot is not begun by then; what is larger has been written."""
VIOLATIONS = [b"250 2.0.0 stray\r\n", b"354 go on\r\n", b"noise\r\n"]
REFUSALS = [(b"552 5.3.4 too big\r\n", 552), (b"451 4.3.1 full\r\n", 451), (b"421 4.3.2 bye\r\n", 421)]


def check_out_of_step(receipt: Receipt, phase: Phase) -> None:
    assert isinstance(receipt.error, ProtocolError)
    assert receipt.error.phase is phase
    assert receipt.error.code is None, "not the server's verdict on the mail"
    assert {fact[1:] for fact in facts(receipt)} == {(phase, None)}


def mails_for(steps: tuple[Step, ...]) -> list[Transaction]:
    """Two mails of the size that such a script has."""
    return [make_transaction(data=LARGE.replace("\n", "\r\n").encode()) if LARGE in steps else make_transaction()] * 2


@BOTH
@pytest.mark.parametrize("stray", VIOLATIONS)
@pytest.mark.parametrize("steps", UNTIL_DOT, ids=["small", "large"])
def test_a_reply_that_came_before_the_dot_is_not_the_reply_to_the_dot(
    play: Start, offers: tuple[str, ...], stray: bytes, steps: tuple[Step, ...]
) -> None:
    """NF-REL-03."""
    played = play(*steps, offers=offers)

    def permit(positions: Sequence[int]) -> Collection[int]:
        played.stream._steps.append(stray)
        return positions

    ((_, receipt),) = played.connection.deliver(mails_for(steps), permit)
    check_out_of_step(receipt, Phase.BODY)
    assert not played.stream.written.endswith(b"\r\n.\r\n")
    assert played.stream.closed


@BOTH
@pytest.mark.parametrize(("refusal", "code"), REFUSALS)
@pytest.mark.parametrize("steps", UNTIL_DOT, ids=["small", "large"])
def test_a_refusal_that_came_before_the_dot_is_one_of_the_content(
    play: Start, offers: tuple[str, ...], refusal: bytes, code: int, steps: tuple[Step, ...]
) -> None:
    played = play(*steps, offers=offers)

    def permit(positions: Sequence[int]) -> Collection[int]:
        played.stream._steps.append(refusal)
        return positions

    ((_, receipt),) = played.connection.deliver(mails_for(steps), permit)
    assert facts(receipt) == [("bob", Phase.BODY, code)]
    assert not played.stream.written.endswith(b"\r\n.\r\n")
    assert played.stream.closed


@BOTH
@pytest.mark.parametrize(("refusal", "code"), REFUSALS)
@pytest.mark.parametrize("half", [0, 2])
def test_a_refusal_together_with_the_354_is_honoured_and_nobody_is_asked_to_commit(
    play: Start, offers: tuple[str, ...], refusal: bytes, code: int, half: int
) -> None:
    tail: tuple[Step, ...] = (GO + refusal[:half], refusal[half:]) if half else (GO + refusal,)
    played = play(*UNTIL_GO, *tail, offers=offers)
    ((_, receipt),) = played.connection.deliver([make_transaction()], _never)
    assert facts(receipt) == [("bob", Phase.BODY, code)]
    assert played.stream.written.endswith(b"DATA\r\n")
    assert played.stream.closed


@BOTH
@pytest.mark.parametrize("stray", VIOLATIONS)
def test_a_stray_reply_together_with_the_354_commits_nothing(
    play: Start, offers: tuple[str, ...], stray: bytes
) -> None:
    played = play(*UNTIL_GO, GO + stray, offers=offers)
    ((_, receipt),) = played.connection.deliver([make_transaction()], _never)
    check_out_of_step(receipt, Phase.BODY)
    assert played.stream.closed


@BOTH
def test_half_a_reply_together_with_the_354_leaves_no_doubt(play: Start, offers: tuple[str, ...]) -> None:
    played = play(*UNTIL_GO, GO + b"55", offers=offers)
    ((_, receipt),) = played.connection.deliver([make_transaction()], _never)
    assert facts(receipt) == [("bob", Phase.BODY, None)]
    assert receipt.error
    assert receipt.error.kind is ErrorKind.READ_TIMEOUT


def test_a_refusal_between_two_pieces_of_the_content_stops_the_rest(play: Start) -> None:
    made: list[int] = []

    def chunks() -> list[bytes]:
        made.append(1)
        return [BIG[:-2] + b"\r\n"] * 3

    mail = make_transaction()
    streamed = Transaction(mail.envelope, lambda _: StreamedContent(chunks, 3 * len(BIG)))
    played = play(*UNTIL_GO, GO, BIG[:-2].decode(), b"552 5.3.4 too big\r\n")
    ((_, receipt),) = played.connection.deliver([streamed], _never)
    assert facts(receipt) == [("bob", Phase.BODY, 552)]
    assert made == [1]


@BOTH
@pytest.mark.parametrize("before", [WHOLE, (MAIL, OK, BOB, b"450 later\r\n")], ids=["after a mail", "before RSET"])
@pytest.mark.parametrize("stray", [*VIOLATIONS, b"554 5.6.0 filtered\r\n", b"25"])
def test_an_unasked_reply_between_mails_is_not_the_next_mails(
    play: Start, offers: tuple[str, ...], before: tuple[Step, ...], stray: bytes
) -> None:
    if offers and before is not WHOLE:
        before += ("DATA", b"503 no\r\n")
    played = play(*before, offers=offers)
    receipts(played.connection, make_transaction())
    said = played.stream.written
    played.stream._steps.append(stray)
    (receipt,) = receipts(played.connection, *[make_transaction()] * 2)
    check_out_of_step(receipt, Phase.MAIL)
    assert played.stream.written == said, "nothing more is said on such a link"
    assert played.stream.closed


@BOTH
@pytest.mark.parametrize(
    ("end", "kind"),
    [(Fault.EOF, ErrorKind.CONNECTION_RESET), (b"421 4.3.2 idle too long\r\n", ErrorKind.SERVER_SHUTDOWN)],
)
def test_a_link_that_ended_while_it_was_idle_is_found_before_anything_is_said(
    play: Start, offers: tuple[str, ...], end: Step, kind: ErrorKind
) -> None:
    """F-CONN-05."""
    played = play(*WHOLE, offers=offers)
    receipts(played.connection, make_transaction())
    said = played.stream.written
    played.stream._steps.append(end)
    (receipt,) = receipts(played.connection, make_transaction())
    assert receipt.error
    assert (receipt.error.kind, receipt.error.phase) == (kind, Phase.MAIL)
    assert played.stream.written == said
    played.stream._steps.clear()


def test_an_unasked_reply_is_no_sign_of_life(play: Start) -> None:
    played = play()
    played.stream._steps.append(b"250 stray\r\n")
    assert not played.connection.noop()
    assert b"NOOP" not in played.stream.written
    assert not played.connection.usable


@BOTH
def test_what_was_noted_in_a_conversation_out_of_step_is_forgotten(play: Start, offers: tuple[str, ...]) -> None:
    played = play(MAIL, OK, BOB, b"550 5.1.1 who?\r\n", CAT, OK, "DATA", b"250 ok\r\n", offers=offers)
    (receipt,) = receipts(played.connection, make_transaction("bob@example.com", "cat@example.com"))
    check_out_of_step(receipt, Phase.DATA)


@BOTH
def test_a_reply_too_many_behind_refusals_takes_them_back(play: Start, offers: tuple[str, ...]) -> None:
    """Each reply stands one place too early: what looks like the refusal of DATA is that of the second recipient."""
    shifted = (MAIL, b"250 stray\r\n", BOB, OK, CAT, OK, "DATA", b"550 5.1.1 who?\r\n" + GO)
    played = play(*shifted, offers=offers)
    (receipt,) = receipts(played.connection, make_transaction("bob@example.com", "cat@example.com"))
    check_out_of_step(receipt, Phase.DATA)
    assert played.stream.closed


@BOTH
@pytest.mark.parametrize("end", [b"421 4.3.2 bye\r\n", Fault.EOF])
def test_a_server_that_leaves_behind_its_refusals_has_still_refused(
    play: Start, offers: tuple[str, ...], end: Step
) -> None:
    played = play(MAIL, OK, BOB, OK, "DATA", b"554 5.7.1 no\r\n", end, offers=offers)
    (receipt,) = receipts(played.connection, make_transaction())
    assert facts(receipt) == [("bob", Phase.DATA, 554)]
    assert receipt.error is None
    assert not played.connection.usable
    played.stream._steps.clear()


def test_one_look_before_the_mail_and_one_before_the_dot_is_all_a_small_mail_costs(
    play: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(*WHOLE, offers=("PIPELINING",))
    looks: list[int] = []
    look = played.stream.read_now

    def counted() -> bytes:
        looks.append(len(played.stream.written))
        return look()

    monkeypatch.setattr(played.stream, "read_now", counted)
    list(played.connection.deliver([make_transaction()], all_of))
    assert len(looks) == 2


def _never(positions: Sequence[int]) -> Collection[int]:
    raise AssertionError(f"asked whether {positions} may be committed")
