"""Messages that other programs made: sent as they are, save what must not or cannot be."""

import email.policy
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import Header
from email.headerregistry import Address as HeaderAddress
from email.headerregistry import Group
from email.message import EmailMessage, Message
from email.mime.text import MIMEText
from email.policy import Compat32
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from smtp_transport.envelope import Content
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import Address, Email, RawEmail, envelope_of, render, transaction_of

PLAIN = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: s\r\n\r\nbody\r\n"
WHEN = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


def a_message(**headers: Any) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"From": "a@example.com", "To": "b@example.com", **headers}.items():
        message[name.replace("_", "-")] = value
    message.set_content("body\n")
    return message


def refusal(message: Any, **fields: Any) -> MessageError:
    with pytest.raises(MessageError) as caught:
        RawEmail.of(message, **fields)
    assert "example" not in str(caught.value)
    return caught.value


def sent(message: Any, *, eight_bit: bool = True) -> Content:
    return transaction_of(message).render(eight_bit)


def parsed(content: Content) -> Any:
    return message_from_bytes(content.data, policy=email.policy.default)


def test_bytes_go_out_as_they_came_in() -> None:
    raw = RawEmail.of(PLAIN)
    assert (raw.envelope.sender, raw.envelope.recipients) == ("a@example.com", ("b@example.com",))
    content = raw.render(eight_bit=False)
    assert (content.data, content.eight_bit, content.utf8_headers) == (PLAIN, False, False)


@pytest.mark.parametrize("end", [b"\n", b"\r"])
def test_line_ends_become_what_the_wire_wants(end: bytes) -> None:
    assert sent(PLAIN.replace(b"\r\n", end)).data == PLAIN
    assert sent(PLAIN[:-2]).data == PLAIN


def test_a_message_of_the_standard_library_is_sent_as_it_writes_itself() -> None:
    message = a_message(Subject="Grüße", Cc="C <c@example.com>", Bcc="d@example.com")
    transaction = transaction_of(message)
    assert transaction.envelope.recipients == ("b@example.com", "c@example.com", "d@example.com")
    back = parsed(transaction.render(True))
    assert (back["Subject"], back["To"], back["Cc"], back.get_content()) == (
        "Grüße",
        "b@example.com",
        "C <c@example.com>",
        "body\r\n",
    )
    assert message["Bcc"] == "d@example.com", "the caller's message is not touched"


@pytest.mark.parametrize("header", [b"Bcc", b"bCC", b"Resent-Bcc"])
def test_blind_recipients_are_in_the_envelope_alone(header: bytes) -> None:
    """Bcc never on the wire."""
    resent = b"Resent-From: r@example.com\r\nResent-Date: x\r\n" if b"Resent" in header else b""
    raw = RawEmail.of(resent + header + b": blind@hidden.example,\r\n two@hidden.example\r\n" + PLAIN)
    assert raw.envelope.recipients[-2:] == ("blind@hidden.example", "two@hidden.example")
    assert b"hidden" not in raw.render(eight_bit=True).data
    assert b"cc" not in raw.render(eight_bit=True).data.lower()


def test_a_header_that_is_rewritten_to_the_same_length_is_rewritten() -> None:
    """Bcc never on the wire, though the encoded subject takes just its room."""
    data = "Subject: ü\r\nBcc: h@x.yyy\r\n".encode() + PLAIN.replace(b"Subject: s\r\n", b"")
    raw = RawEmail.of(data)
    assert len(raw.data) == len(data)
    assert raw.envelope.recipients == ("b@example.com", "h@x.yyy")
    assert b"h@x" not in raw.data


@pytest.mark.parametrize(
    ("headers", "sender", "recipients"),
    [
        ("Sender: s@x.example\r\n", "s@x.example", ("b@example.com",)),
        ("Cc: b@EXAMPLE.com, c@x.example\r\n", "a@example.com", ("b@example.com", "c@x.example")),
        (
            "Resent-From: r@x.example\r\nResent-To: t@x.example\r\nResent-Date: x\r\n",
            "r@x.example",
            ("t@x.example",),
        ),
        (
            "Resent-From: r@x.example\r\nResent-Sender: q@x.example\r\nResent-Cc: t@x.example\r\n",
            "q@x.example",
            ("t@x.example",),
        ),
    ],
)
def test_the_envelope_is_what_the_header_says(headers: str, sender: str, recipients: tuple[str, ...]) -> None:
    envelope = RawEmail.of(headers.encode() + PLAIN).envelope
    assert (envelope.sender, envelope.recipients) == (sender, recipients)


