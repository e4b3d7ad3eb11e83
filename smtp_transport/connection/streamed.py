"""One round trip a mail: its content, its dot and the next mail's announcement in one write.

RFC 2920 section 3.1 lets the content be the first of a group, and DATA the last.
"""

import enum
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from smtp_transport.connection.alone import MOST_AT_ONCE, carry_alone, fall, hear_verdict, look_back, may_commit
from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.course import Course
from smtp_transport.connection.pipelined import (
    DATA,
    MOST_IN_FLIGHT,
    announce_pipelined,
    announcement,
    hear_announcement,
)
from smtp_transport.connection.transaction import Outgoing, Permit
from smtp_transport.connection.trouble import is_out_of_step
from smtp_transport.errors import SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Command, EndOfContent
from smtp_transport.protocol.machine import ENDED, FOLLOWED

_END: Final = EndOfContent().to_bytes()
_BESIDES: Final = 3
"""Commands besides RCPT: the dot of the mail before, MAIL and DATA."""


class _Heard(enum.Enum):
    """How much of what was said with a content has been answered."""

    NOTHING = "nothing: the server gave up on the content, or is gone"
    VERDICT = "the content"
    ALL = "the content and the next mail's announcement, whose content is waited for"


_NOTHING, _VERDICT, _ALL = _Heard
_BODY: Final = Phase.BODY  # an enum takes its time to look a member up
_DOT: Final = Phase.DOT


def carry_streamed(talk: Conversation, course: Course, permit: Permit) -> Iterator[None]:
    """Send mails as long as the link lasts; stop after each that is done. What became of each is noted."""
    while talk.usable and course.peek() is not None:
        first = course.take()
        if not _fits(first):
            carry_alone(talk, first, permit, announce_pipelined)
            yield
            continue
        waiting = first if _announce(talk, first) else None
        yield
        while waiting is not None:
            waiting = _go_on(talk, course, waiting, permit)
            yield


def _announce(talk: Conversation, outgoing: Outgoing) -> bool:
    """Announce a mail; True if the server waits for its content."""
    try:
        talk.overhear(Phase.MAIL)
        if announce_pipelined(talk, outgoing):
            return True
        look_back(talk)
    except SmtpError as error:
        fall(talk, outgoing, error)
    else:
        outgoing.over()
    return False


def _go_on(talk: Conversation, course: Course, outgoing: Outgoing, permit: Permit) -> Outgoing | None:
    """Send the content that the server waits for, and announce the next mail; give that if it is waited for then."""
    following = course.peek()
    if following is not None and not _fits(following):
        following = None
    try:
        heard = _send(talk, outgoing, following, permit)
    except SmtpError as error:
        fall(talk, outgoing, error)
        return None
    is_waited_for = heard is _ALL
    if following is not None and heard is not _NOTHING:
        course.take()
        try:
            if heard is _VERDICT:
                is_waited_for = hear_announcement(talk, following, announcement(following)).is_ready_for_data
            if not is_waited_for:
                look_back(talk)
                following.over()
        except SmtpError as error:
            if is_out_of_step(error):
                # What was taken for the verdict on the content may have been none.
                outgoing.fates.forget(outgoing.whom)
                outgoing.fates.fail(error)
            fall(talk, following, error)
    outgoing.over()
    return following if is_waited_for else None


def _fits(outgoing: Outgoing) -> bool:
    return (
        isinstance(outgoing.content, bytes)
        and not outgoing.binary
        and outgoing.size <= MOST_AT_ONCE  # larger ones go alone, so that a server that gives up is heard
        and len(outgoing.whom) + _BESIDES <= MOST_IN_FLIGHT
    )


def _send(talk: Conversation, outgoing: Outgoing, following: Outgoing | None, permit: Permit) -> _Heard:
    """Write content and dot, with what announces the next mail, and hear what is said to the content.

    Raises `SmtpError` when the link can't go on.
    """
    if not outgoing.is_wanted:
        # The server refused everyone and asked for the content all the same: an empty one ends it and reaches nobody.
        # All fates are known, so that even a link which breaks here takes nothing from this mail.
        with suppress(SmtpError):
            talk.say(*_commands(following))
            talk.hear()
        return _VERDICT if talk.is_open else _NOTHING
    # There is no way back from 354 but to leave: every line is content until the dot.
    may_commit(outgoing, permit, _BODY)
    # What was said before the content is no reply to it. If it comes all the same, the replies behind it are shifted,
    # and the last, which is to ask for the next content, shows it: so right after the 354 nobody needs to look.
    if not (following is not None and talk.was_just_asked) and talk.overhear(_BODY):
        outgoing.fates.settle(outgoing.whom, _BODY, talk.hear())
        return _NOTHING
    outgoing.fates.stake(outgoing.whom)
    content = b"".join(outgoing.pieces())
    if following is None:
        replies = talk.leap(ENDED, 1, _END, lambda: _commands(None), content)
    else:
        count, lines = len(following.whom) + _BESIDES, _END + following.head + DATA
        replies = talk.leap(FOLLOWED, count, lines, lambda: _commands(following), content)
    if replies is None:
        hear_verdict(talk, outgoing, chunked=False)
        return _VERDICT
    outgoing.fates.settle(outgoing.whom, _DOT, replies[0])
    return _ALL


def _commands(following: Outgoing | None) -> tuple[Command, ...]:
    return (EndOfContent(), *(announcement(following) if following is not None else ()))
