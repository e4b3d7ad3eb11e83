"""Strays: messages on our queues that are not for us. They are kept whole until a person decides.

Law: nothing of a stray is lost, executed or shown but its task's name, its queue and why it was not taken. What it
says is somebody else's secret, so it is sealed as mails are.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import msgpack

from mailworker.keys import strays_of
from mailworker.ledger import Server
from mailworker.ledger.errors import translated
from mailworker.sealing import KeyRing, SealError, sealed_by

_FIELD = "stray"
_AT_ONCE = 100
_ID_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a broker. `queue`: where it was met. `task`: the task that it is for, "" if it names none.

    `properties`: content type and encoding, and whatever else the broker has to be told to send it again.
    """

    queue: str
    task: str
    reason: str
    body: bytes = field(repr=False)
    headers: Mapping[str, Any] = field(repr=False)
    properties: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stray:
    """A message that was put aside. `kept_ms`: when, in ms since the epoch. `bytes`: how large it is.

    `message`: None where it is sealed with a key that is not here, or damaged; `key_id` names the key, "" for none.
    """

    id: str
    kept_ms: int
    bytes: int
    key_id: str
    message: Message | None


class Strays:
    """Those of one deployment. Threads may share it. Every method raises LedgerError."""

    def __init__(self, server: Server, prefix: str, keys: KeyRing) -> None:
        self._server = server
        self._keys = keys
        self._places = strays_of(prefix)

    def keep(self, message: Message) -> str:
        """Put a message aside, and give its id. A task's message that is kept already is not kept twice."""
        packed = msgpack.packb(asdict(message), default=str)
        # A broker may deliver a message again; others that say the same may well be two.
        own = hashlib.sha256(packed).hexdigest() if message.headers.get("id") else secrets.token_hex()
        stray_id = own[:_ID_DIGITS]
        self._server.run("stray/keep", self._places, [stray_id, self._keys.seal(packed, stray_id, _FIELD)])
        return stray_id

    def count(self) -> int:
        """Tell how many there are."""
        with translated():
            return int(self._server.redis.zcard(self._places[1]))

    def all(self) -> Iterator[Stray]:
        """Go through all of them, the oldest first."""
        with translated():
            known: Any = self._server.redis.zrange(self._places[1], 0, -1, withscores=True)
        times = {name.decode(): int(ms) for name, ms in known}
        for stray_id, sealed in self._sealed(times):
            message = self._open(stray_id, sealed)
            yield Stray(stray_id, times[stray_id], len(sealed), sealed_by(sealed) or "", message)

    def named(self, ids: Sequence[str]) -> dict[str, Stray]:
        """Find those with these ids."""
        wanted = set(ids)
        return {stray.id: stray for stray in self.all() if stray.id in wanted}

    def drop(self, ids: Sequence[str]) -> int:
        """Forget these for good. Answers how many there were."""
        return sum(self._server.run("stray/drop", self._places, some) for some in _portions(ids))

    def reseal(self) -> int:
        """Put all under the key that writes. Answers how many could not be opened."""
        failed = 0
        with translated():
            known: Any = self._server.redis.zrange(self._places[1], 0, -1)
        for stray_id, sealed in self._sealed(name.decode() for name in known):
            if sealed_by(sealed) == self._keys.writer:
                continue
            try:
                again = self._keys.seal(self._keys.open(sealed, stray_id, _FIELD), stray_id, _FIELD)
            except SealError:
                failed += 1
            else:
                self._server.run("stray/replace", self._places, [stray_id, sealed, again])
        return failed

    def _sealed(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for some in _portions(ids):
            with translated():
                values: Any = self._server.redis.hmget(self._places[0], some)
            yield from ((name, value) for name, value in zip(some, values, strict=True) if value is not None)

    def _open(self, stray_id: str, sealed: bytes) -> Message | None:
        try:
            return Message(**msgpack.unpackb(self._keys.open(sealed, stray_id, _FIELD), strict_map_key=False))
        except (SealError, TypeError, ValueError, msgpack.UnpackException):
            return None


def _portions(items: Iterable[str]) -> Iterator[list[str]]:
    source = iter(items)
    while some := list(islice(source, _AT_ONCE)):
        yield some
