"""Announce a mail one command at a time: for servers without PIPELINING."""

from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.pipelined import DATA
from smtp_transport.connection.transaction import Outgoing
from smtp_transport.connection.trouble import refused
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Data, Rset
from smtp_transport.protocol.machine import ASKED, NAMED, NAMED_TOO, OPENED
from smtp_transport.reply import Reply


def announce_in_lockstep(talk: Conversation, outgoing: Outgoing) -> bool:
    """Say MAIL, each RCPT and (but for BDAT) DATA, as long as there is a point in it; True if the content may be sent.

    Refusals are noted. Raises `SmtpError` when the link can't go on.
    """
    fates, whom = outgoing.fates, outgoing.whom
    if talk.in_transaction:
        reset = talk.ask(Rset())
        if not reset.is_positive:
            raise refused(reset, Phase.MAIL)
    announced = outgoing.announcement
    mail, *named = outgoing.head.splitlines(keepends=True)
    reply = _told(talk, talk.leap(OPENED, 1, mail, lambda: (announced.mail,)))
    if not reply.is_positive:
        fates.settle(whom, Phase.MAIL, reply)
        return False
    leap = NAMED
    for number, (position, line) in enumerate(zip(whom, named, strict=True)):
        reply = _told(talk, talk.leap(leap, 1, line, lambda: (announced.rcpts[number],)))  # noqa: B023 - called now or never
        if reply.is_positive:
            leap = NAMED_TOO
        else:
            fates.settle((position,), Phase.RCPT, reply)
    if not outgoing.is_wanted or outgoing.in_one_chunk:
        return outgoing.is_wanted
    reply = _told(talk, talk.leap(ASKED, 1, DATA, lambda: (Data(),)))
    if not reply.is_ready_for_data:
        fates.settle(whom, Phase.DATA, reply)
    return reply.is_ready_for_data


def _told(talk: Conversation, replies: list[Reply] | None) -> Reply:
    return talk.hear() if replies is None else replies[0]
