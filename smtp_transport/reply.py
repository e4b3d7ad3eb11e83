"""What a server answered: one complete, possibly multi-line, SMTP reply (RFC 5321 section 4.2)."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply.

    `code` is 200..599. `enhanced` is the RFC 2034 status code ("5.1.1") or None, already cut off from `lines`.
    `lines` are the texts of the reply's lines, decoded as UTF-8 with replacement, without code and line end; not in
    the repr, because servers like to quote addresses.
    """

    code: int
    enhanced: str | None = None
    lines: tuple[str, ...] = field(default=(), repr=False)

    @property
    def text(self) -> str:
        """The lines joined by a newline."""
        return "\n".join(self.lines)

    @property
    def is_positive(self) -> bool:
        """2xx: done."""
        return 200 <= self.code <= 299

    @property
    def is_intermediate(self) -> bool:
        """3xx: go on."""
        return 300 <= self.code <= 399

    @property
    def is_transient(self) -> bool:
        """4xx: not now."""
        return 400 <= self.code <= 499

    @property
    def is_permanent(self) -> bool:
        """5xx: not this."""
        return 500 <= self.code <= 599

    @property
    def is_ready_for_data(self) -> bool:
        """354: the content may be sent."""
        return self.code == 354
