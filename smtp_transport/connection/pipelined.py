"""Announce a mail in one round trip (RFC 2920): MAIL, all RCPT and DATA in one write, then all replies."""

from contextlib import suppress
from typing import Final

from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.transaction import Fates, Outgoing
from smtp_transport.connection.trouble import refused
from smtp_transport.errors import SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Command, Data, EndOfContent, Mail, Rcpt, Rset
from smtp_transport.reply import Reply

_GROUP: Final = 100
"""Commands in flight. If both sides filled their send buffers, both would wait for ever (RFC 2920 section 3.1)."""


def announce_pipelined(talk: Conversation, outgoing: Outgoing, fates: Fates) -> bool:
    """Say it all, then read what became of it; True if the content may be sent.

    Refusals are noted in `fates`. Raises `SmtpError` when the link can't go on.
    """
    reset = (Rset(),) if talk.in_transaction else ()
    commands: tuple[Command, ...] = (*reset, outgoing.mail, *outgoing.recipients, Data())
    first_recipient = len(reset) + 1
    reply = None
    for start in range(0, len(commands), _GROUP):
        group = commands[start : start + _GROUP]
        talk.say(*group)
        for position, command in enumerate(group, start - first_recipient):
            reply = talk.hear()
            _note(command, reply, position, fates)
        if not fates.pending:
            break
    if reply is None or not reply.is_ready_for_data:
        return False
    if fates.pending:
        return True
    # The server refused everyone and asks for the content all the same. An empty one ends it and reaches nobody; all
    # fates are known, so that even a link which breaks here takes nothing from this mail.
    with suppress(SmtpError):
        talk.ask(EndOfContent())
    return False


def _note(command: Command, reply: Reply, position: int, fates: Fates) -> None:
    match command:
        case Rset() if not reply.is_positive:
            raise refused(reply, Phase.MAIL)
        case Mail() if not reply.is_positive:
            fates.settle(Phase.MAIL, reply)
        case Rcpt() if not reply.is_positive:
            fates.settle(Phase.RCPT, reply, position)
        case Data() if not reply.is_ready_for_data:
            fates.settle(Phase.DATA, reply)
        case _:
            pass
