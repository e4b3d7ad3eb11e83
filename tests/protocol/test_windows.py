"""Several mails in flight: MAIL, RCPT and BDAT LAST of a whole window in one write."""

import time
from collections.abc import Collection, Sequence

import pytest

from smtp_transport.envelope import Content, Envelope, StreamedContent, Transaction
from smtp_transport.errors import CancelledError, ErrorKind
from smtp_transport.observation import Observer
from smtp_transport.options import DeliveryOptions
from smtp_transport.phase import Phase
from smtp_transport.wire import WireMode
from tests.protocol.mails import BOB, CAT, CONTENT, GO, MAIL, OK, QUEUED, Start, all_of, facts, receipts
from tests.protocol.script import Exactly, Fault, Step, make_transaction

OFFERS = ("PIPELINING", "CHUNKING")
FAST = {"offers": OFFERS, "mode": "chunked", "knows_chunks": True}
CHUNK: tuple[Step, ...] = ("BDAT 22 LAST", CONTENT)
ONE: tuple[Step, ...] = (MAIL, OK, BOB, OK, *CHUNK, QUEUED)
NEXT: tuple[Step, ...] = ("RSET", OK, *ONE)
OCTET: tuple[Step, ...] = (Exactly(b"BDAT 1\r\nS"), b"250 2.0.0 go on\r\n")
FIRST: tuple[Step, ...] = (MAIL, OK, BOB, OK, *OCTET, "BDAT 21 LAST", CONTENT[1:], QUEUED)
BINARY = DeliveryOptions(binary=True)
REFUSED_RCPT: tuple[Step, ...] = (MAIL, OK, BOB, b"550 5.1.1 who?\r\n", *CHUNK, b"503 5.5.1 no RCPT\r\n")
IN_DOUBT = [("bob", Phase.DOT, None)]
ACCEPTED = [("bob", Phase.DOT, 250)]


def test_a_window_is_one_write_and_asks_once(play: Start) -> None:
    asked: list[list[int]] = []

    def permit(positions: Sequence[int]) -> Collection[int]:
        asked.append(list(positions))
        return positions

    played = play(*ONE, *NEXT, *NEXT, *ONE, *NEXT, **FAST, window_mails=3)
    before = played.stream.writes
    given = list(played.connection.deliver([make_transaction()] * 5, permit))
    assert [position for position, _ in given] == [0, 1, 2, 3, 4]
    assert all(receipt.accepted for _, receipt in given)
    assert asked == [[0, 1, 2], [3, 4]]
    assert played.stream.writes - before == 2
    assert played.connection.delivered == 5
    assert played.connection.usable


@pytest.mark.parametrize("heard", [[], [lambda _: None]], ids=["unobserved", "observed"])
@pytest.mark.parametrize("cut", [1, 65_536])
def test_each_reply_to_a_window_may_take_as_long_as_the_final_one(play: Start, heard: list[Observer], cut: int) -> None:
    """Replies to what stands before a content are held back by servers that answer when they have read it all."""
    played = play(*ONE, *NEXT, **FAST, cut=cut, observers=heard, io_timeout=1, final_timeout=1000)
    reads, now = len(played.stream.read_deadlines), time.monotonic()
    receipts(played.connection, make_transaction(), make_transaction())
    assert min(played.stream.read_deadlines[reads:]) > now + 900


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 100])
def test_replies_to_a_window_may_come_in_any_pieces(play: Start, cut: int) -> None:
    played = play(*ONE, *NEXT, *NEXT, **FAST, cut=cut)
    assert all(receipt.accepted for receipt in receipts(played.connection, *[make_transaction()] * 3))


def test_a_window_is_bounded_in_octets(play: Start) -> None:
    played = play(*ONE, *NEXT, *ONE, **FAST, window_octets=50)
    before = played.stream.writes
    receipts(played.connection, *[make_transaction()] * 3)
    assert played.stream.writes - before == 2


@pytest.mark.parametrize(
    "content",
    [Content(b"0123456789abcd\r\n" * 2), StreamedContent(lambda: [b"0123456789abcd\r\n" * 2], 32)],
    ids=["larger than a window", "made while it is sent"],
)
def test_what_fits_in_no_window_is_announced_first(play: Start, content: Content) -> None:
    big = Transaction(Envelope("ann@example.com", ("bob@example.com",)), lambda _: content)
    played = play(
        *ONE,
        *(MAIL, OK, BOB, OK, "DATA", GO, "0123456789abcd\n0123456789abcd", ".", QUEUED),
        *ONE,
        **FAST,
        window_octets=31,
    )
    assert all(receipt.accepted for receipt in receipts(played.connection, make_transaction(), big, make_transaction()))


