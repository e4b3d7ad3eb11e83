"""Several mails in flight: MAIL, RCPT and BDAT LAST of a whole window are written before the first reply is read.

RFC 3030 section 4.2 lets BDAT be pipelined. Law: once a mail's chunk begins to be written, the mail is in doubt until
its own reply comes, whatever happens to others in its window. RSET parts the mails of a window: servers differ on
whether a transaction is still open after its chunk was refused, and nobody can know when the window is written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from smtp_transport.connection.alone import carry_alone, hear_verdict
from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.course import Course
from smtp_transport.connection.footing import Footing
from smtp_transport.connection.pipelined import MOST_IN_FLIGHT, announce_pipelined
from smtp_transport.connection.transaction import Outgoing, Permit
from smtp_transport.connection.trouble import is_out_of_step, moved, shutdown
from smtp_transport.errors import CancelledError, ErrorKind, ProtocolError, SmtpConnectionError, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Command, LastChunk, Rset
from smtp_transport.protocol.machine import WHOLE
from smtp_transport.reply import Reply

_WRITE: Final = 262_144
"""Octets of one write: a mail that stands in a write that failed is in doubt, those behind it are not."""
_DOT: Final = Phase.DOT  # an enum looks its members up each time
_RESET: Final = Rset()
_RESET_LINE: Final = _RESET.to_bytes()


@dataclass(frozen=True, slots=True)
class Window:
    """How much may be in flight."""

    mails: int
    octets: int


def carry_chunked(
    talk: Conversation, course: Course, permit: Permit, bounds: Window, footing: Footing
) -> Iterator[None]:
    """Send mails as long as the link lasts; stop after each window. What became of each is noted."""
    while talk.usable and (first := course.peek()) is not None:
        window = _fill(course, bounds) if talk.takes_chunks else []
        if window:
            _send(talk, window, permit)
        elif _fits(first, bounds):
            # A server that refuses everybody, or knows no BDAT after all, may read content as commands (Postfix does
            # while it insists on TLS): so the first chunk of a link is announced before, and alone.
            course.take().in_one_chunk = True
            first.knows_chunks = footing.knows_chunks
            was_judged = carry_alone(talk, first, permit, announce_pipelined)
            talk.takes_chunks = was_judged and first.knows_chunks and talk.usable
            footing.knows_chunks = talk.takes_chunks or (talk.is_open and footing.knows_chunks)
        else:
            # Too large to be written blindly, or made while it is sent: a refusal is to be heard before the content.
            course.take()
            carry_alone(talk, first, permit, announce_pipelined)
        yield


def _fits(outgoing: Outgoing, bounds: Window) -> bool:
    return isinstance(outgoing.content, bytes) and outgoing.size <= bounds.octets


def _fill(course: Course, bounds: Window) -> list[Outgoing]:
    window: list[Outgoing] = []
    octets = commands = 0
    while len(window) < bounds.mails:
        candidate = course.peek()
        if candidate is None or not isinstance(candidate.content, bytes):
            break
        octets += candidate.size
        commands += len(candidate.whom) + 3
        if octets > bounds.octets or commands > MOST_IN_FLIGHT:
            break
        window.append(course.take())
    return window


def _send(talk: Conversation, window: list[Outgoing], permit: Permit) -> None:
    """Send a window, and hear all of it before anything is told of it: one reply too many shifts all behind it."""
    try:
        talk.overhear(Phase.MAIL)
    except SmtpError as error:
        # The others were not begun: nobody was asked to permit them.
        window[0].fates.fail(error)
        return
    going = _permitted(window, permit)
    with_reset = talk.in_transaction
    begun, trouble, verdicts = _write(talk, going, with_reset=with_reset)
    heard = 0
    for outgoing, verdict in zip(going, verdicts, strict=False):
        outgoing.fates.settle(outgoing.whom, _DOT, verdict)
        heard += 1
    while trouble is None and heard < begun:
        trouble = _hear(talk, going[heard], with_reset=with_reset or heard > 0)
        heard += 1
    if trouble is None and not talk.is_mute:
        trouble = _too_many(talk)
    if trouble is None and begun == len(going):
        for outgoing in going:
            outgoing.over()
    else:
        _give_up(going, begun, heard, trouble)
    if trouble is not None or talk.is_mute:
        talk.close()


def _give_up(going: list[Outgoing], begun: int, heard: int, trouble: SmtpError | None) -> None:
    """Note what broke a window: so many of its mails were begun, and so many of these heard of; the last met it."""
    shifted = trouble is not None and is_out_of_step(trouble)
    for number, outgoing in enumerate(going[:begun]):
        if shifted:
            outgoing.fates.forget(outgoing.whom)
        if trouble is None or (number < heard - 1 and not shifted):
            outgoing.over()
        else:
            outgoing.fates.fail(trouble)
    for outgoing in going[begun:]:
        outgoing.fates.fail(moved(trouble or _lost(), Phase.MAIL))


def _too_many(talk: Conversation) -> SmtpError | None:
    """Look whether the server has said more than it was asked for; a link that ends takes nothing from what it said."""
    try:
        talk.overhear(Phase.DOT)
    except SmtpError as error:
        return error if is_out_of_step(error) else None
    return None


def _permitted(window: list[Outgoing], permit: Permit) -> list[Outgoing]:
    """Ask for permission, once for all; those without it are done."""
    positions = [outgoing.fates.position for outgoing in window]
    allowed = permit(list(dict.fromkeys(positions)))
    if all(map(allowed.__contains__, positions)):
        return window
    going: list[Outgoing] = []
    for outgoing in window:
        if outgoing.position in allowed:
            going.append(outgoing)
        else:
            outgoing.fates.fail(CancelledError("the mail was not permitted to be committed", phase=Phase.MAIL))
    return going


def _write(
    talk: Conversation, going: list[Outgoing], *, with_reset: bool
) -> tuple[int, SmtpError | None, Sequence[Reply]]:
    """Write a window as far as it can be.

    Tell how many mails were begun, what broke if nothing can be heard, and the verdicts that were heard already.
    """
    begun = 0
    verdicts: Sequence[Reply] = ()
    for group in _writes(going):
        try:
            if not begun:
                talk.overhear(Phase.MAIL)  # permission took its time
            if with_reset or len(group) < len(going):
                talk.say(*_commands(group, with_reset=with_reset or begun > 0))
            else:
                verdicts = _leapt(talk, group)
        except SmtpError as error:
            return begun, error, ()
        begun += len(group)
        for outgoing in () if verdicts else group:
            outgoing.fates.stake(outgoing.whom)
        if talk.is_mute:
            break
    return begun, None, verdicts


def _leapt(talk: Conversation, window: list[Outgoing]) -> Sequence[Reply]:
    """Write a whole window and hear it; give the verdicts if all was accepted, else none: `talk.hear` tells each reply.

    Raises as `talk.say` does.
    """
    pieces: list[bytes] = []
    verdicts: list[int] = []
    count = -1  # nothing has to be reset before the first
    for outgoing in window:
        count += len(outgoing.whom) + 3
        verdicts.append(count - 1)
        assert isinstance(outgoing.content, bytes)  # noqa: S101 - tells mypy what `_fill` picks
        pieces += (outgoing.head, b"BDAT %d LAST\r\n" % outgoing.size, outgoing.content, _RESET_LINE)
    del pieces[-1]
    replies = talk.leap(WHOLE, count, b"".join(pieces), lambda: _commands(window, with_reset=False))
    return () if replies is None else [replies[number] for number in verdicts]


def _lost() -> SmtpError:
    return SmtpConnectionError("the link was lost before the mail was written", ErrorKind.CONNECTION_RESET)


def _writes(going: list[Outgoing]) -> Iterator[list[Outgoing]]:
    """Share a window out to writes, so that a failed one leaves no more mails in doubt than it must."""
    group: list[Outgoing] = []
    octets = 0
    for outgoing in going:
        octets += outgoing.size
        if group and octets > _WRITE:
            yield group
            group, octets = [], outgoing.size
        group.append(outgoing)
    if group:
        yield group


def _commands(group: list[Outgoing], *, with_reset: bool) -> list[Command]:
    commands: list[Command] = []
    for outgoing in group:
        if with_reset:
            commands.append(_RESET)
        with_reset = True
        commands.append(outgoing.announcement.mail)
        commands += outgoing.announcement.rcpts
        assert isinstance(outgoing.content, bytes)  # noqa: S101 - tells mypy what `_fill` picks
        commands.append(LastChunk(outgoing.size, outgoing.content))
    return commands


def _hear(talk: Conversation, outgoing: Outgoing, *, with_reset: bool) -> SmtpError | None:
    """Read the replies to one mail of the window; tell what broke, if the link can't go on."""
    fates, whom = outgoing.fates, outgoing.whom
    try:
        if with_reset:
            reply = talk.hear(Phase.DOT)
            if not reply.is_positive:
                # This mail may have got into the transaction of the one before, or the replies are shifted.
                if reply.code == 421:
                    return shutdown(reply, Phase.DOT)
                told = f"the server refused RSET between two mails: {reply.code}"
                return ProtocolError(told, ErrorKind.UNEXPECTED_RESPONSE, phase=Phase.DOT)
        reply = talk.hear(Phase.DOT)
        if not reply.is_positive:
            fates.settle(whom, Phase.MAIL, reply)
        for position in whom:
            reply = talk.hear(Phase.DOT)
            if not reply.is_positive:
                fates.settle((position,), Phase.RCPT, reply)
        hear_verdict(talk, outgoing, Phase.DOT, chunked=True)
    except SmtpError as error:
        return error
    return None
