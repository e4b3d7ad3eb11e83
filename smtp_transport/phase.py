"""The steps of an SMTP conversation, in the order in which they happen.

Law: a mail's phase only grows. What a failure means depends on the phase it fell into, and on nothing else as much.
"""

import enum


class Phase(enum.IntEnum):
    """How far a mail had come on its way through one conversation."""

    CONNECT = 1
    GREETING = 2
    EHLO = 3
    STARTTLS = 4
    TLS = 5
    AUTH = 6
    MAIL = 7
    RCPT = 8
    DATA = 9
    BODY = 10
    DOT = 11
    """The final dot (or last chunk) has begun to be written: the server may have taken the mail, whatever follows."""

    @property
    def telling(self) -> str:
        """What was going on, for an error's text."""
        return _TELLING[self]


_TELLING = {
    Phase.CONNECT: "connecting",
    Phase.GREETING: "waiting for the greeting",
    Phase.EHLO: "saying EHLO",
    Phase.STARTTLS: "asking for STARTTLS",
    Phase.TLS: "negotiating TLS",
    Phase.AUTH: "authenticating",
    Phase.MAIL: "sending MAIL FROM",
    Phase.RCPT: "sending RCPT TO",
    Phase.DATA: "asking to send the content",
    Phase.BODY: "sending the content",
    Phase.DOT: "waiting for the final reply",
}
