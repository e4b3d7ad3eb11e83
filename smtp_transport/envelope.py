"""The envelope and the content: all that one transaction carries, and the only thing message and wire share."""

from collections.abc import Callable
from dataclasses import dataclass, field


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
        return not (self.sender.isascii() and all(r.isascii() for r in self.recipients))


@dataclass(frozen=True, slots=True)
class Content:
    """A whole message in canonical form: every line ends with CRLF, nothing is dot-stuffed.

    `eight_bit`: some octet is above 127, so the server must offer 8BITMIME (RFC 6152).
    `utf8_headers`: a header holds raw UTF-8, so the server must offer SMTPUTF8 (RFC 6531).
    """

    data: bytes = field(repr=False)
    eight_bit: bool = False
    utf8_headers: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """One mail for the wire.

    `render(eight_bit)` gives the content, with 8-bit bodies only if `eight_bit` is true; it is called once the server's
    capabilities are known, and may be called again for another server. It must not block.
    """

    envelope: Envelope
    render: Callable[[bool], Content]
