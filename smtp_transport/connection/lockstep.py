"""Announce a mail one command at a time: for servers without PIPELINING."""

from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.pipelined import DATA
from smtp_transport.connection.transaction import Outgoing
from smtp_transport.connection.trouble import refused
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Data, Rset
from smtp_transport.protocol.machine import ASKED, NAMED, NAMED_TOO, OPENED


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
    if talk.leap(OPENED, 1, mail, lambda: (announced.mail,)) is None:
        reply = talk.hear()
        if not reply.is_positive:
            fates.settle(whom, Phase.MAIL, reply)
            return False
    is_wanted = _name(talk, outgoing, named)
    if not is_wanted or outgoing.in_one_chunk:
        return is_wanted
    if talk.leap(ASKED, 1, DATA, lambda: (Data(),)) is None:
        reply = talk.hear()
        if not reply.is_ready_for_data:
            fates.settle(whom, Phase.DATA, reply)
            return False
    return True


def _name(talk: Conversation, outgoing: Outgoing, lines: list[bytes]) -> bool:
    """Say each RCPT; True if one was accepted."""
    leap = NAMED
    for number, line in enumerate(lines):
        if talk.leap(leap, 1, line, lambda: (outgoing.announcement.rcpts[number],)) is None:  # noqa: B023 - called now or never
            reply = talk.hear()
            if not reply.is_positive:
                outgoing.fates.settle((outgoing.whom[number],), Phase.RCPT, reply)
                continue
        leap = NAMED_TOO
    return leap is NAMED_TOO
