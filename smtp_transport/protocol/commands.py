"""All that a client can say, one small frozen class for each command; and the base for commands of your own.

Law: a command that exists can be written: its parts are checked when it is made. `Command.to_bytes` is the only writer
of a command line. No repr shows an address or a secret.
"""

import base64
import enum
from dataclasses import dataclass
from typing import ClassVar, Final, final

from smtp_transport.errors import ErrorKind, MessageError, ProtocolError
from smtp_transport.protocol import grammar

Parameters = tuple[tuple[str, str | None], ...]
"""ESMTP parameters in the order in which they are written: keyword, and value or None (RFC 5321 section 4.1.1.11)."""

HIDDEN: Final = "***"
_WELL_FORMED: Final = frozenset({"", ".", "MAIL", "RCPT", "DATA", "BDAT", "RSET"})
"""Verbs that need no second look: none, the dot, and those of every mail."""
_SHORT: Final = 500
"""Printable ASCII of this length is a line without further question: no command has a smaller limit."""


class Command:
    """One command line. Make your own by a subclass with a `verb` and, if it has one, an `argument`.

    The machine lets a verb that it does not know pass once EHLO was said, in or out of a transaction, one at a time.
    """

    __slots__ = ()

    verb: ClassVar[str]
    limit: ClassVar[int] = grammar.MAX_COMMAND

    @property
    def argument(self) -> str:
        """What follows the verb and a space; "" if nothing does."""
        return ""

    @property
    def may_hold_utf8(self) -> bool:
        """Whether this command belongs to a transaction that was opened with SMTPUTF8."""
        return False

    @property
    def masked(self) -> str:
        """The line as a log may show it; all of the argument is hidden unless a subclass knows better."""
        return f"{self.verb} {HIDDEN}" if self.argument else self.verb

    @final
    def to_bytes(self) -> bytes:
        """Write the line, CRLF included; `ProtocolError` if anything in it cannot be part of a line."""
        verb, argument = self.verb, self.argument
        if verb not in _WELL_FORMED and not grammar.VERB.fullmatch(verb):
            raise ProtocolError("a verb is made of capital letters, digits and hyphens", ErrorKind.PROTOCOL)
        line = f"{verb} {argument}" if verb and argument else verb or argument
        if line.isascii() and line.isprintable() and len(line) <= _SHORT:
            return line.encode() + b"\r\n"
        return grammar.command_line(line, utf8=self.may_hold_utf8, limit=self.limit)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.masked}>"


@dataclass(frozen=True, slots=True, repr=False)
class _Hello(Command):
    """A greeting with the client's own name, a domain or an address literal."""

    name: str

    def __post_init__(self) -> None:
        if not grammar.is_ehlo_argument(self.name):
            raise ProtocolError("EHLO wants a domain or an address literal such as [192.0.2.1]", ErrorKind.PROTOCOL)

    @property
    def argument(self) -> str:
        """The name."""
        return self.name

    @property
    def masked(self) -> str:
        """The whole line: the client's own name is no secret."""
        return f"{self.verb} {self.name}"


class Ehlo(_Hello):
    """RFC 5321 section 4.1.1.1."""

    __slots__ = ()
    verb = "EHLO"


class Helo(_Hello):
    """The greeting of before ESMTP, for servers that know no EHLO."""

    __slots__ = ()
    verb = "HELO"


class Lhlo(_Hello):
    """The greeting of LMTP (RFC 2033 section 4.1)."""

    __slots__ = ()
    verb = "LHLO"


class StartTls(Command):
    """RFC 3207."""

    __slots__ = ()
    verb = "STARTTLS"


