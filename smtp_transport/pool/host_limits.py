"""How many connections all clients of a process may have to one server together."""

import os
import time
import weakref
from typing import Protocol

from smtp_transport.errors import ErrorKind, PoolError
from smtp_transport.pool.turns import Ticket, Turns


class Neighbour(Protocol):
    """A pool, as far as others that share its limit know it."""

    def give_up_idle(self) -> bool:
        """Close one idle connection, so that another pool can open one; whether there was one."""
        ...


class HostLimits:
    """Bounds the connections to each server, by host and port, of all clients that were given this object.

    Whoever finds the bound reached has an idle connection of another client closed, or waits in line until one comes
    back. After a fork each process counts its own.
    """

    def __init__(self, max_connections: int) -> None:
        """Allow so many connections to each server."""
        if max_connections < 1:
            raise ValueError("max_connections: at least one, or nobody could connect")
        self.max_connections = max_connections
        self._gates: dict[tuple[int, str], _Gate] = {}

    def take(self, host: str, asking: Neighbour, timeout: float, *, politely: bool = False) -> "HostPlace":
        """Wait up to `timeout` seconds for a place at a host. Raises `PoolError` (pool_exhausted, acquire_timeout).

        `politely`: take one only if nobody has to give one up for it.
        """
        gate = self._gate(host)
        place = HostPlace(gate)
        deadline = time.monotonic() + timeout
        with gate.lock:
            gate.neighbours.add(asking)
            gate.enqueue(place.ticket)
        try:
            while True:
                with gate.lock:
                    if len(gate.held) < self.max_connections and gate.is_next(place.ticket):
                        gate.admit(place.ticket, None)
                        return place
                    neighbours = [] if politely else [each for each in gate.neighbours if each is not asking]
                if any(neighbour.give_up_idle() for neighbour in neighbours):
                    continue
                if not place.ticket.bell.wait(deadline - time.monotonic()):
                    break
        except BaseException:
            place.leave()
            raise
        place.leave()
        told = f"all {self.max_connections} connections to {host} that host_limits allows are in use"
        raise PoolError(told, ErrorKind.ACQUIRE_TIMEOUT if timeout > 0 else ErrorKind.POOL_EXHAUSTED)

    def in_use(self, host: str) -> int:
        """Count this process's connections to a host, idle ones too."""
        return len(self._gate(host).held)

    def is_wanted(self, host: str) -> bool:
        """Whether somebody waits for a place at a host."""
        return self._gate(host).pending > 0

    def _gate(self, host: str) -> "_Gate":
        return self._gates.setdefault((os.getpid(), host), _Gate())


class _Gate(Turns[None]):
    def __init__(self) -> None:
        super().__init__()
        self.neighbours: weakref.WeakSet[Neighbour] = weakref.WeakSet()


class HostPlace:
    """A place at a host. It is given back when it is left, or when nobody has it any more."""

    def __init__(self, gate: _Gate) -> None:
        self._gate = gate
        self.ticket: Ticket = gate.ticket()

    def leave(self) -> None:
        """Give the place back; may be repeated."""
        self._gate.forget(self.ticket)

    def __del__(self) -> None:
        if hasattr(self, "ticket"):
            self.leave()
