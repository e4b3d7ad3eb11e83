"""How long: every option of the command line that takes a time reads it here, so that all are written alike.

Law: `30s`, `5m`, `2h` and `1d` mean the same everywhere. A bare number is seconds, save where it has always been
something else: there it still is, and the option's help says so.
"""

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    _Type = click.ParamType[float]
else:
    _Type = click.ParamType  # in older versions of click it takes no arguments

_WRITTEN = re.compile(r"([0-9.]{1,16})\s*([a-z]*)")
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_LONGEST = 100 * 365 * 86_400.0


class Duration(_Type):
    """A time, given to the command in seconds. `bare`: the unit of a number without one; bounds in seconds."""

    name = "time"

    def __init__(
        self, bare: str = "s", least: float = 0.0, most: float = _LONGEST, *, is_zero_refused: bool = False
    ) -> None:
        """Set the bounds."""
        self._bare = bare
        self._least, self._most = least, most
        self._is_zero_refused = is_zero_refused

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a time. Fails with how one is written, or with what bounds it."""
        if isinstance(value, float):
            return value
        found = _WRITTEN.fullmatch(str(value).strip().lower())
        unit = _SECONDS.get(found[2] or self._bare) if found else None
        if not found or unit is None or found[1].count(".") > 1 or found[1] == ".":
            self.fail(f"{value!r} is no time; write it as 30s, 5m, 2h or 1d", param, ctx)
        seconds = float(found[1]) * unit
        if not self._least <= seconds <= self._most:
            self.fail(f"{value!r} is out of range: from {_told(self._least)} to {_told(self._most)}", param, ctx)
        if not seconds and self._is_zero_refused:
            self.fail(f"{value!r} is no time at all", param, ctx)
        return seconds


def _told(seconds: float) -> str:
    unit = next((name for name in ("d", "h", "m") if seconds and not seconds % _SECONDS[name]), "s")
    return f"{seconds / _SECONDS[unit]:g}{unit}"
