"""Whole messages against the standard library's parser, an independent reader."""

import email.policy
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from smtp_transport.envelope import Content
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import Address, Attachment, Email, InlineImage, Priority, pack, render, unpack
from smtp_transport.message.mime import boundaries, text_part

WHEN = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n"
UNSAFE = "".join(map(chr, [*range(9), *range(0x0A, 0x20), 0x7F, 0x85, 0x2028, 0x2029]))

one_line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=UNSAFE), max_size=120)
bodies = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.builds(
    lambda text, times: text * times,
    st.sampled_from(["word ", "é", "Zeile\n", "日本語", "=", ".\r\n", "\r"]),
    st.integers(0, 600),
)
labels = one_line.map(lambda text: text.replace("\t", ""))
names = st.none() | labels
mailboxes = st.builds(Address, st.sampled_from(["a@example.com", '"a b"@example.com', "c@sub.example.org"]), names)
types = st.sampled_from(["text/plain", "application/pdf", "text/csv; charset=utf-8", "message/rfc822"])
file_names = labels.filter(bool)
attachments = st.builds(Attachment, file_names, types, st.binary(max_size=300))
images = st.builds(InlineImage, st.uuids().map(str), st.just("image/png"), st.binary(max_size=100))
custom = st.tuples(st.from_regex(r"X-[A-Za-z0-9-]{1,30}", fullmatch=True), one_line)


@st.composite
def emails(draw: st.DrawFn) -> Email:
    html = draw(st.none() | bodies)
    return Email(
        from_=draw(mailboxes),
        sender=draw(st.none() | mailboxes),
        to=draw(st.lists(mailboxes, min_size=1, max_size=4)),
        cc=draw(st.lists(mailboxes, max_size=2)),
        bcc=draw(st.lists(st.just("blind@hidden.example"), max_size=1)),
        reply_to=draw(st.lists(mailboxes, max_size=2)),
        subject=draw(one_line),
        text_body=draw(st.none() | bodies),
        html_body=html,
        attachments=draw(st.lists(attachments, max_size=2)),
        inline_images=() if html is None else draw(st.lists(images, max_size=2)),
        headers=draw(st.lists(custom, max_size=3)),
        in_reply_to=draw(st.none() | st.just("<q@example.com>")),
        references=draw(st.lists(st.just("<q@example.com>"), max_size=30)),
        priority=draw(st.none() | st.sampled_from(Priority)),
        message_id="m@example.com",
        date=WHEN,
    )


def an_email(**fields: Any) -> Email:
    return Email(
        **{"from_": "a@example.com", "to": "b@example.com", "message_id": "m@example.com", "date": WHEN, **fields}
    )


def text_of(message: Email, *, eight_bit: bool = False) -> str:
    return render(message, eight_bit=eight_bit).data.decode()


def read(content: Content) -> EmailMessage:
    message = BytesParser(policy=email.policy.default).parsebytes(content.data)
    assert isinstance(message, EmailMessage)
    return message


def shape(message: EmailMessage) -> Any:
    """The nesting of media types: ["multipart/mixed", "text/plain", …]."""
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        return [message.get_content_type(), *(shape(part) for part in message.iter_parts())]
    return message.get_content_type()


def leaves(message: EmailMessage) -> list[EmailMessage]:
    """The parts that hold something, attached messages unopened."""
    if message.get_content_maintype() != "multipart":
        return [message]
    return [leaf for part in message.iter_parts() for leaf in leaves(part)]


