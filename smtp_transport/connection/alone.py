"""Carry one transaction to its end before the next is begun: announce it, then send the content."""

from collections.abc import Callable, Iterator
from typing import Final

from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.course import Course
from smtp_transport.connection.transaction import Outgoing, Permit
from smtp_transport.connection.trouble import is_out_of_step
from smtp_transport.errors import CancelledError, ErrorKind, ProtocolError, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Chunk, EndOfContent, LastChunk
from smtp_transport.reply import Reply

Announce = Callable[[Conversation, Outgoing], bool]
"""Opens a transaction; True if the content may be sent. Refusals are noted; raises when the link can't go on."""

MOST_AT_ONCE: Final = 131_072
"""Octets of content that go in one write with the final dot; a server that gives up on more of them is heard before."""

# Named once: an enum takes its time to look a member up.
_MAIL, _BODY, _DOT = Phase.MAIL, Phase.BODY, Phase.DOT

_NOT_UNDERSTOOD: Final = frozenset({500, 502, 503, 504})
"""What a server says to a verb that it does not know, or not here (RFC 5321 section 4.2.4)."""


def carry_one_by_one(talk: Conversation, course: Course, permit: Permit, announce: Announce) -> Iterator[None]:
    """Send mails as long as the link lasts; stop after each that is done. What became of each is noted."""
    while talk.usable and course.peek() is not None:
        carry_alone(talk, course.take(), permit, announce)
        yield


def carry_alone(talk: Conversation, outgoing: Outgoing, permit: Permit, announce: Announce) -> bool:
    """Send one mail; what became of it is noted. When the link can't go on, it is closed.

    True if the content was sent and judged; the link may be spent all the same.
    """
    try:
        talk.overhear(_MAIL)
        goes_on = announce(talk, outgoing)
        if goes_on:
            (_send_chunk if outgoing.in_one_chunk else _send_content)(talk, outgoing, permit)
        else:
            look_back(talk)
    except SmtpError as error:
        fall(talk, outgoing, error)
        return False
    outgoing.over()
    return goes_on


def look_back(talk: Conversation) -> None:
    """Look whether the server has said more than its refusals. Raises `ProtocolError` if so: all was shifted."""
    try:
        talk.overhear(Phase.DATA)
    except SmtpError as error:
        # A link that ends now takes nothing from what was said.
        if is_out_of_step(error):
            raise


def fall(talk: Conversation, outgoing: Outgoing, error: SmtpError) -> None:
    """Note what broke the link, and close it. Out of step, refusals noted before may have been meant for others."""
    if is_out_of_step(error) and error.phase is not Phase.DOT:
        outgoing.fates.forget(outgoing.whom)
    outgoing.fates.fail(error)
    talk.close()


def may_commit(outgoing: Outgoing, permit: Permit, phase: Phase) -> None:
    """Ask for permission; raises `CancelledError` if there is none."""
    position = outgoing.fates.position
    if position not in permit((position,)):
        raise CancelledError("the mail was not permitted to be committed", phase=phase)


def hear_verdict(talk: Conversation, outgoing: Outgoing, at_least: Phase | None = None, *, chunked: bool) -> None:
    """Wait for what the server says to the content: one reply, or with LMTP one for each who is pending.

    Raises `SmtpError` when the link can't go on. So it is after BDAT with a server that offers it and does not know it:
    it has read the content as commands, and the mail was not taken.
    """
    fates, whom = outgoing.fates, outgoing.whom
    if not (talk.lmtp or chunked):
        fates.settle(whom, _DOT, talk.hear(at_least))
        return
    pending = fates.pending(whom)
    for turn in [(position,) for position in pending] if talk.lmtp and pending else (whom,):
        reply = talk.hear(at_least)
        if chunked and pending and reply.code in _NOT_UNDERSTOOD:
            fates.unstake(whom)
            raise _no_chunks(reply)
        fates.settle(turn, _DOT, reply)


