"""What a change of keys needs of the ledger: every sealed value there is, and a way to put another in its place.

Law: a value is replaced only if it is still the one that was read, so no worker's newer word is lost.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailworker.keys import LaneKeys, lane_of
from mailworker.ledger.errors import translated
from mailworker.ledger.server import Server

SEALED_FIELDS = ("payload", "envelope", "told", "callbacks")
_SCANNED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Heads:
    """The first bytes of each of a mail's SEALED_FIELDS, b"" for none, and the whole history."""

    mail_id: str
    state: str
    heads: tuple[bytes, ...] = field(repr=False)
    history: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """A value of a mail, and what is to stand in its place."""

    mail_id: str
    name: str
    old: bytes = field(repr=False)
    new: bytes = field(repr=False)


class Seals:
    """The sealed values of a ledger. Every method raises LedgerError."""

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = prefix

    def mails(self) -> Iterator[str]:
        """Go through the ids of all mails of all lanes; one may come twice, and one that comes meanwhile or not."""
        pattern = f"{self._prefix}:{{*}}:m:*"
        with translated():
            for key in self._server.redis.scan_iter(pattern, count=_SCANNED_AT_ONCE):
                yield key.decode().rpartition(":m:")[2]

    def files(self) -> Iterator[tuple[str, str]]:
        """Go through all shared files of all lanes: lane and name."""
        with translated():
            for key in self._server.redis.scan_iter(f"{self._prefix}:{{*}}:b:*", count=_SCANNED_AT_ONCE):
                rest, _, name = key.decode().rpartition("}:b:")
                yield rest.rpartition("{")[2], name

    def file_head(self, lane: str, name: str, size: int) -> bytes:
        """Read the first `size` bytes of a file; b"" if it is not there (any more)."""
        keys = LaneKeys(self._prefix, lane)
        ((_, head, _),) = self._server.run("heads", [*keys.every, keys.file(name)], [size, "data"])
        return bytes(head)

    def replace_file(self, lane: str, name: str, old: bytes, new: bytes) -> None:
        """Replace a file, unless it was changed or dropped meanwhile."""
        keys = LaneKeys(self._prefix, lane)
        self._server.run("reseal", [*keys.every, keys.file(name)], ["data", _digest(old), new])

    def heads(self, mail_ids: Sequence[str], size: int) -> list[Heads]:
        """Read the first `size` bytes of what is sealed of mails of one lane."""
        lane_keys, records = self._keys(mail_ids)
        answers = self._server.run("heads", [*lane_keys, *records], [size, *SEALED_FIELDS])
        return [
            Heads(mail_id, state.decode(), tuple(heads), history.decode("utf-8", "replace"))
            for mail_id, (state, *heads, history) in zip(mail_ids, answers, strict=True)
        ]

    def read(self, wanted: Sequence[tuple[str, str]]) -> list[bytes | None]:
        """Read whole values: of each mail, by its id, a field. None if it is not there (any more)."""
        with translated(), self._server.redis.pipeline(transaction=False) as pipe:
            for mail_id, name in wanted:
                pipe.hget(LaneKeys(self._prefix, lane_of(mail_id)).record(mail_id), name)
            values: list[Any] = pipe.execute(raise_on_error=False)
        return [value if isinstance(value, bytes) else None for value in values]

    def replace(self, changes: Sequence[Change]) -> int:
        """Replace values of mails of one lane. Answers how many; the others were changed or dropped meanwhile."""
        lane_keys, records = self._keys([change.mail_id for change in changes])
        arguments: list[bytes | str | int] = []
        for change in changes:
            arguments += (change.name, _digest(change.old), change.new)
        return sum(self._server.run("reseal", [*lane_keys, *records], arguments))

    def _keys(self, mail_ids: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
        keys = LaneKeys(self._prefix, lane_of(mail_ids[0]))
        return keys.every, [keys.record(mail_id) for mail_id in mail_ids]


def _digest(value: bytes) -> str:
    return hashlib.sha1(value, usedforsecurity=False).hexdigest()
