"""What goes into the ledger and what comes out of it: plain values, the same on both sides.

Law: nothing here knows Redis. Payload, envelope, `told` and notes are opaque to the ledger, and never shown in a repr.
Times are ms: durations by name (`delay_ms`), moments since the epoch and by the ledger's clock.
"""

import enum
from dataclasses import dataclass, field
from typing import Literal

from mailworker.keys import lane_of, made_at
from mailworker.policy.tenants import MOST_SHARE, is_tenant

# 2286 in ms; within what Lua and sorted sets hold exactly, even multiplied by a rank.
_LATEST = 10**13 - 1

MOST_ATTEMPTS = 1000
# After a crash or a lost link at the final dot: send again, flagged, or park for a person.
InDoubt = Literal["resend", "hold"]


class MailState(enum.StrEnum):
    """Where a mail is. The last seven are final: a mail never leaves them by itself."""

    SCHEDULED = "scheduled"
    READY = "ready"
    SENDING = "sending"
    DEFERRED = "deferred"
    SENT = "sent"
    PARTIAL = "partial"
    DEAD = "dead"
    IN_DOUBT = "in_doubt"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"

    @property
    def is_final(self) -> bool:
        """Whether the mail has ended."""
        return self in FINAL_STATES


FINAL_STATES = (
    MailState.SENT,
    MailState.PARTIAL,
    MailState.DEAD,
    MailState.IN_DOUBT,
    MailState.EXPIRED,
    MailState.CANCELLED,
    MailState.QUARANTINED,
)
# Kept in a list, for a person to look at.
PARKED_STATES = FINAL_STATES[1:]


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file that mails may share: what it is named by, and what it holds."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail to be accepted. Raises ValueError for values that the ledger cannot hold.

    `recipients`: how many. `priority`: 0 to 9, 0 first. `delay_ms` from now, or `due_ms`, a moment: not before then.
    `expires_in_ms` from now, `max_age_ms` from when it is due, or `expires_ms`: not after then. `key`: SHA-256 of an
    idempotency key, in hex. `max_attempts` and `in_doubt`: the mail's own word, in place of its lane's.
    `callbacks`: whom to tell of its end; opaque. `files`: what its payload refers to. `tenant`: whose mail it is, for
    the lane's tenants take turns; "" is nobody's. `share`: how many turns the tenant gets where another gets one.
    """

    id: str
    payload: bytes = field(repr=False)
    envelope: bytes = field(repr=False)
    recipients: int = 1
    priority: int = 0
    delay_ms: int = 0
    due_ms: int | None = None
    expires_in_ms: int | None = None
    expires_ms: int | None = None
    max_age_ms: int | None = None
    key: str | None = field(default=None, repr=False)
    max_attempts: int | None = None
    in_doubt: InDoubt | None = None
    callbacks: bytes = field(default=b"", repr=False)
    files: tuple[SharedFile, ...] = ()
    tenant: str = ""
    share: int = 1

    @property
    def file_bytes(self) -> int:
        """How large the files are together."""
        return sum(len(file.content) for file in self.files)

    def __post_init__(self) -> None:
        """Refuse what no script could make sense of."""
        lane_of(self.id)
        if not self.payload or self.recipients < 1:
            raise ValueError("a mail has a payload and a recipient")
        if not 0 <= self.priority <= 9:
            raise ValueError("a priority is 0 to 9")
        ends = [ms for ms in (self.expires_in_ms, self.expires_ms, self.max_age_ms) if ms is not None]
        if (self.delay_ms and self.due_ms is not None) or len(ends) > 1:
            raise ValueError("a time is given as a moment or counted from now, not both")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError("a mail is tried at least once")
        if not 1 <= self.share <= MOST_SHARE or (self.tenant and not is_tenant(self.tenant)):
            raise ValueError(f"a tenant has a name without blanks, and a share from 1 to {MOST_SHARE}")
        for ms in (self.delay_ms, self.due_ms, *ends):
            if ms is not None and not 0 <= ms <= _LATEST:
                raise ValueError("a time is out of range")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of one new mail: now `accepted`, `already` there under its id, or a `duplicate` of the mail `id`."""

    id: str
    status: Literal["accepted", "already", "duplicate"]

    @property
    def is_new(self) -> bool:
        """Whether this call made the mail."""
        return self.status == "accepted"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What became of the mails of one call, in their order. `bell_due`: the caller must publish a bell.

    `missing`: names of files that must be stored first; then nothing was done.
    """

    outcomes: tuple[Accepted, ...]
    bell_due: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claiming:
    """How much one claim may take: `limit` mails and `max_bytes` of payload, though always one mail if there is one.

    `lease_ms`: how long before the mails are given to others. `max_attempts`: a mail claimed more often is dead.
    `owner`: the process's name, by which others may find that it has ended; "": they wait until the lease is over.
    """

    limit: int
    max_bytes: int
    lease_ms: int
    max_attempts: int
    owner: str = ""

    def __post_init__(self) -> None:
        """Refuse a claim that could take nothing or hold nothing."""
        if not 1 <= self.limit <= 1000 or min(self.max_bytes, self.lease_ms, self.max_attempts) < 1:
            raise ValueError("a claim takes 1 to 1000 mails, and bytes, lease and attempts from 1 on")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claimed mail. `fence` proves the claim; `attempts` counts this one.

    `recipients` is a letter for each: p pending, d delivered, b bounced, i in doubt. `told`: b"" or what the last
    settlement said. `possible_duplicates`: how many earlier attempts may have delivered without our knowing.
    `max_attempts`, `in_doubt`: None where the lane's word holds.
    """

    id: str
    fence: int
    attempts: int
    payload: bytes = field(repr=False)
    envelope: bytes = field(repr=False)
    recipients: str
    told: bytes = field(repr=False)
    possible_duplicates: int
    priority: int
    accepted_ms: int
    expires_ms: int | None
    max_attempts: int | None = None
    in_doubt: InDoubt | None = None

    @property
    def created_ms(self) -> int:
        """When the producer made the mail, by its own clock."""
        return made_at(self.id)