@dataclass(frozen=True, slots=True, repr=False)
class Auth(Command):
    """Begin a SASL exchange (RFC 4954 section 4). `initial` is the raw initial response, None for none."""

    verb: ClassVar[str] = "AUTH"

    mechanism: str
    initial: bytes | None = None

    def __post_init__(self) -> None:
        if not grammar.SASL_MECHANISM.fullmatch(self.mechanism):
            raise ProtocolError("this is not the name of a SASL mechanism", ErrorKind.PROTOCOL)

    @property
    def argument(self) -> str:
        """The mechanism, and the initial response in base64."""
        if self.initial is None:
            return self.mechanism
        # An empty initial response is told from none by "=" (RFC 4954 section 4).
        return f"{self.mechanism} {base64.b64encode(self.initial).decode() or '='}"

    @property
    def masked(self) -> str:
        """The mechanism is no secret."""
        return f"AUTH {self.mechanism}" + ("" if self.initial is None else f" {HIDDEN}")

    @property
    def is_short_enough(self) -> bool:
        """Whether the initial response may travel with the command; else it answers an empty challenge."""
        return len(self.argument) + len("AUTH \r\n") <= grammar.MAX_INITIAL_RESPONSE_LINE


@dataclass(frozen=True, slots=True, repr=False)
class AuthResponse(Command):
    """Answer a SASL challenge with these raw octets."""

    verb: ClassVar[str] = ""
    limit: ClassVar[int] = grammar.MAX_SASL_LINE

    data: bytes

    @property
    def argument(self) -> str:
        """The answer in base64."""
        return base64.b64encode(self.data).decode()

    @property
    def masked(self) -> str:
        """Nothing of it may be seen."""
        return HIDDEN


class AuthCancel(Command):
    """Give a SASL exchange up (RFC 4954 section 4)."""

    __slots__ = ()
    verb = ""

    @property
    def argument(self) -> str:
        """A star, which is no base64."""
        return "*"

    @property
    def masked(self) -> str:
        """The whole line."""
        return "*"


