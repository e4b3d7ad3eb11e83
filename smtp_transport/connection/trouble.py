"""Errors of a conversation: each says in which phase it fell."""

import re
from typing import Final

from smtp_transport.errors import AuthenticationError, ErrorKind, ProtocolError, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.reply import Reply

# Anything that looks like an address, generously. The look-behind has a run of letters tried once, not once for each of
# its letters: a server chooses the text.
_ADDRESS: Final = re.compile(
    r'(?:"(?:[^"\\]|\\.){0,64}"|(?<![^\s<>()\[\],;:"])[^\s<>()\[\],;:"]+)@(?:\[[^\]\s]{0,64}\]|[^\s<>()\[\],;:"]+)'
)
_MAX_READ: Final = 2_048
_MAX_TOLD: Final = 200
_IN_DOUBT: Final = ": the mail may have been accepted"
_OUT_OF_STEP: Final = frozenset({ErrorKind.UNEXPECTED_RESPONSE, ErrorKind.INVALID_RESPONSE})


def at_phase(error: SmtpError, phase: Phase | None) -> SmtpError:
    """Give the same error with its phase, unless it has one."""
    if error.phase is not None or phase is None:
        return error
    return type(error)(_told(error.message, phase), error.kind, error.code, error.enhanced_code, phase)


def without_frames(error: SmtpError) -> SmtpError:
    """Give the same error, to be kept: the frames that it passed, and those behind it, hold the mail in variables."""
    chain: list[BaseException] = [error]
    for each in chain:
        each.__traceback__ = None
        chain += [other for other in (each.__cause__, each.__context__) if other is not None and other not in chain]
    return error


def is_out_of_step(error: SmtpError) -> bool:
    """Whether replies before this error may belong to other commands than we thought."""
    return isinstance(error, ProtocolError) and error.kind in _OUT_OF_STEP


def moved(error: SmtpError, phase: Phase) -> SmtpError:
    """Give the same error for a mail that had come to another phase by then."""
    if error.phase is phase and (phase is not Phase.DOT or error.message.endswith(_IN_DOUBT)):
        return error
    what = error.message
    if error.phase is not None:
        what = what.removesuffix(_IN_DOUBT).removesuffix(f", while {error.phase.telling}")
    return type(error)(_told(what, phase), error.kind, error.code, error.enhanced_code, phase)


def _told(what: str, phase: Phase) -> str:
    return f"{what}, while {phase.telling}{_IN_DOUBT if phase is Phase.DOT else ''}"


def refused(reply: Reply, phase: Phase) -> SmtpError:
    """Make an error of a refusal that no mail has a part in: of the greeting, EHLO, STARTTLS or RSET.

    The server's own words are often the only clue, so they are told, shortened and with addresses masked.
    """
    if reply.code == 421:
        return shutdown(reply, phase)
    words = _masked(" ".join(reply.lines))
    told = f"the server refused, while {phase.telling}: {words or 'no reason given'}"
    if reply.code == 530:
        return AuthenticationError(told, ErrorKind.AUTHENTICATION_REQUIRED, reply.code, reply.enhanced, phase)
    return ProtocolError(told, ErrorKind.UNEXPECTED_RESPONSE, reply.code, reply.enhanced, phase)


def _masked(words: str) -> str:
    """Shorten a server's words, and mask the addresses in them."""
    if len(words) > _MAX_READ:
        # Half an address would not look like one: cut between words, and outside of quotes.
        words = words[:_MAX_READ].rpartition(" ")[0]
        if words.count('"') % 2:
            words = words.rpartition('"')[0]
    return _ADDRESS.sub("***", words)[:_MAX_TOLD]


def shutdown(reply: Reply, phase: Phase | None) -> ProtocolError:
    """Make an error of a 421, with the server's words: "too many connections" and "going down" have other cures."""
    words = _masked(" ".join(reply.lines))
    told = "the server closes the connection" + (f" ({words})" if words else "")
    if phase is not None:
        told += f", while {phase.telling}"
    return ProtocolError(told, ErrorKind.SERVER_SHUTDOWN, reply.code, reply.enhanced, phase)
