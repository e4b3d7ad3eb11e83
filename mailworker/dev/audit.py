"""Compare what a mailbox holds with what was to be in it.

Law: everybody who was to get a letter has it exactly once, whole, and nobody else has anything. The standard library's
parser reads the mails, so the renderer is not its own witness. A fault names a letter by its number, never by address
or text.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from mailworker.dev.letters import NUMBER_HEADER, Letter
from mailworker.dev.mailbox import StoredMail

_PARSER = BytesParser(policy=policy.default)


def audit(letters: Sequence[Letter], mails: Iterable[StoredMail]) -> list[str]:
    """Give every fault found, one line each; an empty list means that all is as it must be."""
    by_number = {letter.number: letter for letter in letters}
    got: Counter[tuple[int, str]] = Counter()
    message_ids: dict[int, set[str]] = {letter.number: set() for letter in letters}
    faults = []
    for mail in mails:
        message = _parse(mail.content)
        number = str(message[NUMBER_HEADER])
        letter = by_number.get(int(number)) if number.isdecimal() else None
        if letter is None:
            faults.append(f"{mail.path.name}: is none of the letters")
            continue
        got.update((letter.number, address) for address in mail.recipients)
        message_ids[letter.number].add(str(message["Message-ID"]))
        faults += [f"letter {number}: {what}" for what in _differences(letter, message, mail)]
    return [*faults, *_miscounted(letters, got), *_misnamed(letters, message_ids)]


def _parse(content: bytes) -> EmailMessage:
    return _PARSER.parsebytes(content)


def _miscounted(letters: Iterable[Letter], got: Counter[tuple[int, str]]) -> Iterator[str]:
    for letter in letters:
        for address in letter.delivered_to:
            times = got.pop((letter.number, address), 0)
            if times != 1:
                place = letter.email.recipients.index(address) + 1
                what = "lost" if times == 0 else f"delivered {times} times"
                yield f"letter {letter.number}: {what} for recipient {place} of {len(letter.email.recipients)}"
    for (number, _), times in got.items():
        yield f"letter {number}: delivered {times} times to somebody who was not to get it"


def _misnamed(letters: Iterable[Letter], message_ids: dict[int, set[str]]) -> Iterator[str]:
    owners: Counter[str] = Counter(name for names in message_ids.values() for name in names)
    for letter in letters:
        names = message_ids[letter.number]
        if len(names) > 1:
            yield f"letter {letter.number}: has {len(names)} Message-IDs"
        if any(owners[name] > 1 for name in names):
            yield f"letter {letter.number}: shares its Message-ID with another letter"


def _differences(letter: Letter, message: EmailMessage, mail: StoredMail) -> Iterator[str]:
    email = letter.email
    headers = {
        "Subject": (email.subject, str(message["Subject"] or "")),
        "From": (email.from_.email, _addresses(message, "From")),
        "To": (",".join(address.email for address in email.to), _addresses(message, "To")),
        "Cc": (",".join(address.email for address in email.cc), _addresses(message, "Cc")),
    }
    if email.message_id is not None:
        headers["Message-ID"] = (email.message_id, str(message["Message-ID"]))
    yield from (f"its {name} is another" for name, (sent, came) in headers.items() if sent != came)
    if mail.sender != email.from_.email:
        yield "its envelope sender is another"
    if message["Bcc"] is not None or any(address.email.encode() in mail.content for address in email.bcc):
        yield "it shows who got it blindly"
    if not (message["Message-ID"] and message["Date"]):
        yield "it lacks Message-ID or Date"
    for kind, text in (("plain", email.text_body), ("html", email.html_body)):
        if _body(message, kind) != text:
            yield f"its {kind} text is another"
    files = Counter((file.filename, file.data) for file in email.attachments)
    attached = (part for part in message.walk() if part.get_content_disposition() == "attachment")
    if files != Counter((part.get_filename(), _data(part)) for part in attached):
        yield "its attachments are others"
    images = Counter((f"<{image.content_id}>", image.data) for image in email.inline_images)
    shown = (part for part in message.walk() if part.get_content_maintype() == "image" and part["Content-ID"])
    if images != Counter((str(part["Content-ID"]), _data(part)) for part in shown):
        yield "its inline images are others"
    if any(part.defects for part in message.walk()):
        yield "the parser found defects in it"


def _addresses(message: EmailMessage, name: str) -> str:
    header = message[name]
    return "" if header is None else ",".join(address.addr_spec for address in header.addresses)


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return None if part is None else str(part.get_content()).replace("\r\n", "\n")


def _data(part: EmailMessage) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""
