"""What stands between a client's `send` and the wire: the limiter, the breaker, and trying again; in this order.

Law: what may have been sent is not sent again, and who got a mail does not get it twice. Each wait is computed before
it begins, and ends when the client is shut down. What is counted is counted in one process: whoever sends from several
needs a queue that counts for all of them.
"""

from smtp_transport.resilience.breaker import CircuitBreaker, CircuitState
from smtp_transport.resilience.errand import Again, Errand, Outcome, Progress
from smtp_transport.resilience.limiter import RateLimiter
from smtp_transport.resilience.safeguards import Safeguards

__all__ = [
    "Again",
    "CircuitBreaker",
    "CircuitState",
    "Errand",
    "Outcome",
    "Progress",
    "RateLimiter",
    "Safeguards",
]
