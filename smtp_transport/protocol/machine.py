"""One table of what may be said when, and of what each reply does; and the machine that walks it.

Law: everything that affects the state of a conversation stands in `RULES` and in the few lines of `Machine._pair`.
Replies belong to commands in order. What the server may not do ends the conversation, and so the link, with a
`ProtocolError`; what the caller may not do is refused with kind COMMAND_SEQUENCE_ERROR before a byte is written.
"""

import enum
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from smtp_transport.errors import ErrorKind, ProtocolError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Chunk, Command, EndOfContent, LastChunk
from smtp_transport.protocol.replies import ReplyReader
from smtp_transport.reply import Reply


class State(enum.Enum):
    """Where a conversation stands, by the replies that have come."""

    GREETING = "greeting"
    """The server has not greeted yet."""
    START = "start"
    """EHLO has to come next: after the greeting, and again after TLS."""
    READY = "ready"
    """No transaction is open."""
    AUTH = "auth"
    """A SASL challenge waits for its answer."""
    TLS = "tls"
    """The server waits for the TLS handshake: no SMTP until it is done."""
    MAIL = "mail"
    """A transaction is open and has no recipient yet."""
    RCPT = "rcpt"
    """A transaction is open and has a recipient."""
    CONTENT = "content"
    """The server waits for the content."""
    CLOSED = "closed"
    """Nothing more may be said."""

    __hash__ = object.__hash__  # Enum's own is Python code, and is called for every command and every reply


_OPEN: Final = frozenset({State.MAIL, State.RCPT})
_HELLO_SAID: Final = frozenset({State.READY}) | _OPEN
_GREETED: Final = frozenset({State.START}) | _HELLO_SAID

STAY: Final = None
"""The outcome that leaves the state as it is."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. `outcomes`: by reply code or its first digit, the state that follows; the hoped-for one stands first.

    A reply without outcome is a violation. `legal`: states in which the command may be said, if all commands that still
    wait for their reply get the hoped-for one. `late`: further states in which a pipelined one may be accepted.
    `alone`: nothing may be pipelined behind it (RFC 2920 section 3.1). `once`: what may succeed only once in a session.
    """

    legal: frozenset[State]
    outcomes: Mapping[int, State | None]
    phase: Phase | None = None
    alone: bool = False
    once: str = ""
    late: frozenset[State] = frozenset()
    hoped: State | None = field(init=False)
    believable: frozenset[State] = field(init=False)
    is_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hoped", next(iter(self.outcomes.values())))
        object.__setattr__(self, "believable", self.legal | self.late)
        object.__setattr__(self, "is_plain", next(iter(self.outcomes)) == 2 and not self.once)


_REFUSED: Final[dict[int, State | None]] = {4: STAY, 5: STAY}
# 235 and no other 2xx is success (RFC 4954 section 6): one more reply to an earlier command must not look like a login.
_SASL: Final = {235: State.READY, 334: State.AUTH, 4: State.READY, 5: State.READY}

_GREETING: Final = Rule(frozenset(), {220: State.START, 4: State.CLOSED, 5: State.CLOSED}, Phase.GREETING, alone=True)
_HELLO: Final = Rule(_GREETED, {2: State.READY, **_REFUSED}, Phase.EHLO, alone=True)
_QUESTION: Final = Rule(_GREETED, {2: STAY, **_REFUSED}, alone=True)
_UNKNOWN: Final = Rule(_HELLO_SAID, {2: STAY, **_REFUSED}, alone=True)
_PART: Final = Rule(frozenset({State.RCPT}), {2: STAY, **_REFUSED}, Phase.DATA, alone=True)
"""BDAT without LAST: the transaction goes on."""
_GIVEN_UP: Final = EndOfContent()
_ALL: Final = Rule(frozenset({State.RCPT}), {2: State.READY, **_REFUSED}, Phase.DOT)
_COUNTED: Final = frozenset({Phase.MAIL, Phase.RCPT, Phase.DOT})

# 421 is in no row: it closes the conversation wherever it comes (RFC 5321 section 3.8).
RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "EHLO": _HELLO,
        "HELO": _HELLO,
        "LHLO": _HELLO,
        "STARTTLS": Rule(
            frozenset({State.READY}), {220: State.TLS, **_REFUSED}, Phase.STARTTLS, alone=True, once="STARTTLS"
        ),
        "AUTH": Rule(frozenset({State.READY}), _SASL, Phase.AUTH, alone=True, once="AUTH"),
        "": Rule(frozenset({State.AUTH}), _SASL, Phase.AUTH, alone=True, once="AUTH"),
        "MAIL": Rule(frozenset({State.READY}), {2: State.MAIL, **_REFUSED}, Phase.MAIL),
        "RCPT": Rule(_OPEN, {2: State.RCPT, **_REFUSED}, Phase.RCPT),
        # Some servers say 354 although they refused all recipients; a lone dot answers (RFC 2920 section 3.1).
        "DATA": Rule(
            frozenset({State.RCPT}),
            {354: State.CONTENT, **_REFUSED},
            Phase.DATA,
            alone=True,
            late=frozenset({State.MAIL}),
        ),
        ".": Rule(frozenset({State.CONTENT}), {2: State.READY, 4: State.READY, 5: State.READY}, Phase.DOT),
        # After a refusal servers differ on whether the transaction is still open (RFC 3030 section 4.2): RSET tells.
        "BDAT": _ALL,
        "RSET": Rule(_HELLO_SAID, {2: State.READY, **_REFUSED}, Phase.MAIL),
        "NOOP": _QUESTION,
        "VRFY": _QUESTION,
        "EXPN": _QUESTION,
        "QUIT": Rule(_GREETED, {2: State.CLOSED, 4: State.CLOSED, 5: State.CLOSED}, alone=True),
    }
)


