"""The envelope and the content: all that one transaction carries, and the only thing message and wire share."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from smtp_transport.options import DeliveryOptions


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends and who receives, as MAIL FROM and RCPT TO will say it.

    `sender` is the reverse-path without angle brackets; "" is the null reverse-path of a bounce (RFC 5321, 4.5.5).
    `recipients` are forward-paths, in the order in which their fates will be reported. Domains are in A-label form
    unless the transaction needs SMTPUTF8.
    """

    sender: str = field(repr=False)
    recipients: tuple[str, ...] = field(repr=False)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether some address cannot be written in ASCII (RFC 6531)."""
        return not (self.sender.isascii() and "".join(self.recipients).isascii())


@dataclass(frozen=True, slots=True)
class Content:
    """A whole message in canonical form: every line ends with CRLF, nothing is dot-stuffed.

    `eight_bit`: some octet is above 127, so the server must offer 8BITMIME (RFC 6152).
    `utf8_headers`: a header holds raw UTF-8, so the server must offer SMTPUTF8 (RFC 6531). `is_proven`: whoever made it
    knows the line ends to be canonical; otherwise they are looked at again, and repaired.
    """

    data: bytes = field(repr=False)
    eight_bit: bool = False
    utf8_headers: bool = False
    is_proven: bool = False

    @property
    def size(self) -> int:
        """Octets of the message."""
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        """Give the message in pieces."""
        yield self.data


class StreamedContent(Content):
    """A message that is made while it is sent, because all of it at once would need too much memory.

    `source` starts it anew each time, and its chunks are canonical and have `size` octets together: that is checked
    on the way to the wire, and a mail that breaks it is given up before its final dot. A source says what went wrong
    with a `MessageError`. `data` joins all of it.
    """

    __slots__ = ("_size", "_source")
    _size: int
    _source: Callable[[], Iterable[bytes]]

    def __init__(
        self,
        source: Callable[[], Iterable[bytes]],
        size: int,
        *,
        eight_bit: bool = False,
        utf8_headers: bool = False,
    ) -> None:
        """Keep the source; nothing is read yet."""
        for name, value in (
            ("_source", source),
            ("_size", size),
            ("eight_bit", eight_bit),
            ("utf8_headers", utf8_headers),
            ("is_proven", False),
        ):
            object.__setattr__(self, name, value)

    @property
    def data(self) -> bytes:
        """The whole message, made now."""
        return b"".join(self._source())

    @property
    def size(self) -> int:
        """Octets of the message, known before it is made."""
        return self._size

    def chunks(self) -> Iterator[bytes]:
        """Make the message, piece by piece."""
        yield from self._source()

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<StreamedContent of {self._size} octets>"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One mail for the wire.

    `render(eight_bit)` gives the content, with 8-bit bodies only if `eight_bit` is true; it is called once the server's
    capabilities are known, and may be called again for another server. It must not block. `options` are what the mail
    asks for besides.
    """

    envelope: Envelope
    render: Callable[[bool], Content]
    options: DeliveryOptions | None = None