@pytest.mark.parametrize(
    "header", ["To: Undisclosed recipients", "To: a, b c d", "Cc: b@", "From: <>", "Reply-To: x@@y"]
)
@pytest.mark.parametrize("kind", [bytes, Message, EmailMessage])
def test_what_the_envelope_does_not_come_from_need_not_be_understood(header: str, kind: type) -> None:
    data = header.encode() + b"\r\nSubject: s\r\n\r\nbody\r\n"
    policy = email.policy.default if kind is EmailMessage else email.policy.compat32
    message: Any = data if kind is bytes else message_from_bytes(data, policy=policy)
    raw = RawEmail.of(message, sender="s@example.com", recipients=["r@example.org"])
    assert (raw.envelope.sender, raw.envelope.recipients) == ("s@example.com", ("r@example.org",))
    assert raw.render(eight_bit=False).data == data


@pytest.mark.parametrize("data", [b"Reply-To: x@@y\r\n" + PLAIN, b"Reply-To: Undisclosed recipients\r\n" + PLAIN])
def test_who_is_asked_to_be_answered_is_nobody_of_the_envelope(data: bytes) -> None:
    assert RawEmail.of(data).envelope.recipients == ("b@example.com",)
    assert RawEmail.of(message_from_bytes(data, policy=email.policy.default)).data == data


def test_an_impossible_domain_beside_the_envelope_is_not_in_the_way() -> None:
    message = a_message(Reply_To=HeaderAddress("", "r", "b\u00fc_cher..example"))
    assert RawEmail.of(message).envelope.recipients == ("b@example.com",)


def test_the_callers_envelope_comes_first() -> None:
    raw = RawEmail.of(PLAIN, sender="", recipients=["X <x@example.org>", Address("x@EXAMPLE.org"), "y@b\u00fc.example"])
    assert raw.envelope.sender == ""
    assert raw.envelope.recipients == ("x@example.org", "y@xn--b-eha.example")
    assert RawEmail.of(b"Subject: s\r\n\r\n", "a@b.example", ["c@d.example"]).envelope.sender == "a@b.example"
    with pytest.raises(ValidationError):
        RawEmail.of(PLAIN, recipients=["nobody"])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", ErrorKind.INVALID_HEADER),
        (b"\r\nbody", ErrorKind.INVALID_HEADER),
        (b"no header\r\n\r\n", ErrorKind.INVALID_HEADER),
        (b" a: b\r\n\r\n", ErrorKind.INVALID_HEADER),
        (b"From example\r\n" + PLAIN, ErrorKind.INVALID_HEADER),
        (b"X: " + b"a" * 1000 + b"\r\n" + PLAIN, ErrorKind.INVALID_HEADER),
        (b"X: a\0\r\n" + PLAIN, ErrorKind.INVALID_HEADER),
        (b"Cc: \xff@example.com\r\n" + PLAIN, ErrorKind.INVALID_HEADER),
        (b"To: b@example.com\r\n\r\n", ErrorKind.INVALID_FROM_ADDRESS),
        (b"From: a@example.com, b@example.com\r\nTo: b@example.com\r\n\r\n", ErrorKind.INVALID_FROM_ADDRESS),
        (b"From: a@example.com\r\n\r\n", ErrorKind.INVALID_RECIPIENT_ADDRESS),
        (b"Cc: nobody example\r\n" + PLAIN, ErrorKind.INVALID_RECIPIENT_ADDRESS),
        (b"Cc: c@example.com> SIZE=1\r\n" + PLAIN, ErrorKind.INVALID_RECIPIENT_ADDRESS),
        (
            b"Resent-To: c@example.com\r\nResent-Date: a\r\nResent-Date: b\r\n" + PLAIN,
            ErrorKind.INVALID_RECIPIENT_ADDRESS,
        ),
    ],
)
def test_what_is_no_message_or_names_nobody_is_refused(data: bytes, kind: ErrorKind) -> None:
    """NF-SEC-04."""
    assert refusal(data).kind is kind


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"To: a@b.c", b"\r\n", b"\n", b" ", b"\r", b"X:", b"\0", b"."])).map(b"".join)
)
def test_no_bytes_make_anything_but_a_mail_or_a_refusal(data: bytes) -> None:
    """NF-SEC-04."""
    try:
        content = RawEmail.of(data, "a@b.example", ["c@d.example"]).render(eight_bit=False)
    except MessageError:
        return
    head, _, _ = content.data.partition(b"\r\n\r\n")
    assert b"\r" not in content.data.replace(b"\r\n", b"")
    assert b"\n" not in content.data.replace(b"\r\n", b"")
    assert all(b":" in line or line[:1] in b" \t" for line in head.split(b"\r\n"))


