"""Content that is made while it is sent: whole, or given up before its final dot."""

from collections.abc import Callable, Iterator

import pytest

from smtp_transport.envelope import Envelope, StreamedContent, Transaction
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.phase import Phase
from tests.protocol.mails import BOTH, CONTENT, GO, MAIL, QUEUED, WHOLE, Start, facts, receipts
from tests.protocol.script import make_transaction

PIECES = [b"Subject: hi\r", b"\n\r\nhel", b"", b"lo\r\n"]
DATA = b"".join(PIECES)


def streamed(pieces: object, size: int = len(DATA), **fields: bool) -> Transaction:
    content = StreamedContent(pieces if callable(pieces) else lambda: iter(pieces), size, **fields)
    return Transaction(Envelope("ann@example.com", ("bob@example.com",)), lambda _: content)


def breaking(error: Exception) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield DATA
        raise error

    return pieces


@BOTH
def test_pieces_reach_the_server_as_one_mail(play: Start, offers: tuple[str, ...]) -> None:
    sized = tuple(step.replace(">", f"> SIZE={len(DATA)}") if step == MAIL else step for step in WHOLE)
    played = play(*sized, offers=(*offers, "SIZE 100"))
    (receipt,) = receipts(played.connection, streamed(PIECES))
    assert receipt.accepted


def test_dots_are_doubled_wherever_the_pieces_are_cut(play: Start) -> None:
    played = play(*WHOLE[:6], "..\n...a\nb", ".", QUEUED)
    (receipt,) = receipts(played.connection, streamed([b".", b"\r", b"\n.", b".a\r\n", b"b\r\n"], 11))
    assert receipt.accepted


@BOTH
@pytest.mark.parametrize(
    ("pieces", "size", "kind"),
    [
        ([DATA], len(DATA) + 1, ErrorKind.ENCODING_FAILED),
        ([DATA, DATA], len(DATA), ErrorKind.ENCODING_FAILED),
        ([DATA, b"\n"], len(DATA) + 1, ErrorKind.ENCODING_FAILED),
        ([DATA, b"\r"], len(DATA) + 1, ErrorKind.ENCODING_FAILED),
        (breaking(MessageError("the file is gone", ErrorKind.ATTACHMENT_ERROR)), 100, ErrorKind.ATTACHMENT_ERROR),
        (breaking(ValueError("bob@example.com")), 100, ErrorKind.ENCODING_FAILED),
    ],
    ids=["short", "long", "bare LF", "bare CR", "vanished", "foreign"],
)
def test_content_that_breaks_off_is_never_committed(
    play: Start, offers: tuple[str, ...], pieces: object, size: int, kind: ErrorKind
) -> None:
    played = play(*WHOLE[:5], GO, CONTENT, offers=offers)
    (receipt,) = receipts(played.connection, streamed(pieces, size))
    assert isinstance(receipt.error, MessageError)
    assert (receipt.error.kind, receipt.error.phase) == (kind, Phase.BODY)
    assert "example.com" not in str(receipt.error)
    assert facts(receipt) == [("bob", Phase.BODY, None)]
    assert played.stream.closed
    assert not played.connection.usable


def test_what_is_too_large_is_told_before_anything_is_made(play: Start) -> None:
    played = play(*WHOLE, max_message_size=50)
    bad, good = receipts(played.connection, streamed(breaking(AssertionError()), 51), make_transaction())
    assert bad.error
    assert bad.error.kind is ErrorKind.MESSAGE_TOO_LARGE
    assert good.accepted


def test_it_can_be_read_like_any_other_content() -> None:
    content = StreamedContent(lambda: iter(PIECES), len(DATA), eight_bit=True)
    assert content.data == content.data == b"".join(content.chunks()) == DATA
    assert (content.size, content.eight_bit, content.utf8_headers) == (len(DATA), True, False)
    assert "hello" not in repr(content)
    assert content == content  # noqa: PLR0124 - equality is identity
    assert content != StreamedContent(lambda: iter(PIECES), len(DATA), eight_bit=True)
