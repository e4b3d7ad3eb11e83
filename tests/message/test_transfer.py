import base64
import quopri
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtp_transport.envelope import StreamedContent
from smtp_transport.message import Email, TransferEncoding, render, transfer
from smtp_transport.message.transfer import base64_lines, canonical, choose, encode, encoded_lines

WHEN = datetime(2026, 11, 21, tzinfo=UTC)

bodies = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text(
    "ab=. \té\r\n", max_size=400
)
long_texts = st.builds(
    lambda text, times: text * times, st.text("ab=é. \n", min_size=1, max_size=20), st.integers(1, 400)
)


@given(bodies)
def test_canonical_text_has_crlf_for_every_kind_of_line_end(text: str) -> None:
    octets = canonical(text)
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert octets.decode().replace("\r\n", "\n") == text.replace("\r\n", "\n").replace("\r", "\n")
    assert canonical(octets.decode()) == octets


@given(text=bodies | long_texts, eight_bit=st.booleans())
@example(text="=" * 999, eight_bit=False)
@example(text="é" * 998 + "\n", eight_bit=True)
@example(text="a" * 998 + "\n", eight_bit=True)
def test_what_is_chosen_can_carry_the_text(*, text: str, eight_bit: bool) -> None:
    """F-MIME-03."""
    octets = canonical(text)
    encoding = choose(octets, eight_bit=eight_bit)
    encoded = encode(octets, encoding)
    for line in encoded.split(b"\r\n"):
        assert len(line) <= (998 if encoding.keeps_octets else 76)
        assert not set(line) & set(b"\r\n")
    assert encoded.isascii() or encoding is TransferEncoding.EIGHT_BIT
    assert eight_bit or encoding is not TransferEncoding.EIGHT_BIT
    decoders = {TransferEncoding.QUOTED_PRINTABLE: quopri.decodestring, TransferEncoding.BASE64: base64.b64decode}
    assert decoders.get(encoding, bytes)(encoded) == octets


@pytest.mark.parametrize(
    ("text", "eight_bit", "encoding"),
    [
        ("", False, "7bit"),
        ("plain\n", True, "7bit"),
        ("a" * 998, False, "7bit"),
        ("a" * 999, False, "quoted-printable"),
        ("a" * 999, True, "quoted-printable"),
        ("=" * 999, False, "base64"),
        ("Viele Grüße aus München\n", False, "quoted-printable"),
        ("Viele Grüße aus München\n", True, "8bit"),
        ("日本語のメール\n", False, "base64"),
        ("日本語のメール\n", True, "8bit"),
        ("é" * 500, True, "base64"),
    ],
)
def test_the_encoding_follows_from_the_content(*, text: str, eight_bit: bool, encoding: str) -> None:
    """F-MIME-03."""
    assert choose(canonical(text), eight_bit=eight_bit).value == encoding


@given(st.binary() | st.integers(0, 20_000).map(bytes))
@example(bytes(57 * 64))
@example(bytes(57 * 64 + 1))
@example(bytes(57 * 64 - 1))
@example(bytes(57))
def test_base64_has_76_characters_a_line(octets: bytes) -> None:
    """F-MIME-02."""
    lines = base64_lines(octets).split(b"\r\n")
    assert base64.b64decode(b"".join(lines), validate=True) == octets
    assert all(len(line) == 76 for line in lines[:-1])
    assert len(lines[-1]) <= 76
    assert lines[-1] or not octets


@given(st.text("a \t=.é\r\n", max_size=200))
def test_quoted_printable_leaves_no_white_space_at_the_end_of_a_line(text: str) -> None:
    """RFC 2045 section 6.7 (3)."""
    for line in encode(canonical(text), TransferEncoding.QUOTED_PRINTABLE).split(b"\r\n"):
        assert not line.endswith((b" ", b"\t"))


@given(
    st.lists(st.sampled_from(["Grüße", " ", "\r\n", "=", ".", "\t", "x" * 90, "\r\n.\r\n"]), max_size=60).map("".join),
    st.integers(1, 40),
)
def test_text_encoded_in_pieces_is_as_encoded_whole(text: str, piece: int) -> None:
    octets = canonical(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "PIECE", piece)
        assert b"".join(encoded_lines(octets)) == encode(octets, TransferEncoding.QUOTED_PRINTABLE)


@pytest.mark.parametrize("text", ["Grüße\n" * 1_000_000, "日本語\n" * 500_000, "plain\n" * 1_000_000, "ü" * 3_000_000])
def test_a_large_text_comes_back_from_its_pieces(text: str) -> None:
    email = Email(from_="a@example.com", to="b@example.com", text_body=text, message_id="m@x", date=WHEN)
    for eight_bit in (True, False):
        content = render(email, eight_bit=eight_bit)
        assert isinstance(content, StreamedContent)
        data = content.data
        assert len(data) == content.size
        read = message_from_bytes(data, policy=policy.default)
        assert read.get_content().splitlines() == text.splitlines()