@dataclass(frozen=True, slots=True)
class Ended:
    """A mail that ended without a verdict of its own: `dead` or `expired` where it stood in line."""

    id: str
    state: MailState


@dataclass(frozen=True, slots=True)
class Untold:
    """A mail that has ended and whose callbacks are due."""

    id: str
    state: MailState
    callbacks: bytes = field(repr=False)
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What a claim got. `paused_ms`: the lane is left alone for so long. `ready_left`: mails still in line.

    `ended`: mails that were given up instead of being claimed.
    """

    mails: tuple[Claim, ...]
    bell_due: bool
    paused_ms: int
    ready_left: int
    ended: tuple[Ended, ...] = ()


@dataclass(frozen=True, slots=True)
class Settlement:
    """The verdict on one attempt.

    `letters`: one for each recipient, in the claim's order: d, b or i; - or p leaves it as it is. `delay_ms`: when the
    pending ones are due again. `told`, `error`, `note`: for the record, empty for nothing: what servers said,
    sealed; why, in words of our own; one short line, a JSON object that is not empty, to which the ledger adds `at`,
    the time. `is_possible_duplicate`: the attempt may have delivered, and the mail will be sent again.
    `relay`: by which it went; "": by none. `is_untried`: nothing was tried, so that no attempt is counted.
    """

    claim: Claim
    letters: str
    delay_ms: int = 0
    told: bytes = field(default=b"", repr=False)
    error: str = field(default="", repr=False)
    note: str = field(default="", repr=False)
    is_possible_duplicate: bool = False
    relay: str = ""
    is_untried: bool = False

    @property
    def attempts(self) -> int:
        """How often the mail was tried by now."""
        return self.claim.attempts - self.is_untried

    def __post_init__(self) -> None:
        """Refuse verdicts that fit no recipient, and a note that would break the history."""
        if len(self.letters) != len(self.claim.recipients) or set(self.letters) - set("-pdbi"):
            raise ValueError("letters are one of - p d b i for each recipient")
        if not 0 <= self.delay_ms <= _LATEST:
            raise ValueError("a delay is out of range")
        if self.is_untried and self.is_possible_duplicate:
            raise ValueError("what was not tried is no duplicate")
        if self.note and (not self.note.startswith('{"') or "\n" in self.note):
            raise ValueError("a note is one line, a JSON object")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A claimed mail that cannot be read here, and why. `may_heal`: a key, or a newer version, could read it."""

    id: str
    fence: int
    reason: str
    may_heal: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Leave a lane alone: `base_ms` the first time, twice as long after each further failure, at most `cap_ms`."""

    base_ms: int
    cap_ms: int
    reason: str

    def __post_init__(self) -> None:
        """Refuse a pause that is none."""
        if not 1 <= self.base_ms <= self.cap_ms <= _LATEST:
            raise ValueError("a pause lasts at least 1 ms, and its cap is not below its base")


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep did, in mails, and the ids of those that ended.

    `more`: call again at once. `bell_due`: the caller must publish a bell.
    """

    due: int
    recovered: int
    expired: tuple[str, ...]
    in_doubt: tuple[str, ...]
    more: bool
    bell_due: bool


@dataclass(frozen=True, slots=True)
class Requeued:
    """What became of mails that were to be given another go: "ready", or the state that forbids it, or "unknown"."""

    states: tuple[str, ...]
    bell_due: bool


@dataclass(frozen=True, slots=True)
class MailRecord:
    """All that the ledger knows of a mail, save its payload. Fields as in `Claim`; `ended_ms` None: not final yet.

    `due_ms`: when a scheduled or deferred mail is looked at again. `phase`: "dot" while the end of the mail may be on
    the wire. `history`: lines of JSON, the newest last, at most 20. `payload_bytes`: 0 when it is gone.
    `relay`: which took the mail, or tried it last; "": none has.
    """

    id: str
    version: int
    state: MailState
    envelope: bytes = field(repr=False)
    recipients: str
    told: bytes = field(repr=False)
    attempts: int
    fence: int
    phase: str
    priority: int
    accepted_ms: int
    due_ms: int | None
    expires_ms: int | None
    ended_ms: int | None
    possible_duplicates: int
    key: str | None = field(repr=False)
    error: str = field(repr=False)
    history: tuple[str, ...] = field(repr=False)
    payload_bytes: int
    tenant: str = ""
    relay: str = ""

    @property
    def created_ms(self) -> int:
        """When the producer made the mail, by its own clock."""
        return made_at(self.id)


@dataclass(frozen=True, slots=True)
class LaneStats:
    """What a lane holds at one moment, in mails. `oldest_ready_age_ms`: None when nobody is in line.

    `paused_ms`: until it is looked at again; `pause_ends_ms`: until what it is paused for ends, None if nobody knows.

    `counts`, where not 0: accepted, delivered, partial, dead, in_doubt, expired, deferred, recovered,
    possible_duplicates, requeued, quarantined, cancelled; unreadable, how often a mail was put off because no key here
    opens it or a newer version wrote it; vanished, mails in line whose records were gone. `unreadable`: mails that wait
    for that reason.
    """

    ready: int
    due: int
    claims: int
    dead: int
    in_doubt: int
    quarantined: int
    unreadable: int
    oldest_ready_age_ms: int | None
    paused_ms: int
    pause_failures: int
    pause_reason: str
    is_paused_by_hand: bool
    pause_ends_ms: int | None
    counts: dict[str, int]