class BodyType(enum.Enum):
    """What the content is made of (RFC 6152, RFC 3030 section 3)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"
    BINARY = "BINARYMIME"


@dataclass(frozen=True, slots=True, repr=False)
class Mail(Command):
    """Open a transaction. `sender` has no angle brackets; "" is the null reverse-path. `size` is in octets (RFC 1870).

    Raises `MessageError` if the sender cannot be written, `ProtocolError` if a parameter cannot.
    """

    verb: ClassVar[str] = "MAIL"

    sender: str
    size: int | None = None
    body: BodyType | None = None
    smtputf8: bool = False
    parameters: Parameters = ()

    def __post_init__(self) -> None:
        if self.sender and not grammar.is_mailbox(self.sender, utf8=self.smtputf8):
            raise MessageError("the sender cannot be written as a reverse-path", ErrorKind.INVALID_FROM_ADDRESS)
        if self.size is not None and not isinstance(self.size, int):
            raise ProtocolError("a size is a number of octets", ErrorKind.PROTOCOL)
        if self.parameters:
            _check(self.parameters)

    @property
    def argument(self) -> str:
        """The reverse-path and the parameters."""
        size = f" SIZE={self.size:d}" if self.size is not None else ""
        body = f" BODY={self.body.value}" if self.body is not None else ""
        smtputf8 = " SMTPUTF8" if self.smtputf8 else ""
        return f"FROM:<{self.sender}>{size}{body}{smtputf8}{_written(self.parameters)}"

    @property
    def may_hold_utf8(self) -> bool:
        """As the transaction was opened."""
        return self.smtputf8

    @property
    def masked(self) -> str:
        """One letter and the domain of the sender, and the names of the parameters."""
        told = ((self.size, "SIZE"), (self.body, "BODY"), (self.smtputf8 or None, "SMTPUTF8"))
        names = "".join(f" {name}" for value, name in told if value is not None)
        return f"MAIL FROM:<{_masked(self.sender)}>{names}{_names(self.parameters)}"


@dataclass(frozen=True, slots=True, repr=False)
class Rcpt(Command):
    """Name one recipient, without angle brackets. `smtputf8`: the transaction was opened with SMTPUTF8.

    Raises `MessageError` if the recipient cannot be written, `ProtocolError` if a parameter cannot.
    """

    verb: ClassVar[str] = "RCPT"

    recipient: str
    smtputf8: bool = False
    parameters: Parameters = ()

    def __post_init__(self) -> None:
        # The one mailbox that needs no domain (RFC 5321 section 4.5.1).
        if not grammar.is_mailbox(self.recipient, utf8=self.smtputf8) and self.recipient.lower() != "postmaster":
            raise MessageError("a recipient cannot be written as a forward-path", ErrorKind.INVALID_RECIPIENT_ADDRESS)
        if self.parameters:
            _check(self.parameters)

    @property
    def argument(self) -> str:
        """The forward-path and the parameters."""
        return f"TO:<{self.recipient}>{_written(self.parameters)}"

    @property
    def may_hold_utf8(self) -> bool:
        """As the transaction was opened."""
        return self.smtputf8

    @property
    def masked(self) -> str:
        """One letter and the domain of the recipient, and the names of the parameters."""
        return f"RCPT TO:<{_masked(self.recipient)}>{_names(self.parameters)}"


class Data(Command):
    """Ask to send the content."""

    __slots__ = ()
    verb = "DATA"


@dataclass(frozen=True, slots=True, repr=False)
class Chunk(Command):
    """Send a part of the content (RFC 3030 section 2).

    So many octets follow the line at once: those of `content` if it is given, else the caller writes them.
    """

    verb: ClassVar[str] = "BDAT"

    octets: int
    content: bytes | None = None

    def __post_init__(self) -> None:
        if self.content is not None and len(self.content) != self.octets:
            raise ProtocolError("a chunk has not the size that it tells", ErrorKind.PROTOCOL)

    @property
    def argument(self) -> str:
        """The size."""
        return str(self.octets)

    @property
    def masked(self) -> str:
        """The whole line."""
        return f"BDAT {self.argument}"


class LastChunk(Chunk):
    """Send all of the content that is left, which commits the mail."""

    __slots__ = ()

    @property
    def argument(self) -> str:
        """The size, and that nothing comes after it."""
        return f"{self.octets} LAST"


class EndOfContent(Command):
    """The final dot, which commits the mail (RFC 5321 section 4.1.1.4). The content before it ends with CRLF."""

    __slots__ = ()
    verb = "."


class Rset(Command):
    """Drop the open transaction."""

    __slots__ = ()
    verb = "RSET"


class Noop(Command):
    """Do nothing, but answer."""

    __slots__ = ()
    verb = "NOOP"


class Quit(Command):
    """Say good-bye."""

    __slots__ = ()
    verb = "QUIT"


@dataclass(frozen=True, slots=True, repr=False)
class Vrfy(Command):
    """Ask whether a user or mailbox exists (RFC 5321 section 4.1.1.6)."""

    verb: ClassVar[str] = "VRFY"

    user: str

    @property
    def argument(self) -> str:
        """The user."""
        return self.user


@dataclass(frozen=True, slots=True, repr=False)
class Expn(Command):
    """Ask who is on a mailing list (RFC 5321 section 4.1.1.7)."""

    verb: ClassVar[str] = "EXPN"

    mailing_list: str

    @property
    def argument(self) -> str:
        """The list."""
        return self.mailing_list


def _check(parameters: Parameters) -> None:
    for keyword, value in parameters:
        if not grammar.KEYWORD.fullmatch(keyword) or not (value is None or grammar.PARAMETER_VALUE.fullmatch(value)):
            raise ProtocolError("an ESMTP parameter holds what it cannot hold", ErrorKind.PROTOCOL)


def _written(parameters: Parameters) -> str:
    if not parameters:
        return ""
    return "".join(f" {keyword}" if value is None else f" {keyword}={value}" for keyword, value in parameters)


def _names(parameters: Parameters) -> str:
    """Keywords alone: the values of ORCPT or AUTH are addresses."""
    return "".join(f" {keyword}" for keyword, _ in parameters)


def _masked(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}{HIDDEN}{at}{domain}" if at else (HIDDEN if address else "")
