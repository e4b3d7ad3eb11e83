"""One mail after the other on one link: what each recipient met, and what is left of the link."""

from collections.abc import Collection, Sequence

import pytest

from smtp_transport.envelope import Content, Envelope, Transaction
from smtp_transport.errors import (
    CancelledError,
    ErrorKind,
    MessageError,
    SmtpError,
)
from smtp_transport.phase import Phase
from tests.protocol.mails import (
    BOB,
    BOTH,
    CAT,
    CONTENT,
    GO,
    LARGE,
    MAIL,
    OK,
    QUEUED,
    WHOLE,
    Start,
    all_of,
    facts,
    receipts,
)
from tests.protocol.script import make_transaction


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
    assert played.stream.writes - before == 2, "envelope; content and dot"


@pytest.mark.parametrize("fields", [{"offers": ()}, {"offers": ("PIPELINING",), "pipelining": False}])
def test_without_pipelining_nothing_is_said_before_its_turn(play: Start, fields: dict[str, object]) -> None:
    played = play(*WHOLE, **fields)
    before = played.stream.writes
    receipts(played.connection, make_transaction())
    assert played.stream.writes - before == 4


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
    assert played.stream.writes - before == 3 + 1


def test_a_refused_sender_ends_the_group_it_came_in(play: Start) -> None:
    people = [f"p{number}@example.com" for number in range(120)]
    rcpts = [step for person in people[:99] for step in (f"RCPT TO:<{person}>", b"503 no\r\n")]
    played = play(MAIL, b"550 no\r\n", *rcpts, offers=("PIPELINING",))
    (receipt,) = receipts(played.connection, make_transaction(*people))
    assert {fact[1:] for fact in facts(receipt)} == {(Phase.MAIL, 550)}
    assert played.connection.usable


@BOTH
@pytest.mark.parametrize("large", [False, True])
def test_a_mail_that_is_not_permitted_is_never_committed(play: Start, offers: tuple[str, ...], *, large: bool) -> None:
    text = LARGE if large else CONTENT
    data = text.replace("\n", "\r\n").encode() + b"\r\n"
    end = (text,) if large else ()
    played = play(*WHOLE[:6], text, *WHOLE[7:], MAIL, OK, BOB, OK, "DATA", GO, *end, offers=offers)
    asked: list[tuple[int, bool]] = []

    def permit(positions: Sequence[int]) -> Collection[int]:
        asked.extend((position, played.stream.written.endswith(data)) for position in positions)
        return [position for position in positions if position == 0]

    given = dict(played.connection.deliver([make_transaction(data=data)] * 3, permit))
    assert asked == [(0, large), (1, large)], "asked before the dot, and before what goes in one write with it"
    assert set(given) == {0, 1}
    assert given[0].accepted
    assert isinstance(given[1].error, CancelledError)
    assert facts(given[1]) == [("bob", Phase.BODY, None)]
    assert played.stream.written.count(b"\r\n.\r\n") == 1
    assert played.stream.closed
    assert not played.connection.usable


def test_a_permit_that_fails_costs_the_link_and_is_heard(play: Start) -> None:
    played = play(*WHOLE[:6])

    def permit(positions: Sequence[int]) -> Collection[int]:
        raise LookupError("the ledger is away")

    with pytest.raises(LookupError):
        list(played.connection.deliver([make_transaction()], permit))
    assert played.stream.closed
    assert not played.connection.usable


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


def test_a_mail_of_just_the_size_that_is_allowed_goes(play: Start) -> None:
    sized = tuple(step.replace(">", "> SIZE=22") if step == MAIL else step for step in WHOLE)
    played = play(*sized, offers=("SIZE 22",))
    (receipt,) = receipts(played.connection, make_transaction())
    assert receipt.accepted


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