def test_refusals_in_a_window_stay_with_their_mail(play: Start) -> None:
    refused_sender = ("RSET", OK, MAIL, b"553 5.7.1 not you\r\n", BOB, b"503 no\r\n", *CHUNK, b"503 no\r\n")
    refused_content = ("RSET", OK, MAIL, OK, BOB, OK, *CHUNK, b"554 5.7.1 spam\r\n")
    played = play(*ONE, "RSET", OK, *REFUSED_RCPT, *NEXT, *refused_sender, *refused_content, *NEXT, **FAST)
    given = receipts(played.connection, *[make_transaction()] * 6)
    assert [facts(receipt)[0][1:] for receipt in given] == [
        (Phase.DOT, 250),
        (Phase.RCPT, 550),
        (Phase.DOT, 250),
        (Phase.MAIL, 553),
        (Phase.DOT, 554),
        (Phase.DOT, 250),
    ]
    assert not any(receipt.error for receipt in given)
    assert played.connection.usable


def test_a_window_behind_a_refusal_begins_with_rset(play: Start) -> None:
    played = play(*REFUSED_RCPT, *NEXT, **FAST, window_mails=1)
    _, second = receipts(played.connection, *[make_transaction()] * 2)
    assert facts(second) == ACCEPTED


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (Fault.EOF, ErrorKind.CONNECTION_RESET),
        (Fault.RESET, ErrorKind.CONNECTION_RESET),
        (Fault.STALL, ErrorKind.READ_TIMEOUT),
        (b"421 4.3.2 bye\r\n", ErrorKind.SERVER_SHUTDOWN),
    ],
)
@pytest.mark.parametrize("heard", [(), (OK,), (OK, OK), (OK, OK, OK)])
def test_a_link_that_ends_in_a_window_leaves_in_doubt_what_was_written(
    play: Start, heard: tuple[bytes, ...], broken: Step, kind: ErrorKind
) -> None:
    """NF-REL-04."""
    played = play(*ONE, "RSET", *([b"".join(heard)] if heard else []), broken, **FAST)
    first, second, third = receipts(played.connection, *[make_transaction()] * 3)
    assert facts(first) == ACCEPTED
    assert first.error is None
    assert facts(third) == IN_DOUBT
    assert third.error
    assert (third.error.kind, third.error.phase) == (kind, Phase.DOT)
    if kind is ErrorKind.SERVER_SHUTDOWN and len(heard) == 1:
        assert facts(second) == [("bob", Phase.MAIL, 421)]
    elif kind is ErrorKind.SERVER_SHUTDOWN and len(heard) == 2:
        assert facts(second) == [("bob", Phase.RCPT, 421)]
    elif kind is ErrorKind.SERVER_SHUTDOWN and len(heard) == 3:
        assert facts(second) == [("bob", Phase.DOT, 421)]
    else:
        assert facts(second) == IN_DOUBT
        assert second.error
        assert second.error.phase is Phase.DOT
    assert played.stream.closed
    assert played.stream.written.count(b"BDAT") == 3
    played.stream._steps.clear()
    played.stream._unmatched = b""