@pytest.mark.parametrize("value", ["s\nBcc: x@hidden.example", "s\n\nbody", "s\r\nX: y", "s\n ", "s\n"])
def test_a_value_that_ends_its_line_is_refused(value: str) -> None:
    """NF-SEC-04."""
    message = Message()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", value
    assert refusal(message).kind in {ErrorKind.INVALID_HEADER, ErrorKind.ENCODING_FAILED}


def test_legacy_messages_are_read_without_decoding_their_names_first() -> None:
    """CVE-2023-27043 and its kin: an address in a name is no address."""
    message = MIMEText("körper", _charset="utf-8")
    message["From"] = "a@example.com"
    message["To"] = Header("=?utf-8?q?x=40evil.example=2C?= <b@example.com>")
    message["Cc"] = '"evil@evil.example, " <c@example.com>'
    assert RawEmail.of(message).envelope.recipients == ("b@example.com", "c@example.com")


def test_a_name_with_a_comma_makes_no_second_recipient() -> None:
    message = a_message(Cc=HeaderAddress("Last, Jörg evil@evil.example", "c", "example.com"))
    raw = RawEmail.of(message)
    assert raw.envelope.recipients == ("b@example.com", "c@example.com")
    assert b"evil@evil.example" not in raw.data or b'"' in raw.data


@pytest.mark.parametrize("name", ["x, " * 40, 'a"b' * 40, "Doe, John " * 12, "x@evil.example, " * 9])
def test_a_long_name_of_a_standard_message_makes_no_recipient_and_no_refusal(name: str) -> None:
    message = a_message(Cc=[HeaderAddress(name, "c", "example.com"), HeaderAddress("D, E", "d", "example.com")])
    raw = RawEmail.of(message)
    assert raw.envelope.recipients == ("b@example.com", "c@example.com", "d@example.com")
    back = parsed(raw.render(eight_bit=False))["Cc"].addresses
    assert [address.addr_spec for address in back] == ["c@example.com", "d@example.com"]


def test_what_the_package_cannot_write_is_refused_without_being_repeated() -> None:
    class Unwritable(Compat32):
        def fold_binary(self, name: str, value: str) -> bytes:
            raise IndexError(value)

    message = message_from_bytes(PLAIN, policy=Unwritable())
    refused = refusal(message)
    assert (refused.kind, refused.message[-10:]) == (ErrorKind.ENCODING_FAILED, "IndexError")


def test_a_name_that_no_address_may_have_is_no_reason_for_another_recipient() -> None:
    """Longer than a name may be; the package loses its quotes in older versions, and what is behind a comma counts."""
    message = a_message(Cc=HeaderAddress("x@evil.example, " * 100, "c", "example.com"))
    try:
        raw = RawEmail.of(message)
    except MessageError as refused:
        assert "example" not in str(refused)  # noqa: PT017 - whether it is refused depends on the version
        return
    assert raw.envelope.recipients == ("b@example.com", "c@example.com")


def test_a_group_of_a_standard_message_stays_one() -> None:
    friends = Group("Friends", (HeaderAddress("x, " * 40, "c", "example.com"), HeaderAddress("D", "d", "example.com")))
    message = a_message(Cc=friends)
    try:
        raw = RawEmail.of(message)
    except MessageError:  # older versions of the package cannot write it, and alone it would be no group
        return
    assert parsed(raw.render(eight_bit=False))["Cc"].groups[0].display_name == "Friends"


def test_international_domains_become_a_labels_in_envelope_and_header() -> None:
    message = a_message(Cc=HeaderAddress("Jörg", "c", "bücher.example"))
    raw = RawEmail.of(message)
    assert raw.envelope.recipients[1] == "c@xn--bcher-kva.example"
    assert not raw.envelope.needs_smtputf8
    content = raw.render(eight_bit=False)
    assert not content.utf8_headers
    assert parsed(content)["Cc"].addresses[0] == HeaderAddress("Jörg", "c", "xn--bcher-kva.example")


def test_an_international_local_part_needs_smtputf8() -> None:
    raw = RawEmail.of(a_message(Cc=HeaderAddress("Jörg", "jörg", "example.com")))
    content = raw.render(eight_bit=True)
    assert raw.envelope.needs_smtputf8
    assert (content.utf8_headers, content.eight_bit) == (True, True)
    assert "jörg@example.com".encode() in content.data


