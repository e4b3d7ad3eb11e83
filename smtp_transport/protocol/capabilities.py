"""What a server says it can do: its reply to EHLO, read once.

Law: nothing is believed that was said before TLS; the owner of a connection throws such an object away. A new
extension is one property here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from smtp_transport.protocol import grammar
from smtp_transport.reply import Reply

_MOST_DIGITS: Final = 20
"""Of a size (RFC 1870 section 3); the bounds of other extensions are shorter."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server says it will take at most (RFC 9422 section 4); None where it names no bound.

    `mails`: transactions on one connection (MAILMAX). `recipients`: of one transaction (RCPTMAX). `domains`: different
    domains among them (RCPTDOMAINMAX).
    """

    mails: int | None = None
    recipients: int | None = None
    domains: int | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The keywords of a reply to EHLO (RFC 5321 section 4.1.1.1). Empty after HELO.

    `keywords`: in capitals, each with its parameters as the server wrote them. `raw`: the lines, save the first, which
    greets.
    """

    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    raw: tuple[str, ...] = ()

    @classmethod
    def parse(cls, reply: Reply) -> Self:
        """Read a positive reply to EHLO. Lines that are no keyword are kept in `raw` alone."""
        raw = reply.lines[1:]
        return cls(_keywords(raw), raw)

    def offers(self, keyword: str) -> bool:
        """Whether the keyword was there, in any case."""
        return keyword.upper() in self.keywords

    @property
    def max_size(self) -> int | None:
        """The largest content in octets; None if the server names none, 0 included (RFC 1870 section 4)."""
        return self._number("SIZE", 0)

    @property
    def auth_mechanisms(self) -> tuple[str, ...]:
        """Names of SASL mechanisms, in capitals and in the server's order (RFC 4954)."""
        return tuple(dict.fromkeys(name.upper() for name in self.keywords.get("AUTH", ())))

    @property
    def size(self) -> bool:
        """SIZE: MAIL may declare the size (RFC 1870)."""
        return "SIZE" in self.keywords

    @property
    def starttls(self) -> bool:
        """RFC 3207."""
        return "STARTTLS" in self.keywords

    @property
    def eight_bit_mime(self) -> bool:
        """RFC 6152."""
        return "8BITMIME" in self.keywords

    @property
    def pipelining(self) -> bool:
        """RFC 2920."""
        return "PIPELINING" in self.keywords

    @property
    def smtputf8(self) -> bool:
        """RFC 6531."""
        return "SMTPUTF8" in self.keywords

    @property
    def chunking(self) -> bool:
        """RFC 3030."""
        return "CHUNKING" in self.keywords

    @property
    def enhanced_status_codes(self) -> bool:
        """RFC 2034."""
        return "ENHANCEDSTATUSCODES" in self.keywords

    @property
    def dsn(self) -> bool:
        """RFC 3461."""
        return "DSN" in self.keywords

    @property
    def binary_mime(self) -> bool:
        """RFC 3030 section 3; of use with CHUNKING only."""
        return "BINARYMIME" in self.keywords and self.chunking

    @property
    def require_tls(self) -> bool:
        """RFC 8689."""
        return "REQUIRETLS" in self.keywords

    @property
    def deliver_by(self) -> bool:
        """RFC 2852."""
        return "DELIVERBY" in self.keywords

    @property
    def least_deliver_by(self) -> int | None:
        """The shortest deadline in seconds that the server takes; None if it names none (RFC 2852 section 3)."""
        return self._number("DELIVERBY", 0)

    @property
    def mt_priority(self) -> bool:
        """RFC 6710."""
        return "MT-PRIORITY" in self.keywords

    @property
    def mtrk(self) -> bool:
        """RFC 3885."""
        return "MTRK" in self.keywords

    @property
    def future_release(self) -> bool:
        """RFC 4865."""
        return "FUTURERELEASE" in self.keywords

    @property
    def longest_hold(self) -> int | None:
        """The longest delay in seconds; None if the server names none (RFC 4865 section 3)."""
        return self._number("FUTURERELEASE", 0)

    @property
    def latest_release(self) -> datetime | None:
        """The latest moment that a mail may be held until; None if the server names none (RFC 4865 section 3)."""
        try:
            found = datetime.fromisoformat("".join(self.keywords.get("FUTURERELEASE", ())[1:2]))
        except ValueError:
            return None
        return found if found.tzinfo else None

    @property
    def limits(self) -> Limits:
        """LIMITS (RFC 9422)."""
        told = dict(word.upper().partition("=")[::2] for word in self.keywords.get("LIMITS", ()))
        bounds = (_positive(told.get(name, "")) for name in ("MAILMAX", "RCPTMAX", "RCPTDOMAINMAX"))
        return Limits(*bounds)

    def _number(self, keyword: str, position: int) -> int | None:
        words = self.keywords.get(keyword, ())
        return _positive(words[position]) if len(words) > position else None


def _positive(text: str) -> int | None:
    """Read a bound; what is none, or has more digits than any bound has, is noise."""
    return (int(text) or None) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _keywords(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Gather parameters by keyword; a keyword said twice has those of both lines."""
    gathered: dict[str, list[str]] = {}
    for line in lines:
        # "AUTH=LOGIN PLAIN" was the form before RFC 2554, and old servers say it beside the new one.
        words = (line.replace("=", " ", 1) if line[:5].upper() == "AUTH=" else line).split()
        if words and grammar.KEYWORD.fullmatch(words[0]):
            gathered.setdefault(words[0].upper(), []).extend(words[1:])
    return {keyword: tuple(parameters) for keyword, parameters in gathered.items()}
