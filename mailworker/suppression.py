"""Addresses that are not tried again: a list for each lane, and one for all lanes.

Law: Redis learns no address. An entry goes by a name that only the sealing keys can make of the address, and what it
says is sealed. Without keys the name is a plain hash behind the deployment's prefix, and the entry is readable.
Addresses are compared in lower case: servers that tell `Ann` from `ann` are all but unknown, and one more try for
each spelling is what a list is to spare.
"""

import datetime as dt
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeVar

import msgpack

from mailworker.keys import LaneKeys, suppressed_everywhere
from mailworker.ledger import Server
from mailworker.ledger.errors import translated
from mailworker.sealing import KeyRing, SealError, sealed_by

_FIELD = "suppressed"
_AT_ONCE = 500
# What a list that was empty may have got meanwhile is noticed so late.
_EMPTY_SECONDS = 1.0
_MOST_REASON = 200
Staying = Literal["none", "known", "named"]
"""Which entries stay as they are: none; what is on the list; or what is there under the key that writes."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that is not tried again. `lane`: None for all lanes. `until_ms`: None for good.

    Times are ms since the epoch, by the ledger's clock. `address`: "" where it is sealed with a key that is not here.
    """

    address: str = field(repr=False)
    reason: str = field(repr=False)
    since_ms: int
    until_ms: int | None
    lane: str | None
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An address to be put on a list. `lasting_ms`: for how long; `until_ms`: until when; neither: for good.

    `since_ms`: None is now.
    """

    address: str = field(repr=False)
    reason: str = field(repr=False)
    lasting_ms: int | None = None
    until_ms: int | None = None
    since_ms: int | None = None


class Suppressions:
    """The lists of one deployment. Threads may share it. Every method raises LedgerError."""

    def __init__(self, server: Server, prefix: str, keys: KeyRing) -> None:
        self._server = server
        self._prefix = prefix
        self._keys = keys
        self._empty_until: dict[str | None, float] = {}

    def among(self, lane: str, addresses: Sequence[str]) -> Mapping[str, Suppression]:
        """Tell which of these addresses this lane must not try. Asks for a list at most once, if it holds anything."""
        found: dict[str, Suppression] = {}
        for where in (None, lane):
            if addresses and time.monotonic() >= self._empty_until.get(where, 0.0):
                held, size = self._find(where, addresses)
                found.update(held)
                if not size:
                    self._empty_until[where] = time.monotonic() + _EMPTY_SECONDS
        return found

    def reasons(self, lane: str, addresses: Sequence[str]) -> Mapping[str, str]:
        """Tell why this lane must not try some of these addresses, each with the day since when."""
        return {
            address: f"{held.reason}, since {_day(held.since_ms)}"
            for address, held in self.among(lane, addresses).items()
        }

    def get(self, lane: str | None, address: str) -> Suppression | None:
        """Look an address up on one list; None if it is not on it."""
        return self._find(lane, [address])[0].get(address)

    def add(self, lane: str | None, entries: Sequence[Entry], *, stays: Staying = "none") -> int:
        """Put addresses on a list. Answers how many."""
        added = 0
        for some in _portions(entries, _AT_ONCE):
            arguments: list[bytes | str | int] = [stays]
            for entry in some:
                name, *older = self._names(entry.address)
                value = self._keys.seal(msgpack.packb((entry.address, entry.reason[:_MOST_REASON])), name.hex(), _FIELD)
                arguments += (name, b"".join(older), value, _end(entry), entry.since_ms or "")
            added += self._server.run("suppress/add", self._list(lane), arguments)
        self._empty_until.pop(lane, None)
        return added

    def remove(self, lane: str | None, addresses: Iterable[str]) -> int:
        """Take addresses off a list. Answers how many were on it."""
        removed = 0
        for some in _portions(addresses, _AT_ONCE):
            names = [name for address in some for name in self._names(address)]
            removed += self._server.run("suppress/remove", self._list(lane), names)
        return removed

    def entries(self, lane: str | None) -> Iterator[Suppression]:
        """Go through a list, in no order; what comes or goes meanwhile may be there or not, or come twice."""
        cursor = b"0"
        while True:
            cursor, *told = self._server.run("suppress/page", self._list(lane), [cursor, _AT_ONCE])
            for name, *rest in _portions(told, 4):
                yield self._read(lane, name, *rest)
            if cursor == b"0":
                return

    def lists(self) -> Iterator[str | None]:
        """Go through the lanes that have a list, configured or not, and None for that of all lanes."""
        everywhere = suppressed_everywhere(self._prefix)[0].encode()
        with translated():
            for key in self._server.redis.scan_iter(f"{self._prefix}:{{*}}:suppressed"):
                yield None if key == everywhere else key.decode().rpartition("{")[2].partition("}")[0]

    def reseal(self, lane: str | None) -> tuple[int, int]:
        """Put a list under the key that writes. Answers how many were changed, and how many could not be opened."""
        changed = failed = 0
        others = (entry for entry in self.entries(lane) if entry.key_id != self._keys.writer)
        for some in _portions(others, _AT_ONCE):
            again = [Entry(e.address, e.reason, None, e.until_ms, e.since_ms) for e in some if e.address]
            changed += self.add(lane, again, stays="named")
            failed += len(some) - len(again)
        return changed, failed

    def _find(self, lane: str | None, addresses: Sequence[str]) -> tuple[dict[str, Suppression], int]:
        """Look addresses up; and how many there are on the list."""
        by_name = {name: address.lower() for address in addresses for name in self._names(address)}
        size, *told = self._server.run("suppress/find", self._list(lane), list(by_name))
        held = {by_name[name]: self._read(lane, name, *rest) for name, *rest in _portions(told, 4)}
        return {address: held[address.lower()] for address in addresses if address.lower() in held}, size

    def _read(self, lane: str | None, name: bytes, *told: Any) -> Suppression:
        since, till, sealed = told
        times = int(since), int(till) if till else None
        try:
            address, reason = msgpack.unpackb(self._keys.open(sealed, name.hex(), _FIELD))
        except (SealError, TypeError, ValueError, msgpack.UnpackException):
            address, reason = "", "?"
        return Suppression(str(address), str(reason), *times, lane, sealed_by(sealed) or "")

    def _list(self, lane: str | None) -> tuple[str, str]:
        return LaneKeys(self._prefix, lane).suppressed if lane else suppressed_everywhere(self._prefix)

    def _names(self, address: str) -> tuple[bytes, ...]:
        return self._keys.address_names(address.lower().encode("utf-8", "surrogatepass"), self._prefix.encode())


def _day(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).date().isoformat()


def _end(entry: Entry) -> str:
    if entry.until_ms is not None:
        return str(entry.until_ms)
    return f"+{entry.lasting_ms}" if entry.lasting_ms else ""


def _portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while some := list(islice(source, size)):
        yield some
