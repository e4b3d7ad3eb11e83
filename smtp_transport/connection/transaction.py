"""One mail in the words of the wire, for a server with these capabilities: one transaction, or several."""

import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from smtp_transport.connection.fates import Fates
from smtp_transport.envelope import Content, StreamedContent, Transaction
from smtp_transport.errors import ErrorKind, MessageError, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol import parameters
from smtp_transport.protocol.announcement import Announcement
from smtp_transport.protocol.capabilities import Capabilities, Limits
from smtp_transport.protocol.commands import BodyType
from smtp_transport.protocol.content import canonical, checked, dot_stuffed, dot_stuffed_chunks, measured

Permit = Callable[[Sequence[int]], Collection[int]]
"""Asked just before final dots are written, with the positions of the mails: answers which of them may be committed."""


_ALONE: Final = (0,)
"""The positions of a mail's one recipient."""


@dataclass(slots=True, eq=False)
class Outgoing:
    """One transaction of a mail: the mail's fates, and what is to be said for whom.

    `head` holds the lines of `announcement`; `is_first`: no other transaction of this mail comes before.
    `content` is canonical and not dot-stuffed, or as it is if `binary`. What is made while it is sent goes through
    `pieces` or `raw_pieces` to the wire.
    """

    fates: Fates = field(repr=False)
    whom: tuple[int, ...]
    announcement: Announcement
    head: bytes = field(repr=False)
    content: bytes | StreamedContent = field(repr=False)
    size: int
    is_first: bool = True
    binary: bool = False
    in_one_chunk: bool = False
    """Whether BDAT carries the content of a mail that goes alone: binary content, and the first before any window."""
    knows_chunks: bool = False
    """Whether the server has shown that it knows BDAT: else one octet goes ahead of the content, to find out."""

    @property
    def position(self) -> int:
        """The mail's position in the delivery."""
        return self.fates.position

    @property
    def is_wanted(self) -> bool:
        """Whether some recipient may still get the mail by this transaction."""
        return self.fates.awaits(self.whom)

    def over(self) -> None:
        """Note that this transaction has come to its end."""
        if self.fates.open:
            self.fates.open -= 1

    def pieces(self) -> Iterable[bytes]:
        """Give the content as DATA wants it. Raises `MessageError` in phase BODY if it cannot be made to its end."""
        if isinstance(self.content, StreamedContent):
            return dot_stuffed_chunks(_made(checked(self.content.chunks(), self.size)))
        return (dot_stuffed(self.content),)

    def raw_pieces(self) -> Iterable[bytes]:
        """Give the content as BDAT wants it. Raises as `pieces` does."""
        if isinstance(self.content, StreamedContent):
            return _made((measured if self.binary else checked)(self.content.chunks(), self.size))
        return (self.content,)


@dataclass(frozen=True, slots=True)
class Server:
    """What is known of the server when mails are prepared for it. `max_size` is what both sides allow, in octets.

    `under_tls`: the link is encrypted, and the server has proven who it is.
    """

    capabilities: Capabilities
    eight_bit_mime: bool
    smtputf8: bool
    takes_size: bool
    max_size: int | None
    limits: Limits
    under_tls: bool

    @classmethod
    def of(cls, capabilities: Capabilities, max_size: int | None = None, *, under_tls: bool = False) -> Self:
        """Read what the server offers once for many mails; `max_size` is the client's own bound."""
        bounds = [bound for bound in (capabilities.max_size, max_size) if bound is not None]
        return cls(
            capabilities,
            capabilities.eight_bit_mime,
            capabilities.smtputf8,
            capabilities.size,
            min(bounds, default=None),
            capabilities.limits,
            under_tls,
        )


def prepare(transaction: Transaction, fates: Fates, server: Server) -> list[Outgoing]:
    """Translate a mail for a server. Raises `MessageError` if it cannot be sent there; nothing has been written then.

    There is more than one transaction if the server takes fewer recipients in one (RFC 9422).
    """
    try:
        return _prepared(transaction, fates, server)
    except SmtpError:
        raise
    except Exception as error:  # noqa: BLE001 - `render` is foreign code: one bad mail must not stop those behind it
        raise _foreign(error, "the mail could not be rendered", Phase.MAIL) from None


