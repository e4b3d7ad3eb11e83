"""One conversation with one server, from greeting to QUIT: the machine of `protocol` joined to a stream and a clock.

Law: one thread at a time; every wait has a deadline. A link that timed out or got out of step is closed and never used
again. What a mail met is told by its receipt, never by an exception; what prevented the link is raised by `open`.
"""

from smtp_transport.connection.footing import Footing, Stumble
from smtp_transport.connection.link import FAREWELL, Connection, ConnectionInfo
from smtp_transport.connection.transaction import Permit

__all__ = ["FAREWELL", "Connection", "ConnectionInfo", "Footing", "Permit", "Stumble"]