def lines_of(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_wire(content: Content) -> None:
    """NF-SEC-04: CRLF and nothing else ends a line, no line is too long, the flags tell the truth."""
    data = content.data
    assert data.endswith(b"\r\n")
    assert not set(data.replace(b"\r\n", b"")) & set(b"\r\n\0")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    head = data.partition(b"\r\n\r\n")[0]
    assert content.eight_bit == (not data.isascii())
    assert content.utf8_headers == (not head.isascii())


def field_names(content: Content) -> list[str]:
    head = content.data.partition(b"\r\n\r\n")[0].decode()
    return [line.partition(":")[0] for line in head.split("\r\n") if line[0] not in " \t"]


def expected_field_names(message: Email) -> list[str]:
    optional = [
        ("Sender", message.sender and message.sender.email != message.from_.email),
        ("Reply-To", message.reply_to),
        ("To", message.to or not message.cc),
        ("Cc", message.cc),
        ("Message-ID", True),
        ("In-Reply-To", message.in_reply_to),
        ("References", message.references),
        ("Subject", message.subject),
        ("X-Priority", message.priority),
        ("Importance", message.priority),
    ]
    content = ["Content-Type", "Content-Transfer-Encoding"]
    own = [name for name, _ in message.headers]
    return ["Date", "From", *(name for name, there in optional if there), *own, "MIME-Version", *content]


@given(message=emails(), eight_bit=st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_email_puts_anything_on_the_wire_but_its_own_lines_and_headers(*, message: Email, eight_bit: bool) -> None:
    """NF-SEC-04, F-MIME-01."""
    content = render(message, eight_bit=eight_bit)
    check_wire(content)
    assert field_names(content) == expected_field_names(message)
    assert b"blind@hidden.example" not in content.data
    assert eight_bit or not content.eight_bit


@given(message=emails(), eight_bit=st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_every_email_comes_back_from_an_independent_reader(*, message: Email, eight_bit: bool) -> None:
    """F-MIME-01..05."""
    got = read(render(message, eight_bit=eight_bit))
    parts = leaves(got)
    assert [defect for part in [got, *parts] for defect in part.defects] == []
    texts = [part for part in parts if part.get_content_disposition() is None]
    expected = [text for text in (message.text_body, message.html_body) if text is not None] or [""]
    for part, text in zip(texts, expected, strict=True):
        read_text = lines_of(part.get_payload(decode=True).decode())
        assert read_text in (lines_of(text), lines_of(text) + "\n")
    files = [part for part in parts if part.get_content_disposition() == "attachment"]
    for part, attachment in zip(files, message.attachments, strict=True):
        assert part.get_filename() == attachment.filename.strip()
        assert part.get_content_type() == "message/rfc822" or part.get_payload(decode=True) == attachment.data
    shown = [part for part in parts if part.get_content_disposition() == "inline"]
    for part, image in zip(shown, message.inline_images, strict=True):
        assert (part["Content-ID"], part.get_payload(decode=True)) == (f"<{image.content_id}>", image.data)


@given(message=emails(), eight_bit=st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_the_same_email_is_always_the_same_bytes(*, message: Email, eight_bit: bool) -> None:
    content = render(message, eight_bit=eight_bit)
    assert render(Email.from_dict(message.to_dict()), eight_bit=eight_bit) == content
    assert render(unpack(pack(message)), eight_bit=eight_bit) == content


def test_another_process_makes_the_same_bytes() -> None:
    program = (
        "import sys; from smtp_transport.message import Email, render\n"
        "email = Email.model_validate_json(sys.stdin.read())\n"
        "sys.stdout.buffer.write(render(email, eight_bit=False).data)"
    )
    message = an_email(text="é", html="<b>é</b>", attachments=Attachment("a", "text/plain", b"x"), headers={"X-A": "ü"})
    made = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(message.to_dict()).encode(),
        capture_output=True, check=True,
    )  # fmt: skip
    assert made.stdout == render(message, eight_bit=False).data


def test_a_plain_email_looks_like_this() -> None:
    """F-MIME-01."""
    assert text_of(an_email(subject="Hello", text="Hi\n")) == (
        "Date: Sat, 21 Nov 2026 12:30:00 +0000\r\n"
        "From: a@example.com\r\n"
        "To: b@example.com\r\n"
        "Message-ID: <m@example.com>\r\n"
        "Subject: Hello\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "\r\n"
        "Hi\r\n"
    )


FILE = Attachment("a.pdf", "application/pdf", b"%PDF")
IMAGE = InlineImage("logo", "image/png", PNG)
RELATED = ["multipart/related", "text/html", "image/png"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "text/plain"),
        ({"text": "t"}, "text/plain"),
        ({"html": "h"}, "text/html"),
        ({"text": "t", "html": "h"}, ["multipart/alternative", "text/plain", "text/html"]),
        ({"html": "h", "inline_images": IMAGE}, RELATED),
        ({"text": "t", "html": "h", "inline_images": IMAGE}, ["multipart/alternative", "text/plain", RELATED]),
        ({"attachments": FILE}, ["multipart/mixed", "text/plain", "application/pdf"]),
        ({"html": "h", "attachments": [FILE, FILE]}, ["multipart/mixed", "text/html", *["application/pdf"] * 2]),
        (
            {"text": "t", "html": "h", "inline_images": IMAGE, "attachments": FILE},
            ["multipart/mixed", ["multipart/alternative", "text/plain", RELATED], "application/pdf"],
        ),
    ],
)
def test_parts_nest_as_readers_expect(fields: dict[str, Any], expected: Any) -> None:
    """F-SEND-01..05, RFC 2046 section 5.1, RFC 2387."""
    assert shape(read(render(an_email(**fields), eight_bit=False))) == expected


def test_attachments_are_base64_with_their_name_and_type() -> None:
    """F-MIME-02."""
    attachment = Attachment("Übersicht.pdf", "application/pdf", bytes(range(256)), "sheet")
    _, part = read(render(an_email(attachments=attachment), eight_bit=True)).iter_parts()
    assert part["Content-Transfer-Encoding"] == "base64"
    assert part.get_content_type() == "application/pdf"
    assert part.get_filename() == "Übersicht.pdf"
    assert part["Content-Type"].params["name"] == "Ubersicht.pdf"
    assert part["Content-ID"] == "<sheet>"
    assert part.get_payload(decode=True) == attachment.data


@pytest.mark.parametrize(
    ("name", "plain"),
    [("日本.pdf", "attachment.pdf"), ("日本", "attachment"), ("ﷺ" * 253 + ".ü", "attachment.u"), ("é" * 90, "e" * 60)],
)
def test_old_readers_get_an_ascii_file_name_of_a_bearable_length(name: str, plain: str) -> None:
    content = render(an_email(attachments=Attachment(name, "application/pdf", b"x")), eight_bit=False)
    check_wire(content)
    _, part = read(content).iter_parts()
    assert (part.get_filename(), part["Content-Type"].params["name"]) == (name, plain)


def test_a_media_type_with_its_own_name_keeps_it() -> None:
    attachment = Attachment("ü.txt", 'text/plain; name="mine.txt"', b"x")
    assert text_of(an_email(attachments=attachment)).count("name=") == 1


def test_an_attached_message_stands_unencoded_where_it_can() -> None:
    """RFC 2046 section 5.2.1."""
    inner = b"From: x@example.com\nSubject: inner\n\nbody\n"
    _, part = read(
        render(an_email(attachments=Attachment("a.eml", "message/rfc822", inner)), eight_bit=False)
    ).iter_parts()
    assert part["Content-Transfer-Encoding"] == "7bit"
    assert part.get_content()["Subject"] == "inner"


@pytest.mark.parametrize("head", [b"From: x@example.com\nSubject: inner\n\n", b"\n"])
def test_an_attached_8bit_message_stands_unencoded_where_the_relay_takes_it(head: bytes) -> None:
    """RFC 2046 section 5.2.1; RFC 2045 section 6.4 for what contains it."""
    email_ = an_email(attachments=Attachment("a.eml", "message/rfc822", head + b"caf\xc3\xa9 \xff\n"))
    plain, eight = render(email_, eight_bit=False), render(email_, eight_bit=True)
    assert (plain.eight_bit, eight.eight_bit, eight.utf8_headers) == (False, True, False)
    got = read(eight)
    _, part = got.iter_parts()
    told = (got["Content-Transfer-Encoding"], part.get_content_type(), part["Content-Transfer-Encoding"])
    assert told == ("8bit", "message/rfc822", "8bit")
    assert part.get_content().get_payload(decode=True) == b"caf\xc3\xa9 \xff\r\n"
    _, part = read(plain).iter_parts()
    assert (part.get_content_type(), part.get_filename()) == ("application/octet-stream", "a.eml")


@pytest.mark.parametrize("inner", [b"Subject: \xff\n\nx", b"A: b\nSubject: \xc3\xbc\n\nx", b"\0", b"x" * 999])
def test_an_attached_message_that_must_be_encoded_is_sent_as_a_file(inner: bytes) -> None:
    _, part = read(
        render(an_email(attachments=Attachment("a.eml", "message/rfc822", inner)), eight_bit=True)
    ).iter_parts()
    assert (part.get_content_type(), part.get_filename()) == ("application/octet-stream", "a.eml")
    assert part.get_payload(decode=True) == inner


def test_text_is_8bit_only_where_the_relay_takes_it() -> None:
    """F-MIME-03."""
    message = an_email(text="Grüße\n", html="<p>Grüße</p>\n")
    plain, eight = render(message, eight_bit=False), render(message, eight_bit=True)
    assert (plain.eight_bit, eight.eight_bit, eight.utf8_headers) == (False, True, False)
    assert b"quoted-printable" in plain.data
    assert read(plain).get_body(("plain",)).get_content() == read(eight).get_body(("plain",)).get_content()


def test_a_container_claims_no_less_than_its_parts() -> None:
    """RFC 2045 section 6.4."""
    got = read(render(an_email(text="é", html="é", attachments=FILE), eight_bit=True))
    containers = [part for part in got.walk() if part.is_multipart()]
    assert [part["Content-Transfer-Encoding"] for part in containers] == ["8bit", "8bit"]
    got = read(render(an_email(text="é", html="é", attachments=FILE), eight_bit=False))
    assert got["Content-Transfer-Encoding"] == "7bit"


def test_boundaries_differ_and_avoid_what_the_parts_hold() -> None:
    """F-MIME-04."""
    drawn = boundaries("<m@example.com>", [])
    first, second = next(drawn), next(drawn)
    assert re.fullmatch(r"=_[0-9a-f]{30}", first)
    assert first != second
    hostile = text_part("plain", f"--{first}\n--{second}--\n", eight_bit=False)
    assert next(boundaries("<m@example.com>", [hostile])) not in (first, second)


def test_a_body_that_guesses_the_boundary_breaks_nothing() -> None:
    """F-MIME-04, NF-SEC-04."""
    guess = next(boundaries("<m@example.com>", []))
    text = f"before\n--{guess}\nContent-Type: text/html\n\nsmuggled\n--{guess}--\nafter"
    eml = Attachment("a.eml", "message/rfc822", f"X: y\n\n--{guess}\n".encode())
    got = read(render(an_email(text=text, html="<p>", attachments=[FILE, eml]), eight_bit=False))
    assert shape(got)[1:] == [["multipart/alternative", "text/plain", "text/html"], "application/pdf", "message/rfc822"]
    assert lines_of(got.get_body(("plain",)).get_content()) == text


def test_blind_recipients_are_in_no_header() -> None:
    content = render(an_email(to=(), bcc=["Blind <blind@hidden.example>"]), eight_bit=False)
    assert b"lind" not in content.data
    assert read(content)["To"].groups[0].display_name == "undisclosed-recipients"
    assert read(content)["To"].addresses == ()


def test_the_sender_is_shown_only_where_it_differs() -> None:
    """RFC 5322 section 3.6.2."""
    assert "Sender: s@example.com\r\n" in text_of(an_email(sender="s@example.com"))
    assert "Sender:" not in text_of(an_email(sender="Someone <a@example.com>"))


def test_priority_is_written_for_both_families_of_readers() -> None:
    written = [text_of(an_email(priority=p)) for p in Priority]
    assert [re.findall(r"X-Priority: (\d)\r\nImportance: (\w+)", text)[0] for text in written] == [
        ("1", "high"),
        ("2", "high"),
        ("3", "normal"),
        ("4", "low"),
        ("5", "low"),
    ]


def test_an_answer_names_its_thread() -> None:
    text = text_of(an_email(in_reply_to="<b@x>", references=["<a@x>", "<b@x>"]))
    assert "In-Reply-To: <b@x>\r\nReferences: <a@x> <b@x>\r\n" in text


def test_an_international_address_makes_utf8_headers_and_nothing_else_does() -> None:
    """RFC 6531 section 3.6."""
    content = render(an_email(to="ü@example.com", subject="ü"), eight_bit=False)
    assert (content.utf8_headers, content.eight_bit) == (True, True)
    assert "Subject: =?utf-8?b?w7w=?=\r\n" in content.data.decode()
    assert not render(an_email(to="Zoë <b@bücher.example>", subject="ü"), eight_bit=True).utf8_headers


@pytest.mark.parametrize("missing", ["message_id", "date"])
def test_an_email_without_its_stamp_is_not_rendered(missing: str) -> None:
    with pytest.raises(MessageError) as caught:
        render(an_email(**{missing: None}), eight_bit=False)
    assert caught.value.kind is ErrorKind.INVALID_HEADER


@given(
    st.text(), st.sampled_from(["subject", "message_id", "in_reply_to"]), st.sampled_from(["\r", "\n", "\r\n", "\0"])
)
def test_a_line_end_in_a_header_never_becomes_a_mail(text: str, field: str, end: str) -> None:
    """NF-SEC-04."""
    with pytest.raises(ValidationError, match=field):
        an_email(**{field: f"a{end}{text}"})