def _prepared(transaction: Transaction, fates: Fates, server: Server) -> list[Outgoing]:
    envelope, options = transaction.envelope, transaction.options
    if not envelope.recipients:
        raise _unfit("the mail has no recipient", ErrorKind.INVALID_RECIPIENT_ADDRESS)
    content = transaction.render(server.eight_bit_mime)
    binary = options is not None and options.binary
    smtputf8 = envelope.needs_smtputf8 or content.utf8_headers
    if smtputf8 and not server.smtputf8:
        raise _unfit("the mail needs SMTPUTF8, which the server does not offer", ErrorKind.CAPABILITY_MISMATCH)
    if content.eight_bit and not (server.eight_bit_mime or binary):
        raise _unfit("the mail needs 8BITMIME, which the server does not offer", ErrorKind.CAPABILITY_MISMATCH)
    data = content.data if content.is_proven else _data(content, binary=binary)
    size = len(data) if isinstance(data, bytes) else data.size
    if server.max_size is not None and size > server.max_size:
        raise _unfit(f"the mail has {size} octets, {server.max_size} are allowed", ErrorKind.MESSAGE_TOO_LARGE)
    body = BodyType.BINARY if binary else BodyType.EIGHT_BIT if content.eight_bit else None
    announced = Announcement(envelope.sender, envelope.recipients, size if server.takes_size else None, body, smtputf8)
    if options is not None:
        if len(options.original_recipients) > len(envelope.recipients):
            told = "options.original_recipients: there are more of them than recipients of the mail"
            raise _unfit(told, ErrorKind.INVALID_RECIPIENT_ADDRESS)
        announced.parameters = parameters.of_mail(options, server.capabilities, under_tls=server.under_tls)
        wishes = [parameters.of_recipient(options, number) for number in range(len(envelope.recipients))]
        announced.wishes = tuple(wishes)
    groups = [_ALONE] if len(envelope.recipients) == 1 else split(envelope.recipients, server.limits)
    if len(groups) == 1:
        return [Outgoing(fates, groups[0], announced, announced.to_bytes(), data, size, True, binary, binary)]
    fates.open = len(groups)
    parts = [announced.part(whom) for whom in groups]
    return [
        Outgoing(fates, whom, part, part.to_bytes(), data, size, whom is groups[0], binary, binary)
        for part, whom in zip(parts, groups, strict=True)
    ]


def _data(content: Content, *, binary: bool) -> bytes | StreamedContent:
    if isinstance(content, StreamedContent):
        return content
    return content.data if binary else canonical(content.data)


def split(recipients: Sequence[str], limits: Limits) -> list[tuple[int, ...]]:
    """Share recipients out to transactions within the server's limits (RFC 9422): positions, in order in each."""
    if limits.recipients is None and limits.domains is None:
        return [tuple(range(len(recipients)))]
    most, most_domains = limits.recipients or len(recipients), limits.domains or len(recipients)
    by_domain: dict[str, list[int]] = {}
    for position, recipient in enumerate(recipients):
        by_domain.setdefault(recipient.rpartition("@")[2].lower(), []).append(position)
    groups: list[list[int]] = []
    domains = most_domains
    for positions in by_domain.values():
        rest = positions
        while rest:
            if not groups or len(groups[-1]) >= most or domains >= most_domains:
                groups.append([])
                domains = 0
            room = most - len(groups[-1])
            groups[-1] += rest[:room]
            rest = rest[room:]
            domains += 1
    return [tuple(sorted(group)) for group in groups]


def _made(content: Iterator[bytes]) -> Iterator[bytes]:
    """Make content while it is sent. Raises `MessageError` in phase BODY."""
    try:
        yield from content
    except MessageError as error:
        raise MessageError(error.message, error.kind, phase=Phase.BODY) from error.__cause__
    except Exception as error:  # noqa: BLE001 - foreign code, as `render` is
        raise _foreign(error, "the content could not be made", Phase.BODY) from None


def _foreign(error: Exception, what: str, phase: Phase) -> MessageError:
    """Tell of an exception of foreign code only its type and place: its text may hold parts of the mail."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    told = f"{what}: {type(error).__name__} in {place.name}, line {place.lineno}"
    return MessageError(told, ErrorKind.ENCODING_FAILED, phase=phase)


def _unfit(what: str, kind: ErrorKind) -> MessageError:
    return MessageError(what, kind, phase=Phase.MAIL)
