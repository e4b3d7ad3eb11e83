"""Fair turns in plain Python: what `parts/turns.lua` and `parts/queue.lua` are to do, said once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = 1000


class Turns:
    """How far each rank has come, and each tenant's last mail in it. `begin` tells where a rank begins that is new."""

    def __init__(self, begin: Callable[[int], int]) -> None:
        self._begin = begin
        self._fronts: dict[int, int] = {}
        self._last: dict[tuple[int, str], int] = {}

    def front(self, rank: int) -> int:
        if rank not in self._fronts:
            self._fronts[rank] = self._begin(rank)
        return self._fronts[rank]

    def knows(self, rank: int) -> bool:
        return rank in self._fronts

    def take(self, rank: int, tenant: str, share: int = 1) -> tuple[int, int]:
        """Where a mail of this tenant comes to stand."""
        at = max(self.front(rank), self._last.get((rank, tenant), 0)) + STEP // share
        self._last[rank, tenant] = at
        return rank, at

    def has_come_to(self, line: tuple[int, int]) -> None:
        rank, at = line
        if rank > 0:
            self._fronts[rank] = at

    def forget(self) -> None:
        self._fronts.clear()
        self._last.clear()
