"""Announce a mail one command at a time: for servers without PIPELINING."""

from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.transaction import Outgoing
from smtp_transport.connection.trouble import refused
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Data, Rset


def announce_in_lockstep(talk: Conversation, outgoing: Outgoing) -> bool:
    """Say MAIL, each RCPT and (but for BDAT) DATA, as long as there is a point in it; True if the content may be sent.

    Refusals are noted. Raises `SmtpError` when the link can't go on.
    """
    fates, whom = outgoing.fates, outgoing.whom
    if talk.in_transaction:
        reset = talk.ask(Rset())
        if not reset.is_positive:
            raise refused(reset, Phase.MAIL)
    opened = talk.ask(outgoing.mail)
    if not opened.is_positive:
        fates.settle(whom, Phase.MAIL, opened)
        return False
    for position, recipient in zip(whom, outgoing.recipients, strict=True):
        reply = talk.ask(recipient)
        if not reply.is_positive:
            fates.settle((position,), Phase.RCPT, reply)
    if not outgoing.is_wanted or outgoing.in_one_chunk:
        return outgoing.is_wanted
    reply = talk.ask(Data())
    if not reply.is_ready_for_data:
        fates.settle(whom, Phase.DATA, reply)
    return reply.is_ready_for_data
