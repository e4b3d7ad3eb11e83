"""What a server says it can do: its reply to EHLO, read once.

Law: nothing is believed that was said before TLS; the owner of a connection throws such an object away. A new
extension is one property here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from smtp_transport.protocol import grammar
from smtp_transport.reply import Reply


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
        value = "".join(self.keywords.get("SIZE", ())[:1])
        # No size has more than 20 digits (RFC 1870 section 3): a longer one is noise.
        return (int(value) or None) if value.isascii() and value.isdigit() and len(value) <= 20 else None

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


def _keywords(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Gather parameters by keyword; a keyword said twice has those of both lines."""
    gathered: dict[str, tuple[str, ...]] = {}
    for line in lines:
        # "AUTH=LOGIN PLAIN" was the form before RFC 2554, and old servers say it beside the new one.
        words = (line.replace("=", " ", 1) if line[:5].upper() == "AUTH=" else line).split()
        if words and grammar.KEYWORD.fullmatch(words[0]):
            keyword = words[0].upper()
            gathered[keyword] = gathered.get(keyword, ()) + tuple(words[1:])
    return gathered
