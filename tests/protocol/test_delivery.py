"""One mail after the other on one link: what each recipient met, and what is left of the link."""

import pickle
from collections.abc import Callable, Collection, Sequence

import pytest

from smtp_transport.connection import Connection
from smtp_transport.envelope import Content, Envelope, Transaction
from smtp_transport.errors import (
    CancelledError,
    ErrorKind,
    MessageError,
    ProtocolError,
    SmtpConnectionError,
    SmtpError,
)
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Data, Noop, Vrfy
from smtp_transport.receipt import Receipt
from tests.protocol.script import Fault, Played, Step, make_transaction

MAIL, BOB, CAT = "MAIL FROM:<ann@example.com>", "RCPT TO:<bob@example.com>", "RCPT TO:<cat@example.com>"
CONTENT = "Subject: hi\n\nhello"
OK = b"250 2.1.0 ok\r\n"
GO = b"354 go\r\n"
QUEUED = b"250 2.0.0 queued as 4XyZ12\r\n"
WHOLE: tuple[Step, ...] = (MAIL, OK, BOB, OK, "DATA", GO, CONTENT, ".", QUEUED)
BOTH = pytest.mark.parametrize("offers", [(), ("PIPELINING",)], ids=["lockstep", "pipelined"])
Start = Callable[..., Played]


def all_of(positions: Sequence[int]) -> Collection[int]:
    return positions


def receipts(connection: Connection, *transactions: Transaction) -> list[Receipt]:
    """Deliver, and check what holds for every receipt."""
    given = list(connection.deliver(transactions, all_of))
    assert [position for position, _ in given] == list(range(len(given)))
    for _, receipt in given:
        assert receipt.duration >= 0
        if receipt.error:
            assert receipt.error.phase is not None
            assert "example.com" not in str(receipt.error)
            assert str(pickle.loads(pickle.dumps(receipt.error))) == str(receipt.error)  # noqa: S301 - our own bytes
    return [receipt for _, receipt in given]


def facts(receipt: Receipt) -> list[tuple[str, Phase, int | None]]:
    return [(r.address.partition("@")[0], r.phase, r.reply.code if r.reply else None) for r in receipt.recipients]


@BOTH
def test_an_accepted_mail_is_accepted_for_everyone(play: Start, offers: tuple[str, ...]) -> None:
    """F-SEND-06."""
    played = play(MAIL, OK, BOB, OK, CAT, b"251 will forward\r\n", "DATA", GO, CONTENT, ".", QUEUED, offers=offers)
    (receipt,) = receipts(played.connection, make_transaction("bob@example.com", "cat@example.com"))
    assert receipt.accepted == ("bob@example.com", "cat@example.com")
    assert receipt.server_id == "4XyZ12"
    assert receipt.error is None
    assert played.connection.usable
    assert played.connection.delivered == 1


def test_pipelining_costs_one_write_before_the_content(play: Start) -> None:
    played = play(*WHOLE, offers=("PIPELINING",))
    before = played.stream.writes
    receipts(played.connection, make_transaction())
    assert played.stream.writes - before == 3, "envelope, content, dot"


@pytest.mark.parametrize("fields", [{"offers": ()}, {"offers": ("PIPELINING",), "pipelining": False}])
def test_without_pipelining_nothing_is_said_before_its_turn(play: Start, fields: dict[str, object]) -> None:
    played = play(*WHOLE, **fields)
    before = played.stream.writes
    receipts(played.connection, make_transaction())
    assert played.stream.writes - before == 5


@BOTH
def test_a_refused_recipient_does_not_stop_the_others(play: Start, offers: tuple[str, ...]) -> None:
    """F-SEND-07."""
    played = play(
        *(MAIL, OK, BOB, b"550 5.1.1 who?\r\n", CAT, OK, "RCPT TO:<dan@example.com>", b"451 4.2.0 later\r\n"),
        *("DATA", GO, CONTENT, ".", QUEUED),
        offers=offers,
    )
    people = ("bob@example.com", "cat@example.com", "dan@example.com")
    (receipt,) = receipts(played.connection, make_transaction(*people))
    assert facts(receipt) == [("bob", Phase.RCPT, 550), ("cat", Phase.DOT, 250), ("dan", Phase.RCPT, 451)]
    assert receipt.accepted == ("cat@example.com",)
    assert receipt.recipients[0].reply.enhanced == "5.1.1"
    assert receipt.error is None


