"""One chunk in several pieces: binary content that is made while it is sent, and content too large for one write."""

from collections.abc import Callable, Iterator

import pytest

from smtp_transport.envelope import Content, Envelope, StreamedContent, Transaction
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.options import DeliveryOptions
from smtp_transport.phase import Phase
from tests.protocol.mails import BOB, MAIL, OK, QUEUED, Start, facts, receipts
from tests.protocol.script import Exactly, Step, make_transaction

OFFERS = ("PIPELINING", "CHUNKING", "BINARYMIME")
PIECES = [b"Sub", b"", b"ject: \x00\r", b"\n\r\n.\r\n", b"\xff"]
DATA = b"".join(PIECES)
BIG = b"Subject: x\r\n\r\n" + b"0123456789abcd\r\n" * 20_000
WRITE = 262_144
"""Octets between two looks at what the server says."""
OPENED: tuple[Step, ...] = (f"{MAIL} BODY=BINARYMIME", OK, BOB, OK, Exactly(b"BDAT 1\r\nS"), OK)
MODES = pytest.mark.parametrize("mode", ["lockstep", "pipelined", "streamed", "chunked"])


def binary(pieces: object, size: int = len(DATA)) -> Transaction:
    content = StreamedContent(pieces if callable(pieces) else lambda: iter(pieces), size)
    envelope = Envelope("ann@example.com", ("bob@example.com",))
    return Transaction(envelope, lambda _: content, DeliveryOptions(binary=True))


def breaking(error: Exception) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield DATA
        raise error

    return pieces


@MODES
def test_pieces_reach_the_server_as_they_are(play: Start, mode: str) -> None:
    rest = Exactly(b"BDAT %d LAST\r\n%b" % (len(DATA) - 1, DATA[1:]))
    played = play(*OPENED, rest, QUEUED, offers=OFFERS, mode=mode)
    (receipt,) = receipts(played.connection, binary(PIECES))
    assert receipt.accepted


@pytest.mark.parametrize(
    ("pieces", "size", "kind"),
    [
        ([DATA], len(DATA) + 1, ErrorKind.ENCODING_FAILED),
        ([DATA, b"more"], len(DATA), ErrorKind.ENCODING_FAILED),
        (breaking(MessageError("the file is gone", ErrorKind.ATTACHMENT_ERROR)), 100, ErrorKind.ATTACHMENT_ERROR),
        (breaking(ValueError("bob@example.com")), 100, ErrorKind.ENCODING_FAILED),
    ],
    ids=["short", "long", "vanished", "foreign"],
)
@MODES
def test_binary_content_that_breaks_off_is_never_committed(
    play: Start, mode: str, pieces: object, size: int, kind: ErrorKind
) -> None:
    played = play(*OPENED, Exactly(b"BDAT %d LAST\r\n" % (size - 1)), offers=OFFERS, mode=mode)
    (receipt,) = receipts(played.connection, binary(pieces, size))
    assert isinstance(receipt.error, MessageError)
    assert (receipt.error.kind, receipt.error.phase) == (kind, Phase.BODY)
    assert facts(receipt) == [("bob", Phase.BODY, None)]
    assert len(played.stream.written.partition(b" LAST\r\n")[2]) < size - 1
    assert played.stream.closed


@pytest.mark.parametrize("reply", [b"552 5.3.4 too big\r\n", b"250 2.0.0 ok\r\n", b"421 4.3.2 bye\r\n", b"what?\r\n"])
def test_what_is_said_to_half_a_chunk_ends_the_link_for_the_rest_would_be_taken_for_content(
    play: Start, reply: bytes
) -> None:
    pieces = [BIG[:100], BIG[100:300_000], BIG[300_000:]]
    written = Exactly(b"BDAT %d LAST\r\n%b" % (len(BIG) - 1, BIG[1 : 100 + WRITE]))
    played = play(*OPENED, written, reply, offers=OFFERS, mode="pipelined")
    (receipt,) = receipts(played.connection, binary(pieces, len(BIG)), make_transaction())
    code = int(reply[:3]) if reply[:1] in b"45" else None
    assert facts(receipt) == [("bob", Phase.BODY, code)]
    assert not receipt.accepted
    assert played.stream.closed
    assert len(played.stream.written) < len(BIG)


@pytest.mark.parametrize(
    ("reply", "phase", "code"),
    [(b"552 5.3.4 too big\r\n", Phase.DOT, 552), (b"250 2.0.0 ok\r\n", Phase.DOT, None)],
)
def test_what_is_said_before_the_last_octet_accepts_nothing(
    play: Start, reply: bytes, phase: Phase, code: int | None
) -> None:
    big = Transaction(Envelope("ann@example.com", ("bob@example.com",)), lambda _: Content(BIG))
    first_write = Exactly(b"BDAT %d LAST\r\n%b" % (len(BIG) - 1, BIG[1 : 1 + WRITE]))
    played = play(
        *(MAIL, OK, BOB, OK, *OPENED[4:], first_write, reply), offers=("PIPELINING", "CHUNKING"), mode="chunked"
    )
    (receipt,) = receipts(played.connection, big, make_transaction())
    assert facts(receipt) == [("bob", phase, code)]
    assert played.stream.closed