@dataclass(frozen=True, slots=True)
class Leap:
    """What commands that are written at once come to if all goes as hoped; with `asks`, the last of them is DATA.

    `is_final`: a content is among them, and its server may say nothing before it has judged that.
    """

    start: State
    end: State
    asks: bool = False
    is_final: bool = False


WHOLE: Final = Leap(State.READY, State.READY, is_final=True)
"""MAIL, RCPT and BDAT LAST, of several mails with RSET between them."""
ANNOUNCED: Final = Leap(State.READY, State.CONTENT, asks=True)
"""MAIL, RCPT and DATA."""
FOLLOWED: Final = Leap(State.CONTENT, State.CONTENT, asks=True, is_final=True)
"""The dot, and then the same."""
OPENED: Final = Leap(State.READY, State.MAIL)
NAMED: Final = Leap(State.MAIL, State.RCPT)
NAMED_TOO: Final = Leap(State.RCPT, State.RCPT)
ASKED: Final = Leap(State.RCPT, State.CONTENT, asks=True)
ENDED: Final = Leap(State.CONTENT, State.READY, is_final=True)


class Exchange(NamedTuple):
    """A reply and the command it belongs to; None for the greeting."""

    command: Command | None
    reply: Reply


class Machine:
    """One conversation, from the greeting on. `lmtp`: content draws a reply for each recipient that was accepted."""

    __slots__ = ("_accepted", "_achieved", "_ahead", "_awaited", "_failure", "_lmtp", "_reader", "state")

    def __init__(self, *, lmtp: bool = False) -> None:
        self.state = State.GREETING
        self._lmtp = lmtp
        self._accepted = 0  # recipients of the open transaction whose final replies are to come
        self._ahead = State.GREETING  # where the conversation will stand if all goes as hoped
        self._awaited: deque[tuple[Command | None, Rule]] = deque([(None, _GREETING)])
        self._achieved: set[str] = set()
        self._reader = ReplyReader()
        self._failure: ProtocolError | None = None

    @property
    def awaits(self) -> int:
        """How many commands are still without reply."""
        return len(self._awaited)

    @property
    def failed(self) -> bool:
        """Whether the server broke the rules, so that the next `feed` raises."""
        return self._failure is not None or self._reader.failed

    @property
    def quiet(self) -> bool:
        """Whether the server has said nothing but what was taken: no half a reply, no broken rule."""
        return self._reader.idle and self._failure is None

    @property
    def settled(self) -> bool:
        """Whether a new transaction can follow, after RSET if one is open: all is answered, nothing is half-read."""
        return self.state in _HELLO_SAID and not self._awaited and self._failure is None and self._reader.idle

    @property
    def in_transaction(self) -> bool:
        """Whether RSET is needed before the next MAIL."""
        return self.state in _OPEN

    @property
    def phase(self) -> Phase | None:
        """The phase of the oldest command without reply, or of the content; None for commands outside a mail's way."""
        if self._awaited:
            return self._awaited[0][1].phase
        return {State.CONTENT: Phase.BODY, State.TLS: Phase.TLS}.get(self.state)

    def send(self, *commands: Command) -> bytes:
        """Give the bytes of these commands, and expect their replies.

        Raises `ProtocolError` with kind COMMAND_SEQUENCE_ERROR if one of them may not be said; then none is.
        """
        ahead = self._ahead
        waiting_alone = (
            self._failure is not None or self._reader.failed or (bool(self._awaited) and self._awaited[-1][1].alone)
        )
        lines: list[bytes] = []
        awaited: list[tuple[Command, Rule]] = []
        for command in commands:
            rule = RULES.get(command.verb, _UNKNOWN)
            if rule is _ALL and not isinstance(command, LastChunk):
                rule = _PART
            if waiting_alone or ahead not in rule.legal or (rule.once and rule.once in self._achieved):
                raise ProtocolError(
                    f"{command.verb or 'a SASL response'} may not be said now", ErrorKind.COMMAND_SEQUENCE_ERROR
                )
            lines.append(command.to_bytes())
            if isinstance(command, Chunk) and command.content is not None:
                lines.append(command.content)
            awaited.append((command, rule))
            ahead = rule.hoped or ahead
            waiting_alone = rule.alone
        if not self._awaited and not self._reader.idle:
            raise self._fail("the server spoke unasked")
        self._ahead = ahead
        self._awaited.extend(awaited)
        return b"".join(lines)

    def feed(self, data: bytes) -> list[Exchange]:
        """Take bytes from the server and give the replies that they complete, each with its command.

        Raises `ProtocolError` when the server breaks the rules. Exchanges before the fault are given first; then every
        call raises. Only what stands behind a 220 to STARTTLS raises at once, so that nobody starts TLS on it.
        """
        if self._failure:
            raise self._failure
        exchanges: list[Exchange] = []
        try:
            for reply in self._reader.feed(data):
                if self.state is State.TLS:
                    exchanges.clear()
                    raise self._fail("the server sent plaintext behind its 220 to STARTTLS")
                exchanges.append(self._pair(reply))
            if self.state is State.TLS and not self._reader.idle:
                exchanges.clear()
                raise self._fail("the server sent plaintext behind its 220 to STARTTLS")
        except ProtocolError as failure:
            self._failure = failure
            self.state = State.CLOSED
            if not exchanges:
                raise
        return exchanges

    def may_leap(self, leap: Leap) -> bool:
        """Whether these commands may be written now, and all that can be told of them is in their replies."""
        return (
            self.state is leap.start
            and self._reader.idle
            and self._failure is None
            and not (self._lmtp or self._awaited)
        )

    def leapt(self, leap: Leap, data: bytes, count: int) -> Sequence[Reply] | None:
        """Give the replies to commands that were not told to `send`, if they are `count` and what was hoped for.

        Otherwise None, and nothing has happened: tell `send` the commands and `feed` these bytes.
        """
        replies = self._reader.agreed(data, count, asks=leap.asks)
        if replies is not None:
            self.state = self._ahead = leap.end
        return replies

    def tls_started(self) -> None:
        """Forget all that was said in plaintext (RFC 3207 section 4.2); EHLO is next."""
        if self.state is not State.TLS or self._failure:
            raise ProtocolError("the server did not agree to start TLS", ErrorKind.COMMAND_SEQUENCE_ERROR)
        self.state = self._ahead = State.START
        self._achieved = {"STARTTLS"}

    def _pair(self, reply: Reply) -> Exchange:
        awaited = self._awaited
        if not awaited:
            return self._unasked(reply)
        command, rule = awaited.popleft()
        state, code = self.state, reply.code
        if code == 421 or state is State.CLOSED:
            self.state = State.CLOSED
        elif rule.is_plain and code < 300 and state in rule.legal:
            self.state = rule.hoped or state
        else:
            self.state = self._after(rule, reply)
        if self._lmtp and rule.phase in _COUNTED and self._is_one_of_many(rule, reply):
            awaited.appendleft((command, rule))
        if rule.once and code < 300:
            self._achieved.add(rule.once)
        if not awaited or self.state is State.CLOSED:
            self._ahead = self.state
        return Exchange(command, reply)

    def _is_one_of_many(self, rule: Rule, reply: Reply) -> bool:
        """Count recipients as they are accepted, and down again as each gets its final reply (RFC 2033 section 4.2)."""
        if self.state is State.CLOSED:
            return False
        if rule.phase is Phase.MAIL:
            self._accepted = 0
        elif rule.phase is Phase.RCPT:
            self._accepted += reply.is_positive
        else:
            self._accepted -= 1
            if self._accepted > 0:
                self.state = next(iter(rule.legal))
                return True
        return False

    def _after(self, rule: Rule, reply: Reply) -> State:
        outcomes, code = rule.outcomes, reply.code
        found = code if code in outcomes else code // 100
        if found not in outcomes:
            raise self._fail("the server gave a reply that its command cannot have", code)
        # Nothing can be accepted that stands on something refused: the replies belong to other commands than we think.
        # (The greeting stands on nothing: its row has no legal states.)
        if code < 400 and self.state not in rule.believable and rule.legal:
            raise self._fail("the server accepted a command that cannot follow", code)
        return outcomes[found] or self.state

    def _unasked(self, reply: Reply) -> Exchange:
        """A server may give up early, on the content or altogether; anything else unasked is out of step."""
        if self.state is State.CONTENT and reply.code >= 400:
            self.state = self._ahead = State.CLOSED
            return Exchange(_GIVEN_UP, reply)
        if reply.code == 421:
            raise ProtocolError(
                "the server closes the connection", ErrorKind.SERVER_SHUTDOWN, reply.code, reply.enhanced
            )
        raise self._fail("the server sent a reply that nothing asked for", reply.code)

    def _fail(self, what: str, code: int | None = None) -> ProtocolError:
        self.state = State.CLOSED
        # The code is told in words: as a field it would make a broken conversation look like the server's verdict.
        told = what if code is None else f"{what}: {code}"
        self._failure = ProtocolError(told, ErrorKind.UNEXPECTED_RESPONSE)
        return self._failure


def phase_of(command: Command) -> Phase | None:
    """Give the phase of a mail's way that the command belongs to; None if it belongs to none."""
    rule = RULES.get(command.verb, _UNKNOWN)
    return _PART.phase if rule is _ALL and not isinstance(command, LastChunk) else rule.phase
