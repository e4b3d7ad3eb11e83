"""What opens a transaction, MAIL and each RCPT: as commands, or as the lines to write.

Law: both are the same. The lines of a plain mail are put together here in one go, which costs a quarter; whatever is
not plain goes through the commands.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from smtp_transport.protocol.commands import BodyType, Mail, Parameters, Rcpt
from smtp_transport.protocol.grammar import is_mailbox

_BETWEEN: Final = ">\r\nRCPT TO:<"
_is_sender = functools.lru_cache(maxsize=64)(is_mailbox)
"""The same few send again and again."""


@dataclass(slots=True, eq=False, repr=False)
class Announcement:
    """The words of one transaction, as the fields of `Mail` and `Rcpt` tell them. Nothing is checked yet.

    `wishes` are the parameters of each recipient, () if none has any. Not frozen, because one is made for each mail.
    """

    sender: str
    recipients: tuple[str, ...]
    size: int | None = None
    body: BodyType | None = None
    smtputf8: bool = False
    parameters: Parameters = ()
    wishes: tuple[Parameters, ...] = ()

    @property
    def mail(self) -> Mail:
        """The first command."""
        return Mail(self.sender, self.size, self.body, self.smtputf8, self.parameters)

    @property
    def rcpts(self) -> tuple[Rcpt, ...]:
        """The others."""
        wishes = self.wishes or ((),) * len(self.recipients)
        named = zip(self.recipients, wishes, strict=True)
        return tuple([Rcpt(recipient, self.smtputf8, parameters) for recipient, parameters in named])

    def part(self, whom: Sequence[int]) -> "Announcement":
        """Give the same for those of the recipients alone who stand at these positions."""
        recipients = tuple([self.recipients[position] for position in whom])
        wishes = tuple([self.wishes[position] for position in whom]) if self.wishes else ()
        return replace(self, recipients=recipients, wishes=wishes)

    def to_bytes(self) -> bytes:
        """Write all lines. Raises `MessageError` or `ProtocolError` for what the commands cannot be made of."""
        sender, recipients = self.sender, self.recipients
        is_plain = not (self.smtputf8 or self.parameters or self.wishes) and _is_sender(sender)
        # A mailbox without SMTPUTF8 is printable ASCII, and too short to reach the limit of a line.
        if is_plain and (is_mailbox(recipients[0]) if len(recipients) == 1 else all(map(is_mailbox, recipients))):
            size = "" if self.size is None else f" SIZE={self.size}"
            body = "" if self.body is None else f" BODY={self.body.value}"
            return f"MAIL FROM:<{sender}>{size}{body}\r\nRCPT TO:<{_BETWEEN.join(recipients)}>\r\n".encode()
        return b"".join([command.to_bytes() for command in (self.mail, *self.rcpts)])
