"""What producers write down of their calls, in files that no Redis has a part in: one line before and one after.

A call that has a beginning and no end was cut short: its mails may be in the ledger or not.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Call:
    """One call of `.delay` or `.many`. `ids`: what it returned, or had accepted when it raised `error`."""

    number: int
    way: str
    tags: list[str]
    key: str | None
    began: float
    ended: float | None = None
    ids: list[str] | None = None
    error: str | None = None

    @property
    def is_open(self) -> bool:
        return self.ids is None and self.error is None


class Evidence:
    """The file of one producer process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def begin(self, number: int, way: str, tags: list[str], key: str | None) -> None:
        self._write({"number": number, "way": way, "tags": tags, "key": key, "began": time.time()})

    def returned(self, number: int, ids: list[str]) -> None:
        self._write({"number": number, "ids": ids, "ended": time.time()})

    def raised(self, number: int, error: str, ids: list[str]) -> None:
        self._write({"number": number, "error": error, "ids": ids, "ended": time.time()})

    def _write(self, facts: dict[str, Any]) -> None:
        os.write(self._file, (json.dumps(facts) + "\n").encode())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read JSON lines; one that is not yet whole is left out."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)


def read_calls(path: Path) -> list[Call]:
    """Read one producer's calls, in their order."""
    calls: dict[int, Call] = {}
    for facts in read_lines(path):
        number = facts.pop("number")
        if "began" in facts:
            calls[number] = Call(number, **facts)
        else:
            for name, value in facts.items():
                setattr(calls[number], name, value)
    return list(calls.values())
