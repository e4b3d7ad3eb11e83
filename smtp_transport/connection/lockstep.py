"""Announce a mail one command at a time: for servers without PIPELINING."""

from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.transaction import Fates, Outgoing
from smtp_transport.connection.trouble import refused
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Data, Rset


def announce_in_lockstep(talk: Conversation, outgoing: Outgoing, fates: Fates) -> bool:
    """Say MAIL, each RCPT and DATA, as long as there is a point in it; True if the content may be sent.

    Refusals are noted in `fates`. Raises `SmtpError` when the link can't go on.
    """
    if talk.in_transaction:
        reset = talk.ask(Rset())
        if not reset.is_positive:
            raise refused(reset, Phase.MAIL)
    opened = talk.ask(outgoing.mail)
    if not opened.is_positive:
        fates.settle(Phase.MAIL, opened)
        return False
    for position, recipient in enumerate(outgoing.recipients):
        reply = talk.ask(recipient)
        if not reply.is_positive:
            fates.settle(Phase.RCPT, reply, position)
    if not fates.pending:
        return False
    reply = talk.ask(Data())
    if not reply.is_ready_for_data:
        fates.settle(Phase.DATA, reply)
    return reply.is_ready_for_data
