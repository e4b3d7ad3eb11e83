"""What a client tells while it works: events, who may listen, and a transcript to keep.

Law: events are values. They hold no secret, no content and no whole address; whoever listens cannot change or stop a
delivery. Nothing is made when nobody listens.
"""

from smtp_transport.observation.events import (
    AuthDone,
    AuthStarted,
    CircuitChanged,
    Closed,
    CommandSent,
    Connected,
    ConnectFailed,
    ConnectStarted,
    DataSent,
    DeliveryDone,
    Event,
    PoolAcquired,
    PoolDenied,
    PoolReleased,
    RateLimitReached,
    ReplyReceived,
    SendDone,
    SendRetrying,
    SendStarted,
    TlsDone,
    TlsStarted,
)
from smtp_transport.observation.masking import masked_address, masked_lines, masked_text
from smtp_transport.observation.observers import Observer, Observers
from smtp_transport.observation.transcript import Transcript

__all__ = [
    "AuthDone",
    "AuthStarted",
    "CircuitChanged",
    "Closed",
    "CommandSent",
    "ConnectFailed",
    "ConnectStarted",
    "Connected",
    "DataSent",
    "DeliveryDone",
    "Event",
    "Observer",
    "Observers",
    "PoolAcquired",
    "PoolDenied",
    "PoolReleased",
    "RateLimitReached",
    "ReplyReceived",
    "SendDone",
    "SendRetrying",
    "SendStarted",
    "TlsDone",
    "TlsStarted",
    "Transcript",
    "masked_address",
    "masked_lines",
    "masked_text",
]