@pytest.mark.parametrize("stray", [b"noise\r\n", b"354 go\r\n", b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"])
def test_out_of_step_nothing_that_was_heard_of_a_window_counts(play: Start, stray: bytes) -> None:
    played = play(*ONE, *("RSET", OK, *REFUSED_RCPT[:-1]), stray, **FAST)
    given = receipts(played.connection, *[make_transaction()] * 2)
    assert [facts(receipt) for receipt in given] == [IN_DOUBT] * 2
    assert {receipt.error.kind for receipt in given} <= {ErrorKind.INVALID_RESPONSE, ErrorKind.UNEXPECTED_RESPONSE}
    assert played.stream.closed


def test_one_reply_too_many_takes_back_all_of_its_window(play: Start) -> None:
    """Where it came in between cannot be told, and every verdict behind it belongs to another mail."""
    played = play(*ONE, *NEXT[:-1], b"554 5.7.1 spam\r\n" + QUEUED, **FAST)
    given = receipts(played.connection, *[make_transaction()] * 2)
    assert [facts(receipt) for receipt in given] == [IN_DOUBT] * 2
    assert played.stream.closed


def test_a_refused_rset_in_a_window_makes_it_uncertain(play: Start) -> None:
    played = play(*ONE, "RSET", b"500 what\r\n", *ONE, **FAST)
    given = receipts(played.connection, *[make_transaction()] * 2)
    assert [facts(receipt) for receipt in given] == [IN_DOUBT] * 2
    played.stream._steps.clear()
    played.stream._unmatched = b""


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_one_mail_finds_out_that_a_server_knows_no_bdat_and_none_of_its_lines_is_read_as_a_command(
    play: Start, code: int
) -> None:
    refusal = f"{code} what?\r\n".encode()
    played = play(MAIL, OK, BOB, OK, OCTET[0], refusal, **FAST | {"knows_chunks": False})
    (receipt,) = receipts(played.connection, *[make_transaction()] * 3)
    assert facts(receipt) == [("bob", Phase.DATA, None)]
    assert played.connection.mode is WireMode.STREAMED
    assert not played.connection.footing.knows_chunks


def test_a_server_that_takes_no_content_now_has_not_proven_that_it_takes_chunks(play: Start) -> None:
    refused = (MAIL, OK, BOB, OK, OCTET[0], b"452 4.3.1 full\r\n")
    played = play(*refused, "RSET", OK, *FIRST, *ONE, **FAST | {"knows_chunks": False})
    first, second, third = receipts(played.connection, *[make_transaction()] * 3)
    assert facts(first) == [("bob", Phase.DATA, 452)]
    assert facts(second) == facts(third) == ACCEPTED


@pytest.mark.parametrize("end", [Fault.EOF, Fault.STALL, b"421 4.3.2 bye\r\n", b"354 go on\r\n", b"what?\r\n"])
def test_what_ends_the_link_behind_the_first_octet_leaves_nothing_in_doubt(play: Start, end: Step) -> None:
    played = play(MAIL, OK, BOB, OK, OCTET[0], end, **FAST | {"knows_chunks": False})
    (receipt,) = receipts(played.connection, *[make_transaction()] * 2)
    assert receipt.recipients[0].phase is Phase.DATA
    assert receipt.error
    played.stream._steps.clear()


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_server_that_does_not_know_bdat_bounces_no_mail(play: Start, code: int) -> None:
    played = play(MAIL, OK, BOB, OK, *CHUNK, f"{code} 5.5.2 what?\r\n".encode(), **FAST)
    (receipt,) = receipts(played.connection, make_transaction())
    assert facts(receipt) == [("bob", Phase.DATA, None)]
    assert receipt.error
    assert receipt.error.kind is ErrorKind.UNEXPECTED_RESPONSE
    assert receipt.error.code is None
    assert played.connection.mode is WireMode.STREAMED


def test_a_server_that_knew_bdat_and_does_not_any_more_is_asked_again(play: Start) -> None:
    before = play(*ONE, **FAST)
    receipts(before.connection, make_transaction())
    broken = play(MAIL, OK, BOB, OK, *CHUNK, b"500 5.5.2 what?\r\n", **FAST)
    broken.connection.footing, broken.connection._talk.takes_chunks = before.connection.footing, False
    broken.connection.footing.knows_chunks = True
    receipts(broken.connection, make_transaction())
    assert not broken.connection.footing.knows_chunks


def test_a_write_that_fails_leaves_no_doubt_about_what_was_not_begun(play: Start) -> None:
    data = b"0123456789abcd\r\n" * 12_000
    text = "0123456789abcd\n" * 11_999 + "0123456789abcd"
    mails = [make_transaction(data=data)] * 3
    played = play(MAIL, BOB, f"BDAT {len(data)} LAST", text, Fault.DEAF, Fault.EOF, **FAST)
    given = receipts(played.connection, *mails)
    assert [facts(receipt) for receipt in given] == [IN_DOUBT, IN_DOUBT, [("bob", Phase.MAIL, None)]]
    assert all(receipt.error for receipt in given)
    assert played.stream.closed
    played.stream._steps.clear()


def test_a_mail_without_permission_is_left_out_of_its_window(play: Start) -> None:
    played = play(*ONE, *NEXT, **FAST)
    given = list(played.connection.deliver([make_transaction()] * 3, lambda asked: [p for p in asked if p != 1]))
    assert [position for position, _ in given] == [0, 1, 2]
    assert isinstance(given[1][1].error, CancelledError)
    assert facts(given[1][1]) == [("bob", Phase.MAIL, None)]
    assert played.connection.usable, "nothing had been said"


def test_an_unfit_mail_takes_no_place_in_a_window(play: Start) -> None:
    played = play(*ONE, *NEXT, **FAST)
    bad = make_transaction("jörg@example.com")
    first, second, third = receipts(played.connection, make_transaction(), bad, make_transaction())
    assert (facts(first), facts(third)) == (ACCEPTED, ACCEPTED)
    assert second.error
    assert second.error.kind is ErrorKind.CAPABILITY_MISMATCH


@pytest.mark.parametrize("when", ["before", "while asked"])
@pytest.mark.parametrize("word", [Fault.EOF, b"421 4.4.2 idle too long\r\n", b"250 stray\r\n"])
def test_a_window_is_not_written_to_a_link_that_has_ended(play: Start, word: Step, when: str) -> None:
    """F-CONN-05."""
    played = play(**FAST)
    said = played.stream.written
    asked: list[int] = []

    def permit(positions: Sequence[int]) -> Collection[int]:
        asked.extend(positions)
        played.stream._steps.append(word)
        return positions

    if when == "before":
        played.stream._steps.append(word)
    given = list(played.connection.deliver([make_transaction()] * 3, permit))
    assert len(given) == (1 if when == "before" else 3)
    assert asked == ([] if when == "before" else [0, 1, 2])
    assert all(facts(receipt) == [("bob", Phase.MAIL, None)] for _, receipt in given)
    assert played.stream.written == said
    assert played.stream.closed
    played.stream._steps.clear()


def test_recipients_of_one_mail_have_each_their_fate_in_a_window(play: Start) -> None:
    both = make_transaction("bob@example.com", "cat@example.com")
    mixed = (MAIL, OK, BOB, b"450 later\r\n", CAT, OK, *CHUNK, QUEUED)
    played = play(*mixed, "RSET", OK, *mixed, **FAST)
    for receipt in receipts(played.connection, both, both):
        assert facts(receipt) == [("bob", Phase.RCPT, 450), ("cat", Phase.DOT, 250)]


def test_binary_content_goes_as_it_is(play: Start) -> None:
    raw = b"Subject: x\r\n\r\n\x00bare\nline\r.\r\n"
    mail = Transaction(Envelope("ann@example.com", ("bob@example.com",)), lambda _: Content(raw), BINARY)
    rest = Exactly(b"BDAT %d LAST\r\n%b" % (len(raw) - 1, raw[1:]))
    for mode in ("chunked", "pipelined"):
        steps = (f"{MAIL} BODY=BINARYMIME", OK, BOB, OK, *OCTET, rest, QUEUED)
        played = play(*steps, offers=(*OFFERS, "BINARYMIME"), mode=mode)
        (receipt,) = receipts(played.connection, mail)
        assert receipt.accepted


def test_one_mail_alone_is_permitted_and_told_like_many(play: Start) -> None:
    played = play(*ONE, **FAST)
    assert [position for position, _ in played.connection.deliver([make_transaction()], all_of)] == [0]


def test_the_first_chunk_of_all_is_announced_before_and_alone(play: Start) -> None:
    asked: list[list[int]] = []

    def permit(positions: Sequence[int]) -> Collection[int]:
        asked.append(list(positions))
        return positions

    played = play(*FIRST, *ONE, *NEXT, **FAST | {"knows_chunks": False})
    before = played.stream.writes
    given = list(played.connection.deliver([make_transaction()] * 3, permit))
    assert all(receipt.accepted for _, receipt in given)
    assert asked == [[0], [1, 2]]
    assert played.stream.writes - before == 5, "envelope, an octet, BDAT, content; a window"


def test_each_link_proves_again_that_it_takes_chunks_and_the_octet_once_for_all_is_enough(play: Start) -> None:
    first = play(*FIRST, *ONE, **FAST | {"knows_chunks": False})
    second = play(*ONE, *ONE, *NEXT, **FAST | {"knows_chunks": False})
    second.connection.footing = first.connection.footing
    assert all(receipt.accepted for receipt in receipts(first.connection, *[make_transaction()] * 2))
    before = second.stream.writes
    assert all(receipt.accepted for receipt in receipts(second.connection, *[make_transaction()] * 3))
    assert second.stream.writes - before == 4, "envelope, BDAT, content; a window"


@pytest.mark.parametrize("content", [b"", b"x", b"xy"])
@pytest.mark.parametrize("mode", ["lockstep", "pipelined", "chunked"])
def test_content_too_small_to_try_out_goes_all_the_same(play: Start, content: bytes, mode: str) -> None:
    mail = Transaction(Envelope("ann@example.com", ("bob@example.com",)), lambda _: Content(content), BINARY)
    octet = (Exactly(b"BDAT 1\r\nx"), OK) if content else ()
    rest = Exactly(b"BDAT %d LAST\r\n%b" % (len(content[1:]), content[1:]))
    steps = (f"{MAIL} BODY=BINARYMIME", OK, BOB, OK, *octet, rest, QUEUED)
    played = play(*steps, offers=(*OFFERS, "BINARYMIME"), mode=mode)
    (receipt,) = receipts(played.connection, mail)
    assert receipt.accepted


def test_a_server_that_refuses_everybody_never_sees_a_chunk(play: Start) -> None:
    refusal = b"530 5.7.0 Must issue a STARTTLS command first\r\n"
    refused = (MAIL, refusal, BOB, refusal)
    played = play(*refused, *refused, **FAST | {"knows_chunks": False})
    given = receipts(played.connection, *[make_transaction()] * 2)
    assert [facts(receipt) for receipt in given] == [[("bob", Phase.MAIL, 530)]] * 2
    assert played.connection.mode is WireMode.CHUNKED
