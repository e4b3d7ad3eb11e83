"""What is fuzzed: each target takes any octets, and raises if they make a promise break."""

import email.policy
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes

from pydantic import ValidationError

from smtp_transport.errors import MessageError, ProtocolError
from smtp_transport.message import Address, Attachment, Email, RawEmail, render
from smtp_transport.message.encoded_words import LINE
from smtp_transport.message.mailbox_list import address_list
from smtp_transport.message.transfer import LONGEST_LINE
from smtp_transport.observation import masked_lines
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import Mail, Rcpt
from smtp_transport.protocol.content import canonical, dot_stuffed
from smtp_transport.protocol.grammar import MAX_REPLY_LINES
from smtp_transport.protocol.replies import ReplyReader
from smtp_transport.reply import Reply

WHEN = datetime(2026, 11, 21, tzinfo=UTC)
FIELD = re.compile(rb"[!-9;-~]+:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n")
CUT = "\x1e"  # between the values of a header target's input


def headers(data: bytes) -> None:
    """A header says what its author said, on lines of its own, in ASCII, or was refused."""
    values = [*data.decode("utf-8", "surrogateescape").split(CUT), "", "", "", ""]
    subject, name, value, filename = values[:4]
    try:
        mail = Email(
            from_=Address("a@example.com", name),
            to="b@example.com",
            subject=subject,
            headers=[("X-Fuzz", value)],
            attachments=[Attachment(filename or "a", "text/plain", b"x")],
            message_id="m@example.com",
            date=WHEN,
        )
    except ValidationError:
        return
    content = render(mail, eight_bit=False)
    head = content.data.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert content.data.isascii()
    assert b"".join(FIELD.findall(head)) == head, "something stands between the fields"
    assert b"X-Fuzz: \r\n " not in head
    assert max(map(len, head.split(b"\r\n"))) <= LONGEST_LINE
    names = [found.partition(b":")[0] for found in FIELD.findall(head)]
    had = [b"Subject"] if subject else []
    body = [b"MIME-Version", b"Content-Type", b"Content-Transfer-Encoding"]
    assert names == [b"Date", b"From", b"To", b"Message-ID", *had, b"X-Fuzz", *body]
    assert all(len(line) <= LINE for line in head.split(b"\r\n") if b"=?utf-8?" in line)
    read = message_from_bytes(content.data, policy=email.policy.compat32)
    assert len(read.get_payload()) == 2


def addresses(data: bytes) -> None:
    """An address is one path on the wire and one mailbox in a header, or was refused."""
    text = data.decode("utf-8", "surrogateescape")
    found = []
    for read in (lambda: [Address(text)], lambda: [Address.parse(text)], lambda: address_list(text, names=True)):
        try:
            found += read()
        except ValidationError:
            continue
    for address in found:
        assert Address(address.email).email == address.email
        assert not re.search("[\x00-\x1f\x7f\x85\u2028\u2029]", address.email + (address.name or ""))
        utf8 = not address.email.isascii()
        for line in (Rcpt(address.email, utf8).to_bytes(), Mail(address.email, smtputf8=utf8).to_bytes()):
            assert line.count(b"\r") == line.count(b"\n") == 1
            assert line.endswith((b">\r\n", b"> SMTPUTF8\r\n"))
        mailbox = address.header_format
        assert [one.email for one in address_list(mailbox)] == [address.email]


def raw(data: bytes) -> None:
    """Octets of another program are a whole mail that ends where it ends, or were refused."""
    try:
        message = RawEmail.of(data, "a@b.example", ["c@d.example"]).stamped("<m@example.com>", WHEN)
    except MessageError:
        return
    for eight_bit in (True, False):
        content = message.render(eight_bit)
        head, blank, _ = content.data.partition(b"\r\n\r\n")
        assert blank
        assert b"".join(FIELD.findall(head + b"\r\n")) == head + b"\r\n"
        assert not re.search(rb"(?im)^(?:resent-)?bcc[ \t]*:", head)
        assert canonical(content.data) == content.data
        assert b"\r\n.\r\n" not in dot_stuffed(content.data)
        assert content.eight_bit is not content.data.isascii()
        assert content.utf8_headers is not head.isascii()
        assert RawEmail.of(content.data, "a@b.example", ["c@d.example"]).data


def replies(data: bytes) -> None:
    """What a server says is replies, or the end, however it is cut; nothing of it can act on a terminal or a log."""
    cut, said = data[:1], data[1:]
    whole = _heard([said])
    step = (cut[0] if cut else 0) % 11 + 1
    assert _heard([said[start : start + step] for start in range(0, len(said), step)]) == whole
    for reply in whole[0]:
        assert 200 <= reply.code <= 599
        assert 1 <= len(reply.lines) <= MAX_REPLY_LINES
        assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]", "".join(reply.lines))
        assert reply.enhanced is None or int(reply.enhanced[0]) == reply.code // 100
        assert not any(re.search("[a-z]{2}@", line) for line in masked_lines(reply.lines))
        if reply.is_positive:
            Capabilities.parse(reply)


def _heard(pieces: list[bytes]) -> tuple[list[Reply], str | None]:
    """Give the replies, and the kind of what ended them. A reader that failed fails for ever."""
    reader, heard, ended = ReplyReader(), [], None
    for piece in pieces:
        try:
            heard += reader.feed(piece)
        except ProtocolError as error:
            ended = error.message
            break
    try:
        reader.feed(b"")
    except ProtocolError as error:
        ended = error.message
        assert reader.failed
    return heard, ended


TARGETS: dict[str, Callable[[bytes], None]] = {
    "headers": headers,
    "addresses": addresses,
    "raw": raw,
    "replies": replies,
}