def _send_content(talk: Conversation, outgoing: Outgoing, permit: Permit) -> None:
    """Write the content, and the final dot if it may be; the server has said 354.

    Raises `SmtpError` when the link can't go on. Up to the dot nothing is sent as far as the server is concerned.
    """
    fates, whom = outgoing.fates, outgoing.whom
    at_once = isinstance(outgoing.content, bytes) and outgoing.size <= MOST_AT_ONCE
    # What came together with the 354 is here already; what comes now is found before the dot.
    gave_up = talk.hear() if talk.has_spoken() else None if at_once else talk.pour(outgoing.pieces())
    if gave_up is None:
        # There is no way back from 354 but to leave: every line is content until the dot.
        may_commit(outgoing, permit, _BODY)
        # What was said before the dot is no reply to it.
        gave_up = talk.hear() if talk.overhear(_BODY) else None
    if gave_up is None:
        fates.stake(whom)
        if not at_once:
            talk.say(EndOfContent())
        elif not talk.finish(b"".join(outgoing.pieces())):
            fates.unstake(whom)
            gave_up = talk.hear()
    if gave_up is None:
        hear_verdict(talk, outgoing, chunked=False)
    else:
        fates.settle(whom, _BODY, gave_up)


def _send_chunk(talk: Conversation, outgoing: Outgoing, permit: Permit) -> None:
    """Write the content as one chunk, which commits the mail with its last octet: so permission is asked before.

    Raises `SmtpError` when the link can't go on.
    """
    may_commit(outgoing, permit, _BODY)
    talk.overhear(_BODY)
    fates, whom = outgoing.fates, outgoing.whom
    pieces = iter(outgoing.raw_pieces())
    held, left = next(pieces, b""), outgoing.size
    if held and not outgoing.knows_chunks:
        if not _takes_an_octet(talk, outgoing, held[:1]):
            return
        held, left = held[1:], left - 1
    if not left:
        fates.stake(whom)
    talk.say(LastChunk(left))
    for piece in pieces:
        # The last piece is kept back until the content is known to be whole.
        gave_up = talk.pour((held,)) if held else None
        if gave_up is not None:
            _judged_too_early(talk, outgoing, gave_up, _BODY)
            return
        held = piece
    fates.stake(whom)
    gave_up = talk.pour((held,))
    if gave_up is None:
        hear_verdict(talk, outgoing, chunked=True)
    else:
        _judged_too_early(talk, outgoing, gave_up, _DOT)


def _judged_too_early(talk: Conversation, outgoing: Outgoing, reply: Reply, phase: Phase) -> None:
    """Note what the server said to a chunk of which it has not got all, and close the link.

    It may wait for the rest, and would take what is said next for content. Raises `ProtocolError` if it accepts: that
    was meant for something else.
    """
    talk.close()
    if reply.is_positive:
        told = "the server accepted content that it had not got"
        raise ProtocolError(told, ErrorKind.UNEXPECTED_RESPONSE, phase=phase)
    outgoing.fates.settle(outgoing.whom, phase, reply)


def _takes_an_octet(talk: Conversation, outgoing: Outgoing, octet: bytes) -> bool:
    """Send the first octet of the content as a chunk of its own; True if the server takes it, and so knows BDAT.

    A server that does not would read the content as commands, and whoever wrote the mail could give them. One octet
    without a line end is none. Raises `SmtpError` when the link can't go on.
    """
    reply = talk.ask(Chunk(1, octet))
    if reply.code in _NOT_UNDERSTOOD:
        raise _no_chunks(reply)
    outgoing.knows_chunks = reply.is_positive
    if not reply.is_positive:
        outgoing.fates.settle(outgoing.whom, Phase.DATA, reply)
    return outgoing.knows_chunks


def _no_chunks(reply: Reply) -> ProtocolError:
    told = f"the server offers CHUNKING and does not know BDAT: {reply.code}"
    return ProtocolError(told, ErrorKind.UNEXPECTED_RESPONSE, phase=Phase.DATA)