@BOTH
def test_a_link_survives_refusals_and_resets_only_where_needed(play: Start, offers: tuple[str, ...]) -> None:
    refused_sender = (MAIL, b"550 5.7.1 not you\r\n")
    if offers:
        refused_sender += (BOB, b"503 need MAIL\r\n", "DATA", b"503 need RCPT\r\n")
    refused_everyone = (MAIL, OK, BOB, b"550 5.1.1 who?\r\n")
    if offers:
        refused_everyone += ("DATA", b"554 no valid recipients\r\n")
    played = play(
        *refused_sender,
        *refused_everyone,
        *("RSET", OK, MAIL, OK, BOB, OK, "DATA", b"452 4.3.1 full\r\n"),
        *("RSET", OK, MAIL, OK, BOB, OK, "DATA", GO, CONTENT, ".", b"554 5.7.1 spam\r\n"),
        *WHOLE,
        offers=offers,
    )
    given = receipts(played.connection, *[make_transaction()] * 5)
    assert [facts(receipt)[0][1:] for receipt in given] == [
        *((Phase.MAIL, 550), (Phase.RCPT, 550), (Phase.DATA, 452), (Phase.DOT, 554), (Phase.DOT, 250)),
    ]
    assert not any(receipt.error for receipt in given)
    assert played.connection.usable


def test_content_asked_for_after_all_were_refused_gets_a_lone_dot(play: Start) -> None:
    asked: list[Sequence[int]] = []

    def permit(positions: Sequence[int]) -> Collection[int]:
        asked.append(positions)
        return positions

    played = play(
        *(MAIL, OK, BOB, b"550 5.1.1 who?\r\n", CAT, b"450 later\r\n", "DATA", GO, ".", b"554 nobody\r\n"),
        *WHOLE,
        offers=("PIPELINING",),
    )
    mails = (make_transaction("bob@example.com", "cat@example.com"), make_transaction())
    (_, first), (_, second) = played.connection.deliver(mails, permit)
    assert facts(first) == [("bob", Phase.RCPT, 550), ("cat", Phase.RCPT, 450)]
    assert first.error is None
    assert second.accepted
    assert asked == [(1,)], "a lone dot commits nothing"


def test_a_link_that_breaks_at_the_lone_dot_takes_nothing_from_the_mail(play: Start) -> None:
    played = play(MAIL, OK, BOB, b"550 5.1.1 who?\r\n", "DATA", GO, ".", offers=("PIPELINING",))
    (receipt,) = receipts(played.connection, make_transaction(), make_transaction())
    assert facts(receipt) == [("bob", Phase.RCPT, 550)]
    assert receipt.error is None
    assert not played.connection.usable


def test_many_recipients_go_in_groups_so_that_no_one_waits_for_ever(play: Start) -> None:
    people = [f"p{number}@example.com" for number in range(250)]
    rcpts = [step for person in people for step in (f"RCPT TO:<{person}>", OK)]
    played = play(MAIL, OK, *rcpts, "DATA", GO, CONTENT, ".", QUEUED, offers=("PIPELINING",))
    before = played.stream.writes
    (receipt,) = receipts(played.connection, make_transaction(*people))
    assert len(receipt.accepted) == 250
    assert played.stream.writes - before == 3 + 2


