"""Connections, lent out and taken back.

Law: places are counted under the lock, and bytes are moved outside it. A place belongs to a lease, and a lease that
nobody holds any more has given its place back, however its holder came to an end. What one process opened, no other
uses.
"""

from smtp_transport.pool.host_limits import HostLimits
from smtp_transport.pool.lease import PooledConnection
from smtp_transport.pool.pool import ConnectionPool, PoolStatus

__all__ = ["ConnectionPool", "HostLimits", "PoolStatus", "PooledConnection"]
