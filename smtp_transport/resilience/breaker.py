"""Whether: a server that fails time and again is left alone for a while, and then tried with few mails.

Law: only what concerns the server as a whole counts, see `health`. Whoever was admitted before the last change has no
say about the state after it: the epoch tells. While half open no more probes are out than are needed to close it.
"""

import enum
import threading
from collections import deque
from collections.abc import Callable

from smtp_transport.errors import CircuitOpenError
from smtp_transport.resilience.health import Health
from smtp_transport.resilience_config import CircuitBreakerConfig


class CircuitState(enum.Enum):
    """Closed while the server works, open while it is left alone, half open while probes find out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Admission:
    """The leave to try `count` mails. `end` it, whatever happened; what became of them is told to `record` before."""

    __slots__ = ("_breaker", "_open", "count", "epoch", "is_probe")

    def __init__(self, breaker: "CircuitBreaker", count: int, epoch: int, *, is_probe: bool) -> None:
        self._breaker = breaker
        self._open = count
        self.count = count
        self.epoch = epoch
        self.is_probe = is_probe

    def record(self, health: Health, mails: int = 1) -> None:
        """Tell what one outcome, which so many mails share, says about the server."""
        mails = min(mails, self._open)
        self._open -= mails
        self._breaker.take_in(self, health, mails)

    def end(self) -> None:
        """Give back what was not used; may be repeated."""
        if self._open:
            self.record(Health.UNKNOWN, self._open)


class CircuitBreaker:
    """Counts failures and successes. `changed` is called after each change of state. Safe for threads."""

    def __init__(
        self,
        config: CircuitBreakerConfig,
        clock: Callable[[], float],
        changed: Callable[[CircuitState], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._changed = changed
        self._lock = threading.RLock()  # a signal handler may send a mail while its thread is in here
        self._state = CircuitState.CLOSED
        self._epoch = 0
        self._failures: deque[float] = deque(maxlen=config.failure_threshold)
        self._until = 0.0
        self._successes = 0
        self._probes = 0

    @property
    def state(self) -> CircuitState:
        """The state now; it is half open from the first probe on."""
        return self._state

    def admit(self, wanted: int) -> Admission:
        """Give leave for up to so many mails. Raises `CircuitOpenError` if none may go now."""
        with self._lock:
            now = self._clock()
            is_over = self._state is CircuitState.OPEN and now >= self._until
            if is_over:
                self._turn(CircuitState.HALF_OPEN)
            state, epoch, left = self._state, self._epoch, self._until - now
            count = wanted
            if state is CircuitState.HALF_OPEN:
                count = min(wanted, self._config.success_threshold - self._successes - self._probes)
                self._probes += count
        if state is CircuitState.OPEN:
            raise CircuitOpenError(f"the server failed too often, and is left alone for another {left:.1f} s")
        if not count:
            raise CircuitOpenError("the server failed too often, and others are finding out whether it is back")
        if is_over:
            self._changed(state)
        return Admission(self, count, epoch, is_probe=state is CircuitState.HALF_OPEN)

    def take_in(self, admission: Admission, health: Health, mails: int) -> None:
        """Count an outcome; only admissions call this."""
        with self._lock:
            if admission.epoch != self._epoch:
                return
            change = self._probed(health, mails) if self._state is CircuitState.HALF_OPEN else None
            if health is Health.BAD and (self._state is CircuitState.HALF_OPEN or self._is_too_much()):
                change = CircuitState.OPEN
            if change is not None:
                self._turn(change)
        if change is not None:
            self._changed(change)

    def _probed(self, health: Health, mails: int) -> CircuitState | None:
        """Count probes that came back; CLOSED if enough of them did well."""
        self._probes -= mails
        self._successes += mails if health is Health.GOOD else 0
        return CircuitState.CLOSED if self._successes >= self._config.success_threshold else None

    def _is_too_much(self) -> bool:
        """Count one more failure; whether those in the window are too many now."""
        now = self._clock()
        self._failures.append(now)
        is_full = len(self._failures) == self._config.failure_threshold
        return is_full and now - self._failures[0] < self._config.failure_window

    def _turn(self, state: CircuitState) -> None:
        self._state = state
        self._epoch += 1
        self._successes = self._probes = 0
        self._failures.clear()
        if state is CircuitState.OPEN:
            self._until = self._clock() + self._config.recovery_timeout