def test_a_refused_sender_ends_the_group_it_came_in(play: Start) -> None:
    people = [f"p{number}@example.com" for number in range(120)]
    rcpts = [step for person in people[:99] for step in (f"RCPT TO:<{person}>", b"503 no\r\n")]
    played = play(MAIL, b"550 no\r\n", *rcpts, offers=("PIPELINING",))
    (receipt,) = receipts(played.connection, make_transaction(*people))
    assert {fact[1:] for fact in facts(receipt)} == {(Phase.MAIL, 550)}
    assert played.connection.usable


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
    played = play(*WHOLE[:7], Fault.DEAF, Fault.EOF, offers=offers)
    (receipt,) = receipts(played.connection, make_transaction())
    assert facts(receipt) == [("bob", Phase.DOT, None)]
    played.stream._steps.clear()


@BOTH
def test_a_mail_that_is_not_permitted_is_never_committed(play: Start, offers: tuple[str, ...]) -> None:
    played = play(*WHOLE, MAIL, OK, BOB, OK, "DATA", GO, CONTENT, offers=offers)
    asked: list[tuple[int, bool]] = []

    def permit(positions: Sequence[int]) -> Collection[int]:
        asked.extend((position, played.stream.written.endswith(b"hello\r\n")) for position in positions)
        return [position for position in positions if position == 0]

    given = dict(played.connection.deliver([make_transaction()] * 3, permit))
    assert asked == [(0, True), (1, True)], "asked with the content written, and the dot not"
    assert set(given) == {0, 1}
    assert given[0].accepted
    assert isinstance(given[1].error, CancelledError)
    assert facts(given[1]) == [("bob", Phase.BODY, None)]
    assert played.stream.written.count(b"\r\n.\r\n") == 1
    assert played.stream.closed
    assert not played.connection.usable


def test_a_permit_that_fails_costs_the_link_and_is_heard(play: Start) -> None:
    played = play(*WHOLE[:7])

    def permit(positions: Sequence[int]) -> Collection[int]:
        raise LookupError("the ledger is away")

    with pytest.raises(LookupError):
        list(played.connection.deliver([make_transaction()], permit))
    assert played.stream.closed
    assert not played.connection.usable


def test_who_stops_listening_between_mails_leaves_a_usable_link(play: Start) -> None:
    played = play(*WHOLE, *WHOLE)
    delivery = played.connection.deliver([make_transaction()] * 3, all_of)
    assert next(delivery)[1].accepted
    delivery.close()
    assert played.connection.usable
    assert receipts(played.connection, make_transaction())[0].accepted


def unsendable(**fields: object) -> Transaction:
    envelope = Envelope(str(fields.get("sender", "ann@example.com")), fields.get("to", ("bob@example.com",)))
    return Transaction(envelope, lambda eight_bit: fields.get("content", Content(b"x\r\n")))


def explode(secret: str) -> Content:
    raise ValueError(secret)


@BOTH
@pytest.mark.parametrize(
    ("transaction", "kind"),
    [
        (unsendable(content=Content(b"x" * 200)), ErrorKind.MESSAGE_TOO_LARGE),
        (unsendable(to=("jörg@example.com",)), ErrorKind.CAPABILITY_MISMATCH),
        (unsendable(content=Content("Subject: ü\r\n".encode(), utf8_headers=True)), ErrorKind.CAPABILITY_MISMATCH),
        (unsendable(content=Content(b"\xff\r\n", eight_bit=True)), ErrorKind.CAPABILITY_MISMATCH),
        (unsendable(to=()), ErrorKind.INVALID_RECIPIENT_ADDRESS),
        (unsendable(to=("bob@example.com> NOTIFY=NEVER",)), ErrorKind.INVALID_RECIPIENT_ADDRESS),
        (unsendable(to=("bob@example.com", "a\r\nRSET")), ErrorKind.INVALID_RECIPIENT_ADDRESS),
        (unsendable(sender="ann@example.com\nRSET"), ErrorKind.INVALID_FROM_ADDRESS),
        (
            Transaction(Envelope("", ("bob@example.com",)), lambda _: explode("bob@example.com")),
            ErrorKind.ENCODING_FAILED,
        ),
    ],
)
def test_a_mail_that_cannot_be_sent_to_this_server_touches_neither_wire_nor_link(
    play: Start, offers: tuple[str, ...], transaction: Transaction, kind: ErrorKind
) -> None:
    sized = tuple(step.replace(">", "> SIZE=22") if step == MAIL else step for step in WHOLE)
    played = play(*sized, offers=(*offers, "SIZE 100"))
    bad, good = receipts(played.connection, transaction, make_transaction())
    assert isinstance(bad.error, MessageError)
    assert (bad.error.kind, bad.error.phase) == (kind, Phase.MAIL)
    assert bad.error.__cause__ is None or isinstance(bad.error.__cause__, SmtpError)
    assert all(fact[1:] == (Phase.MAIL, None) for fact in facts(bad))
    assert good.accepted
    assert played.connection.delivered == 1


