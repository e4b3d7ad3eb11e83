"""Announce a mail in one round trip (RFC 2920): MAIL, all RCPT and DATA in one write, then all replies."""

from contextlib import suppress
from functools import partial
from typing import Final

from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.transaction import Outgoing
from smtp_transport.connection.trouble import refused
from smtp_transport.errors import SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Command, Data, EndOfContent, Mail, Rcpt, Rset
from smtp_transport.protocol.machine import ANNOUNCED
from smtp_transport.reply import Reply

MOST_IN_FLIGHT: Final = 100
"""Commands in flight. If both sides filled their send buffers, both would wait for ever (RFC 2920 section 3.1)."""

DATA: Final = Data().to_bytes()


def announce_pipelined(talk: Conversation, outgoing: Outgoing) -> bool:
    """Say it all, then read what became of it; True if the content may be sent.

    Refusals are noted. Raises `SmtpError` when the link can't go on.
    """
    count = len(outgoing.whom) + 2
    if outgoing.in_one_chunk or talk.in_transaction or count > MOST_IN_FLIGHT:
        reply = _in_groups(talk, outgoing)
    else:
        commands = partial(announcement, outgoing)
        if talk.leap(ANNOUNCED, count, outgoing.head + DATA, commands) is not None:
            return True
        reply = hear_announcement(talk, outgoing, commands())
    if outgoing.in_one_chunk or reply is None or not reply.is_ready_for_data:
        return outgoing.in_one_chunk and outgoing.is_wanted
    if outgoing.is_wanted:
        return True
    # The server refused everyone and asks for the content all the same. An empty one ends it and reaches nobody; all
    # fates are known, so that even a link which breaks here takes nothing from this mail.
    with suppress(SmtpError):
        talk.ask(EndOfContent())
    return False


def _in_groups(talk: Conversation, outgoing: Outgoing) -> Reply | None:
    """Say it in as many writes as it needs, while there is a point in it; give the last reply."""
    commands = announcement(outgoing, with_reset=talk.in_transaction)
    mail = next(number for number, command in enumerate(commands) if isinstance(command, Mail))
    reply = None
    for start in range(0, len(commands), MOST_IN_FLIGHT):
        group = commands[start : start + MOST_IN_FLIGHT]
        talk.say(*group)
        reply = hear_announcement(talk, outgoing, group, start - mail - 1)
        if not outgoing.is_wanted:
            break
    return reply


def announcement(outgoing: Outgoing, *, with_reset: bool = False) -> tuple[Command, ...]:
    """Give what announces a mail: DATA stands at its end, but for content that needs BDAT."""
    reset = (Rset(),) if with_reset else ()
    data = () if outgoing.in_one_chunk else (Data(),)
    return (*reset, outgoing.announcement.mail, *outgoing.announcement.rcpts, *data)


def hear_announcement(talk: Conversation, outgoing: Outgoing, commands: tuple[Command, ...], first: int = -1) -> Reply:
    """Read the replies to these commands, note refusals, and give the last reply.

    `first`: where the first of them stands, counted from the first RCPT.
    """
    fates, whom = outgoing.fates, outgoing.whom
    for number, command in enumerate(commands, first):
        reply = talk.hear()
        match command:
            case Rset() if not reply.is_positive:
                raise refused(reply, Phase.MAIL)
            case Mail() if not reply.is_positive:
                fates.settle(whom, Phase.MAIL, reply)
            case Rcpt() if not reply.is_positive:
                fates.settle((whom[number],), Phase.RCPT, reply)
            case Data() if not reply.is_ready_for_data:
                fates.settle(whom, Phase.DATA, reply)
            case _:
                pass
    return reply
