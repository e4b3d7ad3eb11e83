"""What a mail may ask of the servers on its way, beyond being delivered: DSN, deadlines, priority, secrecy, delay.

Law: these are values, checked when they are made; whether a server can grant them is found out when it is known.
"""

import base64
import enum
import hashlib
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

_ENVELOPE_ID: Final = re.compile(r"[\x20-\x7e]{1,100}")
_CERTIFIER: Final = re.compile(r"[A-Za-z0-9+/]{1,27}")
_LEAST_SECRET: Final = 16
_HIGHEST_SECONDS: Final = 999_999_999
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Notify(enum.Enum):
    """When a delivery status notification is wanted (RFC 3461 section 4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Return(enum.Enum):
    """How much of the mail a notification of failure brings back (RFC 3461 section 4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """The mail is worth delivering for so many `seconds` only (RFC 2852).

    `notify_only`: too late, it is delivered all the same, and the sender is told; otherwise it comes back, and
    `seconds` is above zero. `trace`: the sender is told where the mail goes to servers that know no deadlines.
    """

    seconds: int
    notify_only: bool = False
    trace: bool = False

    def __post_init__(self) -> None:
        if not _is_whole(self.seconds):
            raise ValueError("seconds: give a whole number")
        least = -_HIGHEST_SECONDS if self.notify_only else 1
        if not least <= self.seconds <= _HIGHEST_SECONDS:
            raise ValueError(f"seconds: from {least} to {_HIGHEST_SECONDS} (RFC 2852 section 4)")


@dataclass(frozen=True, slots=True)
class Tracking:
    """Servers on the way keep what became of the mail, for whoever knows a secret (RFC 3885).

    `certifier`: the secret's SHA-1 in base64 without padding, see `of`. `timeout`: for so many seconds; None: for as
    long as each server likes.
    """

    certifier: str = field(repr=False)
    timeout: int | None = None

    def __post_init__(self) -> None:
        if not (_is_a(str, self.certifier) and _CERTIFIER.fullmatch(self.certifier)):
            raise ValueError("certifier: give base64 without padding, or the secret to Tracking.of()")
        if self.timeout is not None and not (_is_whole(self.timeout) and 0 < self.timeout <= _HIGHEST_SECONDS):
            raise ValueError(f"timeout: from 1 to {_HIGHEST_SECONDS} seconds")

    @classmethod
    def of(cls, secret: bytes, timeout: int | None = None) -> "Tracking":
        """Make it of the secret, a random one of 16 octets or more, which is not kept."""
        if not _is_a(bytes, secret) or len(secret) < _LEAST_SECRET:
            raise ValueError(f"secret: give {_LEAST_SECRET} random octets or more, as of secrets.token_bytes()")
        digest = hashlib.sha1(secret).digest()  # noqa: S324 - what RFC 3885 asks for
        return cls(base64.b64encode(digest).decode().rstrip("="), timeout)


_KINDS: Final[tuple[tuple[tuple[str, ...], type, str], ...]] = (
    (("ret",), Return, "a Return"),
    (("envelope_id",), str, "text"),
    (("binary", "require_tls"), bool, "True or False"),
    (("deliver_by",), DeliverBy, "a DeliverBy"),
    (("tracking",), Tracking, "a Tracking"),
    (("priority", "hold_for"), int, "a whole number"),
    (("hold_until",), datetime, "a datetime"),
)
_MANY: Final[tuple[tuple[str, type, str], ...]] = (
    ("notify", Notify, "a set of Notify"),
    ("original_recipients", str, "addresses in the order of the recipients"),
)


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """Parameters of one mail's transaction. A server that lacks what one of them needs does not get the mail.

    `ret`, `envelope_id` (1 to 100 printable ASCII characters) and `notify` (for every recipient) are those of RFC 3461;
    so is `original_recipients`: addresses in the order of the envelope's recipients, "" where none is known. `binary`:
    the content is sent as it is, to servers with BINARYMIME and CHUNKING only (RFC 3030). `require_tls`: every server
    on the way must use TLS, or the mail comes back (RFC 8689); its opposite is the header `TLS-Required: No`, which
    belongs to the message. `priority` is from -9 to 9 (RFC 6710). `hold_for` (seconds) or `hold_until` (aware) delays
    the mail at the server (RFC 4865). `tracking` needs an `envelope_id` to ask by.
    """

    ret: Return | None = None
    envelope_id: str | None = field(default=None, repr=False)
    notify: AbstractSet[Notify] = frozenset()
    original_recipients: tuple[str, ...] = field(default=(), repr=False)
    binary: bool = False
    require_tls: bool = False
    deliver_by: DeliverBy | None = None
    priority: int | None = None
    hold_for: int | None = None
    hold_until: datetime | None = None
    tracking: Tracking | None = None

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.envelope_id is not None and not _ENVELOPE_ID.fullmatch(self.envelope_id):
            raise ValueError("envelope_id: give 1 to 100 printable ASCII characters (RFC 3461 section 4.4)")
        if Notify.NEVER in self.notify and len(self.notify) > 1:
            raise ValueError("notify: NEVER stands alone (RFC 3461 section 4.1)")
        if any(_CONTROL.search(address) for address in self.original_recipients):
            raise ValueError("original_recipients: an address cannot hold a control character")
        if self.priority is not None and not -9 <= self.priority <= 9:
            raise ValueError("priority: from -9 to 9 (RFC 6710 section 3)")
        if self.hold_for is not None and self.hold_until is not None:
            raise ValueError("hold_for, hold_until: a mail has one of them (RFC 4865 section 4)")
        if self.hold_for is not None and not 0 < self.hold_for <= _HIGHEST_SECONDS:
            raise ValueError(f"hold_for: from 1 to {_HIGHEST_SECONDS} seconds (RFC 4865 section 4)")
        if self.hold_until is not None:
            _check_moment(self.hold_until)
        if self.tracking is not None and self.envelope_id is None:
            raise ValueError("tracking: give an envelope_id too, by which the mail is asked for (RFC 3885)")

    def _check_kinds(self) -> None:
        for names, kind, told in _KINDS:
            for name in names:
                value = getattr(self, name)
                if value is not None and not (_is_whole(value) if kind is int else isinstance(value, kind)):
                    raise ValueError(f"{name}: give {told}")
        for name, each, told in _MANY:
            value = getattr(self, name)
            # Text is a sequence of text: one address alone would be taken for many. Of a mapping only the keys would be
            # read, and a set has no order: these are no lists of addresses.
            is_other = isinstance(value, (str, Mapping)) or (each is str and isinstance(value, AbstractSet))
            if is_other or not isinstance(value, Iterable) or not all(isinstance(one, each) for one in value):
                raise ValueError(f"{name}: give {told}, or none")
        object.__setattr__(self, "notify", frozenset(self.notify))
        object.__setattr__(self, "original_recipients", tuple(self.original_recipients))

    @property
    def needs_dsn(self) -> bool:
        """Whether some parameter is of RFC 3461."""
        return bool(self.ret or self.envelope_id or self.notify or any(self.original_recipients))


def _check_moment(when: datetime) -> None:
    if when.utcoffset() is None:
        raise ValueError("hold_until: give it with a time zone")
    try:
        when.astimezone(UTC)
    except OverflowError:
        raise ValueError("hold_until: it is out of range; give it in UTC") from None


def _is_a(kind: type, value: object) -> bool:
    """Look, where a type checker would say that it knows."""
    return isinstance(value, kind)


def _is_whole(value: object) -> bool:
    """Whether it is a number that is written with digits alone: `str(True)` is not."""
    return isinstance(value, int) and not isinstance(value, bool)