def test_ones_own_limit_holds_where_the_server_names_none(play: Start) -> None:
    played = play(max_message_size=10)
    (receipt,) = receipts(played.connection, make_transaction())
    assert receipt.error
    assert receipt.error.kind is ErrorKind.MESSAGE_TOO_LARGE


def test_extensions_are_used_where_offered_and_needed(play: Start) -> None:
    content = Content("Subject: ü\r\n\r\nü\r\n".encode(), eight_bit=True, utf8_headers=True)
    rendered: list[bool] = []

    def render(eight_bit: bool) -> Content:  # noqa: FBT001 - the form of Transaction.render
        rendered.append(eight_bit)
        return content

    played = play(
        *("MAIL FROM:<ann@example.com> SIZE=19 BODY=8BITMIME SMTPUTF8", OK, "RCPT TO:<jörg@bücher.example>", OK),
        *("DATA", GO, "Subject: ü\n\nü", ".", QUEUED),
        offers=("SIZE", "8BITMIME", "SMTPUTF8"),
    )
    mail = Transaction(Envelope("ann@example.com", ("jörg@bücher.example",)), render)
    (_, receipt), *_ = played.connection.deliver([mail], all_of)
    assert receipt.accepted
    assert rendered == [True]


def test_the_content_is_repaired_and_dot_stuffed(play: Start) -> None:
    played = play(*WHOLE[:6], "a\n..\n..b\nQUIT", ".", QUEUED)
    (receipt,) = receipts(played.connection, make_transaction(data=b"a\n.\n.b\rQUIT"))
    assert receipt.accepted


def test_big_content_is_written_piece_by_piece(play: Start) -> None:
    data = b"0123456789abcd\r\n" * 65_536
    text = "0123456789abcd\n" * 65_535 + "0123456789abcd"
    played = play(*WHOLE[:6], text, ".", QUEUED)
    before = played.stream.writes
    (receipt,) = receipts(played.connection, make_transaction(data=data))
    assert receipt.accepted
    assert played.stream.writes - before == 3 + 4 + 1


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
@BOTH
def test_replies_may_come_in_any_pieces(play: Start, offers: tuple[str, ...], cut: int) -> None:
    played = play(*WHOLE, *WHOLE, offers=offers, cut=cut)
    assert all(receipt.accepted for receipt in receipts(played.connection, make_transaction(), make_transaction()))


def test_a_reply_too_many_is_not_taken_for_the_next_ones(play: Start) -> None:
    played = play(*WHOLE[:-1], QUEUED + b"250 2.0.0 queued as 5AbC34\r\n", offers=("PIPELINING",))
    (receipt,) = receipts(played.connection, make_transaction(), make_transaction())
    assert receipt.accepted, "the first reply is the answer"
    assert not played.connection.usable


def test_noop_tells_whether_the_server_is_there(play: Start) -> None:
    played = play("NOOP", b"250-still\r\n250 here\r\n", "NOOP", b"421 4.3.2 bye\r\n")
    assert played.connection.noop()
    assert not played.connection.noop()
    assert not played.connection.usable
    assert not played.connection.noop(), "and nothing more is said"


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
