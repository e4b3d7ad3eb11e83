"""What all workers of a relay share through Redis: how fast it is sent to, whether it works, how many connections.

Law: siblings, blind to each other and to mails. Each step is one script, by the server's clock. They raise what
the door to Redis raises, and decide nothing about a mail: whoever works a lane asks them and obeys.
"""

from mailworker.fleet.breaker import Admission, Breaker, BreakerPolicy, BreakerReport, BreakerState, Change
from mailworker.fleet.limiter import MOST_ITEMS, Bucket, Grant, Lesson, Limiter, Throttled
from mailworker.fleet.links import Holding, Links, LinksReport
from mailworker.fleet.names import FleetKeys, Read, Run, UnreadableKeyError
from mailworker.fleet.tokens import TokenAnswer, Tokens

__all__ = [
    "MOST_ITEMS",
    "Admission",
    "Breaker",
    "BreakerPolicy",
    "BreakerReport",
    "BreakerState",
    "Bucket",
    "Change",
    "FleetKeys",
    "Grant",
    "Holding",
    "Lesson",
    "Limiter",
    "Links",
    "LinksReport",
    "Read",
    "Run",
    "Throttled",
    "TokenAnswer",
    "Tokens",
    "UnreadableKeyError",
]
