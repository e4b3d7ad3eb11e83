"""The relays of a fleet's stage, in one process that nobody attacks: they fail on request and write down what they see.

Law: a mail is written down when its 250 is said. A connection counts from when it is let in until its end has come.
"""

import asyncio
import json
import select
import socket
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path

_GREETING = b"220 relay.test ESMTP\r\n"
_CAPABILITIES = b"250-relay.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
_DEAD = b"421 4.3.2 the service is not available\r\n"
_CROWDED = b"421 4.7.0 Too many concurrent SMTP connections\r\n"
_TOO_FAST = b"454 4.7.0 Throttling failure: Maximum sending rate exceeded.\r\n"


@dataclass
class Seen:
    """What a relay saw. Times by time.monotonic; `mails`: when, by whom, whose (the local part of the sender)."""

    mails: list[tuple[float, str, str]] = field(default_factory=list)
    throttled: list[float] = field(default_factory=list)
    let_in: list[float] = field(default_factory=list)
    crowded: list[float] = field(default_factory=list)
    dead: list[float] = field(default_factory=list)
    peak: int = 0
    peaked: float = 0.0
    # Who was there when there were never more: since when, the worker.
    crowd: list[tuple[float, str]] = field(default_factory=list)


@dataclass
class Relay:
    """How one relay behaves: `cap` connections, `rate` mails in any second (0: any number), `pace` seconds for each."""

    name: str
    cap: int = 0
    rate: int = 0
    pace: float = 0.0
    is_dead: bool = False
    open: int = 0
    there: set["Conversation"] = field(default_factory=set)
    seen: Seen = field(default_factory=Seen)
    recent: deque[float] = field(default_factory=deque)

    def takes(self, now: float) -> bool:
        while self.recent and self.recent[0] <= now - 1.0:
            self.recent.popleft()
        if self.rate and len(self.recent) >= self.rate:
            return False
        self.recent.append(now)
        return True


class Conversation(asyncio.Protocol):
    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.buffer = b""
        self.is_content = self.counts = self.is_busy = False
        self.worker = self.sender = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        relay, now = self.relay, time.monotonic()
        if relay.is_dead:
            relay.seen.dead.append(now)
            self._leave(_DEAD)
        elif relay.cap and relay.open >= relay.cap:
            relay.seen.crowded.append(now)
            self._leave(_CROWDED)
        else:
            relay.seen.let_in.append(now)
            relay.open += 1
            self.since = now
            relay.there.add(self)
            self.counts = True
            if relay.open > relay.seen.peak:
                self._note_peak(now)
            transport.write(_GREETING)

    def _note_peak(self, now: float) -> None:
        # The end of one may have come before this one and not have been read yet, for the loop has an order of its own.
        there = [each for each in self.relay.there if not each.has_been_left()]
        seen = self.relay.seen
        if len(there) > seen.peak:
            seen.peak, seen.peaked = len(there), now
            seen.crowd = [(each.since, each.worker) for each in there]

    def has_been_left(self) -> bool:
        """Whether the other side has closed it, whatever is still to be read."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._let_go()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._work()

    def _work(self) -> None:
        while not self.is_busy:
            end = b"\r\n.\r\n" if self.is_content else b"\r\n"
            line, found, rest = self.buffer.partition(end)
            if not found:
                return
            self.buffer = rest
            if self.relay.is_dead:
                self._leave(_DEAD)
                return
            if self.is_content:
                self.is_content = False
                self.is_busy = True
                asyncio.get_running_loop().call_later(self.relay.pace, self._take)
            else:
                self._obey(line)

    def _take(self) -> None:
        self.is_busy = False
        if not self.transport.is_closing():
            self.transport.write(self._taken())
            self._work()

    def _taken(self) -> bytes:
        now = time.monotonic()
        if not self.relay.takes(now):
            self.relay.seen.throttled.append(now)
            return _TOO_FAST
        self.relay.seen.mails.append((now, self.worker, self.sender))
        return b"250 2.0.0 taken\r\n"

    def _obey(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            self.worker = line[5:].partition(b".")[0].decode()
            self.transport.write(_CAPABILITIES)
        elif verb == b"DATA":
            self.is_content = True
            self.transport.write(b"354 go on\r\n")
        elif verb == b"QUIT":
            self._leave(b"221 2.0.0 bye\r\n")
        else:
            if verb == b"MAIL":
                self.sender = line.partition(b"<")[2].partition(b"@")[0].decode()
            self.transport.write(b"250 2.0.0 ok\r\n")

    def _leave(self, last: bytes) -> None:
        self._let_go()
        self.transport.write(last)
        self.transport.close()

    def _let_go(self) -> None:
        if self.counts:
            self.counts = False
            self.relay.open -= 1
            self.relay.there.discard(self)


def _report(relays: list[Relay], to: Path) -> None:
    to.write_text(json.dumps({relay.name: asdict(relay.seen) for relay in relays}))


async def _serve(relays: list[Relay], listening: list[socket.socket], orders: socket.socket, report: Path) -> None:
    loop = asyncio.get_running_loop()
    for relay, where in zip(relays, listening, strict=True):
        await loop.create_server(lambda relay=relay: Conversation(relay), sock=where)
    reader, writer = await asyncio.open_connection(sock=orders)
    by_name = {relay.name: relay for relay in relays}
    while line := await reader.readline():
        order = json.loads(line)
        if order["do"] == "report":
            _report(relays, report)
        else:
            by_name[order["relay"]].is_dead = order["do"] == "die"
        writer.write(b"done\n")


def serve(relays: list[Relay], listening: list[socket.socket], orders: socket.socket, report: Path) -> None:
    """Run until the other end of `orders` is closed."""
    asyncio.run(_serve(relays, listening, orders, report))
