"""What a server cannot carry is encoded anew, and reads as before."""

import email.policy
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.envelope import Content
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import RawEmail

HEAD = b"From: a@example.com\r\nTo: b@example.com\r\nMIME-Version: 1.0\r\n"


def rendered(data: bytes, *, eight_bit: bool) -> Content:
    return RawEmail.of(data).render(eight_bit)


def leaves(data: bytes) -> list[tuple[str, Any, bytes]]:
    """Give type, disposition and decoded octets of each part."""
    message = message_from_bytes(data)
    return [
        (part.get_content_type(), part["Content-Disposition"], part.get_payload(decode=True))
        for part in message.walk()
        if not part.is_multipart()
    ]


def nested() -> bytes:
    inner = EmailMessage(policy=email.policy.SMTP)
    inner["Subject"] = "inner"
    inner.set_content("innén\n", cte="8bit")
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"] = "a@example.com", "b@example.com"
    message.set_content("naïve\nplain\n", cte="8bit")
    message.add_alternative("<p>été</p>\n", subtype="html", cte="8bit")
    message.add_attachment(b"\x00\xff\r\n" * 30, "application", "octet-stream", filename="ü.bin")
    message.add_attachment(inner)
    return message.as_bytes()


def test_a_whole_tree_fits_a_server_of_seven_bits() -> None:
    data = nested()
    content = rendered(data, eight_bit=False)
    assert content.data.isascii()
    assert not content.eight_bit
    assert leaves(content.data) == leaves(data)
    assert b"8bit" not in content.data


def test_a_server_of_eight_bits_gets_it_as_it_is() -> None:
    data = nested()
    content = rendered(data, eight_bit=True)
    assert content.data == data
    assert content.eight_bit


BASE64_MULTIPART = b'Content-Type: multipart/mixed; boundary="b"\r\nContent-Transfer-Encoding: base64\r\n'
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"),
    max_size=80,
)


@given(
    st.lists(texts, min_size=1, max_size=6),
    st.sampled_from([b"text/plain; charset=utf-8", b"text/html", b"application/x"]),
)
def test_any_body_reads_as_before(lines: list[str], kind: bytes) -> None:
    body = "\r\n".join([*lines, ""]).encode()
    data = HEAD + b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body
    content = rendered(data, eight_bit=False)
    assert content.data.isascii()
    assert [octets for _, _, octets in leaves(content.data)] == [body]


@pytest.mark.parametrize("eight_bit", [True, False])
@pytest.mark.parametrize(
    "body", [b"x" * 5000 + b"\r\n", "ü".encode() * 3000 + b"\r\n", b"a\0b\r\n", b"\xff\xfe" * 600 + b"\r\n"]
)
def test_no_line_is_too_long_and_no_nul_goes_out(body: bytes, eight_bit: bool) -> None:  # noqa: FBT001 - a parameter
    data = HEAD + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body
    content = rendered(data, eight_bit=eight_bit)
    assert max(map(len, content.data.split(b"\r\n"))) <= 998
    assert b"\0" not in content.data
    assert leaves(content.data)[0][2] == body


def test_a_body_without_mime_header_gets_one() -> None:
    content = rendered(b"From: a@example.com\r\nTo: b@example.com\r\n\r\n" + "grüße\r\n".encode(), eight_bit=False)
    message = message_from_bytes(content.data, policy=email.policy.default)
    assert message.get_content() == "grüße\r\n"
    assert message["MIME-Version"] == "1.0"


def test_the_header_is_not_folded_anew() -> None:
    head = HEAD + b"X-Long: " + b"word " * 60 + b"\r\nSubject:  odd   spacing\r\n\tgoes on\r\n"
    content = rendered(head + b"Content-Type: text/plain\r\n\r\n\xfc\r\n", eight_bit=False)
    assert content.data.startswith(head)


@pytest.mark.parametrize(
    "data",
    [
        b"DKIM-Signature: v=1\r\n" + HEAD + b"Content-Type: text/plain\r\n\r\n\xfc\r\n",
        HEAD + b'Content-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\n\r\n\xfc\r\n--b--\r\n',
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n\xfc\r\n--b\r\n\r\nx\r\n--b--\r\n',
        HEAD + BASE64_MULTIPART + b"\r\n--b\r\n\r\n\xfc\r\n--b--\r\n",
    ],
    ids=["dkim", "signed", "preamble", "encoded multipart"],
)
def test_what_would_break_is_not_touched_and_says_what_it_needs(data: bytes) -> None:
    content = rendered(data, eight_bit=False)
    assert content.data == data
    assert content.eight_bit


@pytest.mark.parametrize("body", [b"x" * 999 + b"\r\n", b"nul \0\r\n"], ids=["long", "nul"])
@pytest.mark.parametrize(
    "head",
    [
        b"DKIM-Signature: v=1\r\n" + HEAD + b"\r\n",
        HEAD + b'Content-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\n\r\n',
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble ',
    ],
    ids=["dkim", "signed", "preamble"],
)
def test_what_would_break_and_cannot_go_as_it_is_is_refused_at_once(head: bytes, body: bytes) -> None:
    with pytest.raises(MessageError, match="998 octets") as refused:
        RawEmail.of(head + body)
    assert refused.value.kind is ErrorKind.ENCODING_FAILED
    RawEmail.of(head + b"x" * 900 + b"\r\n")
