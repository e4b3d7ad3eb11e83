from datetime import UTC, datetime

import pytest

from smtp_transport.errors import MessageError
from smtp_transport.message import Email, MimeEncoder, TransferEncoding, render

EMAIL = Email(from_="a@example.com", to="b@example.com", text="Grüße")


def test_the_facade_encodes_what_the_functions_encode() -> None:
    encoder = MimeEncoder()
    stamped = EMAIL.stamped("m@example.com", datetime(2026, 1, 1, tzinfo=UTC))
    assert encoder.encode(stamped) == render(stamped, eight_bit=False).data
    assert encoder.encode(stamped, eight_bit=True) == render(stamped, eight_bit=True).data
    with pytest.raises(MessageError):
        encoder.encode(EMAIL)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("plain", "plain"),
        ("Zoë", "=?utf-8?q?Zo=C3=AB?="),
        ("=?x", "=?utf-8?b?PT94?="),
        (" a", "=?utf-8?q?_a?="),
    ],
)
def test_a_header_is_encoded_where_it_must_be(value: str, encoded: str) -> None:
    """F-MIME-05."""
    assert MimeEncoder().encode_header(value) == encoded


def test_a_header_with_a_line_end_is_refused() -> None:
    """NF-SEC-04."""
    with pytest.raises(ValueError, match="control character"):
        MimeEncoder().encode_header("a\r\nBcc: b@example.com")


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        (TransferEncoding.SEVEN_BIT, b"a\xc3\xa9=\r\n"),
        (TransferEncoding.EIGHT_BIT, b"a\xc3\xa9=\r\n"),
        (TransferEncoding.QUOTED_PRINTABLE, b"a=C3=A9=3D\r\n"),
        (TransferEncoding.BASE64, b"YcOpPQ0K"),
    ],
)
def test_a_body_is_encoded_as_asked(encoding: TransferEncoding, encoded: bytes) -> None:
    """F-MIME-02, F-MIME-03."""
    assert MimeEncoder().encode_body(b"a\xc3\xa9=\r\n", encoding) == encoded


def test_boundaries_and_ids_come_from_the_token_alone() -> None:
    """F-MIME-04, F-MIME-06."""
    encoder = MimeEncoder()
    assert encoder.generate_boundary("a") == encoder.generate_boundary("a") != encoder.generate_boundary("b")
    assert encoder.generate_message_id("token", "example.com") == "<token@example.com>"
