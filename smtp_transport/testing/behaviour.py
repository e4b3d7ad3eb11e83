"""A server that does all right, as far as it was not told otherwise: SMTP with its usual extensions, or LMTP."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from smtp_transport.testing.peer import Departed, Peer
from smtp_transport.testing.plan import OCCASIONS, FaultPlan
from smtp_transport.testing.steps import HoldBack, Raw, Say, Step, ehlo_lines

_GREETING = "220 fault.test ESMTP"
_HELLOS = frozenset({"EHLO", "HELO", "LHLO"})
_REPLIES = {"STARTTLS": "220 go on", "DATA": "354 go on", "QUIT": "221 bye"}
_UNKNOWN_MECHANISM = "504 5.5.4 this server plays PLAIN and LOGIN; plan a reply for other mechanisms"
_OUT_OF_ORDER = "503 5.5.1 bad sequence of commands"


@dataclass(frozen=True)
class Behave:
    """Be a well-behaved server from here on, until QUIT or the client leaves.

    `replies` changes what is said to commands that start so: `{"RCPT TO:<bob@": "550 5.1.1 no such user"}`. The longest
    start wins. The reply to content is that of ".". What cannot follow is refused, as it would be by a real server.
    `capabilities` are EHLO's keywords, `after_tls` those that are offered under TLS instead. `faults` come before all
    that. `logins` are the passwords by user name that AUTH PLAIN and LOGIN take; None: any. `lmtp`: a final reply for
    each recipient. `greeting` is said first; None: the usual one, if nothing was said before. Raises TypeError for a
    field of another kind.
    """

    capabilities: tuple[str, ...] = ()
    replies: Mapping[str, str] = field(default_factory=dict)
    after_tls: tuple[str, ...] | None = None
    faults: FaultPlan | None = None
    logins: Mapping[str, str] | None = None
    lmtp: bool = False
    greeting: str | None = None

    def __post_init__(self) -> None:
        for name, words in (("capabilities", self.capabilities), ("after_tls", self.after_tls or ())):
            _check_texts(words, f"{name}: give a tuple of keywords, each with its parameters: ('SIZE 1000', ...)")
        _check_texts(
            [*self.replies, *self.replies.values()], "replies: give starts of commands and whole replies, in text"
        )
        if not isinstance(self.faults, FaultPlan | None):
            raise TypeError("faults: give a FaultPlan")

    def play(self, peer: Peer) -> None:
        """Answer every command."""
        Manners(self, peer).converse()


def _check_texts(texts: object, told: str) -> None:
    # Text alone would be taken for a list of its letters.
    if isinstance(texts, str) or not isinstance(texts, Iterable) or not all(isinstance(text, str) for text in texts):
        raise TypeError(told)


class Manners:
    """One conversation of a well-behaved server."""

    def __init__(self, told: Behave, peer: Peer) -> None:
        self._told = told
        self._peer = peer
        self._recipients: int | None = None  # None: no transaction is open
        self._chunks: list[bytes] = []

    def converse(self) -> None:
        """Greet, and answer until QUIT."""
        if self._told.greeting is not None or not self._peer.has_spoken:
            self._answer("CONNECT", self._told.greeting or _GREETING)
        while True:
            try:
                line = self._peer.read_line()
            except Departed:
                return
            verb = line.partition(" ")[0].upper()
            if verb == "BDAT":
                self._take_chunk(line)
            elif verb == "AUTH" and self._reply_to(line) is None and self._login(line):
                continue
            else:
                self._obey(line, verb)
            if verb == "QUIT":
                return

    def _obey(self, line: str, verb: str) -> None:
        out_of_order = (verb == "RCPT" and self._recipients is None) or (verb == "DATA" and not self._recipients)
        usual = _OUT_OF_ORDER if out_of_order else self._reply_to(line) or self._usual(verb)
        match verb, self._answer("EHLO" if verb in _HELLOS else verb, usual)[:1]:
            case "MAIL", "2":
                self._recipients, self._chunks = 0, []
            case "RCPT", "2":
                self._recipients = (self._recipients or 0) + 1
            case "DATA", "3":
                self._answer("BODY", "")
                self._peer.read_content()
                self._finish()
            case "STARTTLS", "2":
                if usual.startswith("2") and not self._peer.conversation.tls_version:
                    self._peer.start_tls()
                self._recipients = None
            case (("RSET" | "EHLO" | "HELO" | "LHLO"), _):
                self._recipients = None

    def _take_chunk(self, line: str) -> None:
        """RFC 3030: the octets come whatever the reply will be."""
        words = line.upper().split()
        size = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        chunk = self._peer.read_octets(size)
        if not self._recipients:
            self._answer("BDAT", _OUT_OF_ORDER)
            return
        self._chunks.append(chunk)
        if words[-1] == "LAST":
            self._peer.record_content(b"".join(self._chunks))
            self._finish()
        else:
            self._answer("BDAT", self._reply_to(line) or f"250 2.0.0 {size} octets")

    def _finish(self) -> None:
        replies = self._recipients or 0 if self._told.lmtp else 1
        self._recipients = None
        for _ in range(replies):
            self._answer("DOT", self._reply_to(".") or "250 2.0.0 ok")

    def _login(self, line: str) -> bool:
        """Ask for what AUTH PLAIN and LOGIN need; False if it is for others to answer."""
        _, mechanism, *initial = [*line.split(), ""]
        match mechanism.upper():
            case "PLAIN":
                user, _, password = self._decoded(initial[0] or self._ask(b"")).partition("\0")[2].partition("\0")
            case "LOGIN":
                user = self._decoded(initial[0] or self._ask(b"Username:"))
                password = self._decoded(self._ask(b"Password:"))
            case _:
                return False
        known = self._told.logins is None or self._told.logins.get(user) == password
        self._answer("AUTH", "235 2.7.0 welcome" if known else "535 5.7.8 these credentials are not known")
        return True

    def _ask(self, challenge: bytes) -> str:
        self._peer.send(b"334 " + base64.b64encode(challenge) + b"\r\n")
        return self._peer.read_line()

    @staticmethod
    def _decoded(response: str) -> str:
        try:
            return base64.b64decode(response).decode()
        except ValueError:  # no base64, or no UTF-8 in it
            return ""

    def _answer(self, occasion: str, usual: str) -> str:
        """Say this, or play the fault that is planned; give the reply that the client was told, or would have been."""
        plan = self._told.faults
        steps = plan.happen(occasion) if plan is not None and occasion in OCCASIONS else None
        if steps is None:
            if usual:
                self._peer.send(f"{usual}\r\n".encode())
            return usual
        for step in steps:
            step.play(self._peer)
        return next(_told_by(steps), usual)

    def _reply_to(self, line: str) -> str | None:
        told = [start for start in self._told.replies if line.upper().startswith(start.upper())]
        return self._told.replies[max(told, key=len)] if told else None

    def _usual(self, verb: str) -> str:
        if verb in {"EHLO", "LHLO"}:
            under_tls = self._peer.conversation.tls_version is not None and self._told.after_tls is not None
            return "\r\n".join(ehlo_lines(self._told.after_tls or () if under_tls else self._told.capabilities))
        return _UNKNOWN_MECHANISM if verb == "AUTH" else _REPLIES.get(verb, "250 2.0.0 ok")


def _told_by(steps: tuple[Step, ...]) -> Iterator[str]:
    for step in steps:
        if isinstance(step, Say | HoldBack) and step.lines:
            yield step.lines[-1]
        elif isinstance(step, Raw):
            yield step.data.decode(errors="replace")


def behaved(
    *capabilities: str,
    replies: Mapping[str, str] | None = None,
    faults: FaultPlan | None = None,
    after_tls: tuple[str, ...] | None = None,
    logins: Mapping[str, str] | None = None,
    lmtp: bool = False,
) -> tuple[Step, ...]:
    """Give the script of a server that greets and does all right, save for what it is told: see `Behave`."""
    return (Behave(capabilities, replies or {}, after_tls, faults, logins, lmtp, _GREETING),)
