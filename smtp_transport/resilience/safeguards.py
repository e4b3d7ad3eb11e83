"""A client's limiter, breaker and patience, in the process that asks.

Law: a child of a fork begins with its own: what its parent counted, and what it had locked, is not taken over.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from smtp_transport.config import SmtpConfig
from smtp_transport.resilience.breaker import CircuitBreaker, CircuitState
from smtp_transport.resilience.clock import Clock, ProcessClock
from smtp_transport.resilience.limiter import RateLimiter
from smtp_transport.resilience_config import RetryConfig


@dataclass(frozen=True, slots=True)
class Guard:
    """What guards the mails of one process. What is None is off; mails wait for `limiter` no longer than `patience`."""

    clock: Clock
    limiter: RateLimiter | None
    patience: float
    breaker: CircuitBreaker | None
    retry: RetryConfig | None
    chance: Callable[[], float]


class Safeguards:
    """Makes a guard for each process. `clock` makes its clock, `chance` a number from 0 to 1 that spreads retries."""

    def __init__(
        self,
        config: SmtpConfig,
        changed: Callable[[CircuitState], None] = lambda _: None,
        clock: Callable[[], Clock] = ProcessClock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._changed = changed
        self._clock = clock
        self._chance = chance
        self._by_process: dict[int, Guard] = {}

    @classmethod
    def of(cls, config: SmtpConfig, changed: Callable[[CircuitState], None]) -> Self | None:
        """Give what the configuration asks for; None if it asks for nothing, so that nothing costs anything."""
        retry, breaker = config.retry, config.circuit_breaker
        has_retry = retry is not None and retry.enabled and retry.max_attempts > 1
        has_breaker = breaker is not None and breaker.enabled
        return cls(config, changed) if has_retry or has_breaker or config.rate_limit is not None else None

    def here(self) -> Guard:
        """Give this process's guard."""
        mine = os.getpid()
        guard = self._by_process.get(mine)
        # setdefault is atomic, so that no lock is needed that a fork could have frozen.
        return guard or self._by_process.setdefault(mine, self._made())

    def end(self) -> None:
        """Have nobody wait any longer."""
        self.here().clock.end()

    def _made(self) -> Guard:
        retry, breaker, limit = self._config.retry, self._config.circuit_breaker, self._config.rate_limit
        clock = self._clock()
        return Guard(
            clock,
            RateLimiter(limit.max_emails, limit.window, clock, "mails") if limit is not None else None,
            limit.patience if limit is not None else 0.0,
            CircuitBreaker(breaker, clock, self._changed) if breaker is not None and breaker.enabled else None,
            retry if retry is not None and retry.enabled else None,
            self._chance,
        )
