"""What a client that is used alone, in one process, may do about limits, servers that are down, and refusals for now.

All of it is off unless it is configured: a queue that sends through many clients has to decide about these for all of
them together.
"""

import enum
import math
from typing import TYPE_CHECKING, Annotated, Required, Self, TypedDict, Unpack

from pydantic import Field, model_validator

from smtp_transport.fields import Frozen, Seconds

RefusalCode = Annotated[int, Field(ge=400, le=599)]


class RetryConditions(Frozen):
    """What is tried again, of mails that were certainly not sent.

    `connection_errors`: the server could not be reached, or the link broke before the final dot. `timeouts`: the same,
    because a deadline passed. `temporary_failures`: any reply 4xx. `error_codes`: these replies too.
    """

    connection_errors: bool = True
    timeouts: bool = True
    temporary_failures: bool = True
    error_codes: tuple[RefusalCode, ...] = (421, 450, 451, 452)


class RetryConfig(Frozen):
    """How often a mail is tried, and how long to wait in between.

    `max_attempts` counts the first one. The wait is `initial_delay` seconds at first and `multiplier` times as long
    each time, at most `max_delay`; with `jitter` anything from half of it to all of it, so that many do not come back
    at once.
    """

    enabled: bool = True
    max_attempts: int = Field(default=3, ge=1, le=100)
    initial_delay: Seconds = 0.5
    max_delay: Seconds = 30.0
    multiplier: float = Field(default=2.0, ge=1, le=100, allow_inf_nan=False)
    jitter: bool = True
    retry_on: RetryConditions = RetryConditions()

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.initial_delay > self.max_delay:
            raise ValueError(
                f"initial_delay: {self.initial_delay:g} s is above max_delay={self.max_delay:g}; lower it, or raise "
                "max_delay"
            )
        return self


class CircuitBreakerConfig(Frozen):
    """When a server is left alone, and when it is trusted again. Times are in seconds.

    `failure_threshold` failures within `failure_window` open the circuit: nothing is sent for `recovery_timeout`. Then
    mails probe it, `success_threshold` at once at most; so many successes close it, one failure opens it again.
    """

    enabled: bool = True
    failure_threshold: int = Field(default=5, ge=1, le=10_000)
    failure_window: Seconds = 60.0
    recovery_timeout: Seconds = 30.0
    success_threshold: int = Field(default=3, ge=1, le=1_000)


class RateLimitBehavior(enum.Enum):
    """What becomes of a mail for which there is no room now."""

    REJECT = "reject"
    """It fails with a `RateLimitError`."""
    WAIT = "wait"
    """The caller waits until there is room."""
    WAIT_WITH_TIMEOUT = "wait_with_timeout"
    """The caller waits if that takes no longer than `wait_timeout`; otherwise the mail fails at once."""


if TYPE_CHECKING:
    # What is taken is wider than what the fields hold; a caller's type checker hears it from here.
    class RateLimitConfigFields(TypedDict, total=False):
        """What `RateLimitConfig` may be given."""

        max_emails: Required[int]
        window: Required[float]
        max_connections: int | None
        on_limit: RateLimitBehavior | str
        wait_timeout: float | None


class RateLimitConfig(Frozen):
    """At most `max_emails` in any `window` seconds, and at most `max_connections` new connections (None: any number).

    A mail counts once, however often it is tried.
    """

    max_emails: int = Field(ge=1, le=1_000_000)
    window: Seconds
    max_connections: int | None = Field(default=None, ge=1, le=1_000_000)
    on_limit: RateLimitBehavior = RateLimitBehavior.REJECT
    wait_timeout: Seconds | None = None

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[RateLimitConfigFields]) -> None:
            """Check the fields. Raises pydantic.ValidationError."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        waits_so_long = self.on_limit is RateLimitBehavior.WAIT_WITH_TIMEOUT
        if waits_so_long and self.wait_timeout is None:
            raise ValueError("wait_timeout: on_limit='wait_with_timeout' needs it; give the seconds to wait at most")
        if self.wait_timeout is not None and not waits_so_long:
            raise ValueError("wait_timeout: only on_limit='wait_with_timeout' has one; set that, or drop wait_timeout")
        return self

    @property
    def patience(self) -> float:
        """Seconds that a caller is willing to wait for room."""
        if self.on_limit is RateLimitBehavior.WAIT:
            return math.inf
        return self.wait_timeout or 0.0
