"""The ways to talk to a server: which protocol, and how much is said before its replies are waited for."""

import enum


class WireProtocol(enum.Enum):
    """Who is at the other end."""

    SMTP = "smtp"
    """A relay, which queues: one final reply for a mail (RFC 5321)."""
    LMTP = "lmtp"
    """A mail store without a queue: one final reply for each recipient (RFC 2033)."""


class WireMode(enum.Enum):
    """How mails follow each other on one link, the slowest first."""

    LOCKSTEP = "lockstep"
    """One command a round trip: what every server can."""
    PIPELINED = "pipelined"
    """MAIL, every RCPT and DATA in one write (RFC 2920), then the content: two round trips a mail."""
    STREAMED = "streamed"
    """The content, its dot and the next mail's MAIL, RCPT and DATA in one write: one round trip a mail."""
    CHUNKED = "chunked"
    """MAIL, RCPT and BDAT LAST (RFC 3030) of several mails in flight: one round trip a window."""

    @property
    def rank(self) -> int:
        """0 for the slowest."""
        return _ORDER.index(self)

    @property
    def slower(self) -> "WireMode":
        """The mode one step down; the slowest is its own."""
        return _ORDER[max(0, self.rank - 1)]


_ORDER = tuple(WireMode)