def test_a_legacy_message_cannot_write_an_international_address() -> None:
    message = Message()
    message["From"], message["To"] = "a@example.com", "jörg@example.com"
    assert refusal(message).kind in {ErrorKind.INVALID_HEADER, ErrorKind.INVALID_RECIPIENT_ADDRESS}


def test_headers_in_raw_utf8_are_written_in_ascii_where_they_can_be() -> None:
    data = 'From: "Jörg, K." <a@example.com>\r\nTo: b@bücher.example\r\nSubject: Grüße\r\n\r\n'.encode()
    content = sent(data, eight_bit=False)
    assert (content.eight_bit, content.utf8_headers) == (False, False)
    back = parsed(content)
    assert (back["Subject"], back["From"].addresses[0].display_name) == ("Grüße", "Jörg, K.")
    assert back["To"] == "b@xn--bcher-kva.example"


@pytest.mark.parametrize("header", ["Content-Type: text/plain; name=ü", "List-Id: ü <l.example>", "Keywords: ü"])
def test_headers_that_cannot_be_written_in_ascii_ask_for_smtputf8(header: str) -> None:
    assert sent(header.encode() + b"\r\n" + PLAIN).utf8_headers


@pytest.mark.parametrize("one", ["X <x@example.org>", Address("x@example.org")])
def test_one_recipient_alone_needs_no_list(one: Address | str) -> None:
    assert RawEmail.of(PLAIN, recipients=one).envelope.recipients == ("x@example.org",)
    for message in (PLAIN, Email(from_="a@example.com", to="b@example.com", message_id="m@example.com", date=WHEN)):
        assert transaction_of(message, recipients=one).envelope.recipients == ("x@example.org",)


@pytest.mark.parametrize("given_", [b"x@example.org", [None], [b"x@example.org"], [5]])
def test_what_is_no_address_is_no_recipient_and_no_sender(given_: Any) -> None:
    with pytest.raises(ValidationError, match="neither text nor an Address"):
        RawEmail.of(PLAIN, recipients=given_)
    with pytest.raises(ValidationError, match="neither text nor an Address"):
        RawEmail.of(PLAIN, sender=given_)


def test_an_id_that_ends_its_line_is_no_stamp() -> None:
    """NF-SEC-04."""
    with pytest.raises(MessageError, match="invalid_header"):
        RawEmail.of(PLAIN).stamped("<a@b>\r\nBcc: x@hidden.example", WHEN)


def test_missing_names_are_added_and_given_ones_kept() -> None:
    added = RawEmail.of(PLAIN).stamped("<new@example.com>", WHEN)
    assert added.data.startswith(b"Date: Sat, 21 Nov 2026 12:30:00 +0000\r\nMessage-ID: <new@example.com>\r\n")
    assert added.message_id == "<new@example.com>"
    given_ = RawEmail.of(b"Message-Id: <old@x>\r\nDate: x\r\n" + PLAIN).stamped("<new@example.com>", WHEN)
    assert given_.message_id == "<old@x>"
    assert b"new@" not in given_.data


def test_an_email_can_be_addressed_to_others_too() -> None:
    mail = Email(from_="a@example.com", to="b@example.com", message_id="m@example.com", date=WHEN)
    assert transaction_of(mail).envelope == envelope_of(mail)
    transaction = transaction_of(mail, sender="", recipients=["c@example.com"])
    assert (transaction.envelope.sender, transaction.envelope.recipients) == ("", ("c@example.com",))
    assert transaction.render(True).data == render(mail, eight_bit=True).data
    raw = RawEmail.of(PLAIN)
    assert transaction_of(raw, recipients=["c@example.com"]).envelope.recipients == ("c@example.com",)


def test_no_repr_shows_what_a_message_says() -> None:
    assert "example" not in repr(RawEmail.of(PLAIN))


@pytest.mark.parametrize("signature", [b"DKIM-Signature: v=1", b"ARC-Message-Signature: i=1"])
def test_the_header_of_a_signed_message_is_not_written_anew(signature):
    head = signature + "\r\nFrom: a@example.com\r\nTo: b@example.org\r\nSubject: Grüße\r\n".encode()
    content = RawEmail.of(head + b"\r\nHi\r\n").render(eight_bit=True)
    assert content.data.startswith(head)
    assert content.utf8_headers
