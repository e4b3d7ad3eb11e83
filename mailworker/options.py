"""How a mail is to be treated, in Celery's words, checked when it is said."""

import datetime as dt
from dataclasses import dataclass, field
from enum import Enum

from mailworker.keys import lane_of
from mailworker.policy.tenants import TENANT_NAMES, is_tenant
from mailworker.record import MOST_ATTEMPTS, InDoubt

MIN_PRIORITY, MAX_PRIORITY = 0, 9
DEFAULT_PRIORITY = 5
_MAX_KEY = 512
_TEN_YEARS = 10 * 366 * 86400


class RefusedError(ValueError):
    """An email or an option that cannot be accepted; the text names the field, the reason and the cure."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one mail. Raises RefusedError for what makes no sense.

    `countdown` is in seconds; `eta` and `expires` are aware datetimes (or `expires` in seconds from now); `priority` is
    0 to 9, 0 first, as Celery has it on Redis. The same `idempotency_key` in one lane makes one mail. In place of what
    the lane says: `max_attempts`, `max_age` in seconds from when the mail is first due, and `in_doubt`, "resend" or
    "hold". The tenants of a lane take turns: `tenant` names whose mail it is. `task_id`, if given, is the id that the
    mail shall have; `callbacks` whom to tell of its end, opaque.
    """

    lane: str = "default"
    countdown: float | None = None
    eta: dt.datetime | None = None
    expires: float | dt.datetime | None = None
    priority: int = DEFAULT_PRIORITY
    idempotency_key: str | None = None
    max_attempts: int | None = None
    max_age: float | None = None
    in_doubt: InDoubt | None = None
    task_id: str | None = None
    tenant: str | None = None
    callbacks: bytes = field(default=b"", repr=False)

    @property
    def is_for_later(self) -> bool:
        """Whether the mail is not to be sent at once."""
        return bool(self.countdown) or (self.eta is not None and self.eta > dt.datetime.now(dt.UTC))

    def __post_init__(self) -> None:
        """Check everything, types too: callers hand these over as they come."""
        for name, kinds, what in _KINDS:
            value = getattr(self, name)
            # An IntEnum is an int too: the email's own Priority, or True, would mean something else here.
            if value is not None and (isinstance(value, bool | Enum) or not isinstance(value, kinds)):
                raise RefusedError(f"{name}: must be {what}, not {type(value).__name__}")
        if not MIN_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise RefusedError("priority: must be an integer from 0 (first) to 9 (last)")
        if self.idempotency_key is not None and not 0 < len(self.idempotency_key) <= _MAX_KEY:
            raise RefusedError(f"idempotency_key: must be 1 to {_MAX_KEY} characters long")
        if self.max_attempts is not None and not 1 <= self.max_attempts <= MOST_ATTEMPTS:
            raise RefusedError(f"max_attempts: must be an integer from 1 to {MOST_ATTEMPTS}")
        if self.in_doubt not in (None, "resend", "hold"):
            raise RefusedError('in_doubt: must be "resend" or "hold"')
        if self.tenant is not None and not is_tenant(self.tenant):
            raise RefusedError(f"tenant: must be {TENANT_NAMES}")
        self._check_id()
        self._check_times()

    def _check_id(self) -> None:
        try:
            is_mail_id = self.task_id is None or lane_of(self.task_id) == self.lane
        except ValueError:
            is_mail_id = False
        if not is_mail_id:
            raise RefusedError(
                "task_id: must be the id of a mail of this lane; a key of your own goes into idempotency_key"
            )

    def _check_times(self) -> None:
        now = dt.datetime.now(dt.UTC)
        if self.countdown is not None and self.eta is not None:
            raise RefusedError("countdown and eta: give one of them")
        if self.expires is not None and self.max_age is not None:
            raise RefusedError("expires and max_age: give one of them")
        if self.max_age is not None and not 0 < self.max_age <= _TEN_YEARS:
            raise RefusedError("max_age: must be more than 0 seconds, and not more than ten years")
        if self.countdown is not None and not 0 <= self.countdown <= _TEN_YEARS:
            raise RefusedError("countdown: must be between 0 seconds and ten years")
        for name, moment in (("eta", self.eta), ("expires", self.expires)):
            if isinstance(moment, dt.datetime) and moment.utcoffset() is None:
                raise RefusedError(f"{name}: needs a time zone, e.g. datetime.now(timezone.utc) + timedelta(hours=1)")
        if self.eta is not None and (self.eta - now).total_seconds() > _TEN_YEARS:
            raise RefusedError("eta: must not be more than ten years away")
        left = (self.expires - now).total_seconds() if isinstance(self.expires, dt.datetime) else self.expires
        if left is not None and not 0 < left <= _TEN_YEARS:
            raise RefusedError("expires: must be in the future, and not more than ten years away")


_KINDS: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("lane", (str,), "the name of a lane"),
    ("countdown", (int, float), "a number of seconds"),
    ("eta", (dt.datetime,), "an aware datetime"),
    ("expires", (int, float, dt.datetime), "a number of seconds or an aware datetime"),
    ("priority", (int,), "an integer from 0 (first) to 9 (last)"),
    ("idempotency_key", (str,), "a string"),
    ("max_attempts", (int,), "an integer"),
    ("max_age", (int, float), "a number of seconds"),
    ("task_id", (str,), "the id of a mail"),
    ("tenant", (str,), "a string"),
    ("in_doubt", (str,), '"resend" or "hold"'),
)
