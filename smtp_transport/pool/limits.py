"""The pool's arithmetic: when a connection is too old, too idle or one too many. Pure; times are in seconds."""

from collections.abc import Sequence

from smtp_transport.config import PoolConfig

LIFETIME_SPREAD = 0.1
"""The part of `max_lifetime` over which retirements are spread, so that links opened together do not end together."""


def lifetime(limits: PoolConfig, chance: float) -> float:
    """Say how long a new link may live: from 90 % to all of `max_lifetime`, by a chance from 0 to 1."""
    return limits.max_lifetime * (1 - LIFETIME_SPREAD * chance)


def is_spent(age: float, allowed: float, mails: int, limits: PoolConfig) -> bool:
    """Whether a link has lived its lifetime or carried its number of mails."""
    return age >= allowed or (limits.max_messages is not None and mails >= limits.max_messages)


def needs_check(idle_for: float, limits: PoolConfig) -> bool:
    """Whether a link has been idle for so long that the server may have hung up."""
    return idle_for > min(limits.health_check_after, limits.idle_timeout)


def idled_out(idle_for: Sequence[float], limits: PoolConfig) -> int:
    """Say how many idle links must go, of links sorted by how long they have been idle, the longest first."""
    overdue = sum(seconds > limits.idle_timeout for seconds in idle_for)
    return max(0, min(overdue, len(idle_for) - limits.min_idle))


def surplus(idle: int, in_use: int, limits: PoolConfig) -> int:
    """Say how many idle links must go because the pool has become smaller than what it holds."""
    return max(0, min(idle, idle + in_use - limits.max_connections))


def has_room(in_use: int, limits: PoolConfig) -> bool:
    """Whether one more lease may be given; it takes an idle link if there is one."""
    return in_use < limits.max_connections


def fits(in_use: int, limits: PoolConfig) -> bool:
    """Whether a link that comes back, itself still counted, may stay."""
    return in_use <= limits.max_connections


def wants_ahead(idle: int, in_use: int, limits: PoolConfig) -> bool:
    """Whether one more link should be opened before it is asked for."""
    return idle < limits.min_idle and idle + in_use < limits.max_connections
