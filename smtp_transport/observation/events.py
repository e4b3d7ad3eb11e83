"""The events, in the order in which one mail meets them.

`at` is in seconds since the epoch, every duration in seconds. `connection` names a link, unique over processes, so that
events can be joined; it is "" for what belongs to no link. `transaction` counts MAIL commands on a link from 1, and is
0 for what belongs to no mail. A `...Started` and its `...Done` make a span; names follow the words of the protocol.
"""

from dataclasses import dataclass

from smtp_transport.errors import ErrorKind
from smtp_transport.phase import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened."""

    at: float
    connection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStarted(Event):
    """A client was given an email for so many recipients."""

    message_id: str
    recipients: int
    has_attachments: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDone(Event):
    """A client is done with an email. `error` is None if at least one recipient was accepted."""

    message_id: str
    accepted: int
    rejected: int
    duration: float
    error: ErrorKind | None
    code: int | None
    retryable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRetrying(Event):
    """A client will try an email again for so many recipients, `delay` seconds after attempt number `attempt`."""

    message_id: str
    attempt: int
    delay: float
    recipients: int
    error: ErrorKind
    code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitReached(Event):
    """A client's own limit is reached: the next email waits for `wait` seconds, or those that are left are rejected."""

    wait: float
    rejected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChanged(Event):
    """A client leaves the server alone ("open"), probes it ("half_open"), or trusts it again ("closed")."""

    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAcquired(Event):
    """A connection was leased after so many seconds, the time of opening it included."""

    lease: int
    waited: float
    reused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDenied(Event):
    """No connection could be leased: there was no place, or none could be opened."""

    waited: float
    error: ErrorKind | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReleased(Event):
    """A lease is over."""

    lease: int
    held: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectStarted(Event):
    """A link is being opened: name resolution, connecting and, if TLS is implicit, its handshake."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(Event):
    """The link stands; nothing was said yet. `tls_version` is None in clear text."""

    host: str
    port: int
    duration: float
    tls_version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed(Event):
    """There is no link."""

    host: str
    port: int
    duration: float
    error: ErrorKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsStarted(Event):
    """The handshake after STARTTLS begins."""

    server_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsDone(Event):
    """The handshake ended; `error` is None if the link is encrypted."""

    duration: float
    tls_version: str | None
    error: ErrorKind | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthStarted(Event):
    """A SASL exchange begins."""

    mechanism: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthDone(Event):
    """The server's verdict on a SASL exchange: 2xx if it knows the client now."""

    mechanism: str
    duration: float
    code: int
    enhanced_code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSent(Event):
    """One command. `line` is masked: one letter and the domain of an address, nothing of a secret."""

    verb: str
    line: str
    phase: Phase | None
    transaction: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSent(Event):
    """So many octets of content were written, as they go over the wire."""

    octets: int
    duration: float
    transaction: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyReceived(Event):
    """One reply to the command with this verb ("" for the greeting and for SASL responses).

    `lines` are shortened and masked. `duration` is the time since the command was written.
    """

    verb: str
    code: int
    enhanced_code: str | None
    lines: tuple[str, ...]
    phase: Phase | None
    duration: float
    transaction: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDone(Event):
    """One mail's way over a link ended. `delivery` counts mails on the link from 1.

    `phase` is the last one that was reached. `error` is what broke, None if nothing did: a refusal is no error.
    `in_doubt`: recipients that may have got the mail although no final reply came.
    """

    delivery: int
    accepted: int
    refused: int
    in_doubt: int
    phase: Phase
    code: int | None
    enhanced_code: str | None
    error: ErrorKind | None
    server_id: str | None
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """The link is gone, after so many seconds; `error` tells what broke it, if anything did."""

    duration: float
    error: ErrorKind | None
    message: str
