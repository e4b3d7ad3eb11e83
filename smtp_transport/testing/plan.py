"""What goes wrong, and when: "at the second RCPT say 450", told once and played by a server that else behaves."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Final, Self

from smtp_transport.testing.steps import Step, steps_of

OCCASIONS: Final = frozenset(
    {
        "CONNECT",
        "EHLO",
        "STARTTLS",
        "AUTH",
        "MAIL",
        "RCPT",
        "DATA",
        "BODY",
        "DOT",
        "BDAT",
        "RSET",
        "NOOP",
        "VRFY",
        "QUIT",
    }
)
"""What can be planned for: a server greets (CONNECT), answers a command (HELO and LHLO count as EHLO), has said 354
(BODY), and answers content (DOT, which the last BDAT is too; for LMTP it comes for each recipient)."""


class FaultPlan:
    """Faults by occasion. Occasions are counted from 1 over all connections of all servers that play the plan.

    plan = FaultPlan().at("RCPT", 2, "450 4.2.1 busy").at("DOT", 1, Reset()).always("NOOP", "502 5.5.1 no")
    with FaultServer(behaved("PIPELINING", faults=plan)) as server: ...

    A fault is steps that are played instead of the usual reply; text is a `Say`. No steps at all are no reply at all.
    """

    def __init__(self) -> None:
        self._planned: dict[tuple[str, int | None], tuple[Step, ...]] = {}
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.played: list[str] = []
        """What went wrong so far, such as "RCPT 2"."""

    def at(self, occasion: str, number: int, *steps: Step | str) -> Self:
        """Do this at one occasion, counted from 1. Raises ValueError for one that never comes or is planned already."""
        _check_number(number)
        return self._plan(occasion, number, steps)

    def always(self, occasion: str, *steps: Step | str) -> Self:
        """Do this at every such occasion for which nothing else is planned."""
        return self._plan(occasion, None, steps)

    def happen(self, occasion: str) -> tuple[Step, ...] | None:
        """Count an occasion, and give the steps of its fault; None if nothing goes wrong."""
        with self._lock:
            self._counts[occasion] += 1
            number = self._counts[occasion]
            steps = self._planned.get((occasion, number), self._planned.get((occasion, None)))
            if steps is not None:
                self.played.append(f"{occasion} {number}")
            return steps

    @property
    def outstanding(self) -> list[str]:
        """Faults at a number that have not been played: a test that never came there proves nothing."""
        return [
            f"{occasion} {number}"
            for occasion, number in self._planned
            if number is not None and self._counts[occasion] < number
        ]

    def _plan(self, occasion: str, number: int | None, steps: Sequence[Step | str]) -> Self:
        if occasion not in OCCASIONS:
            raise ValueError(f"{occasion!r} is no occasion; these are: {', '.join(sorted(OCCASIONS))}")
        if (occasion, number) in self._planned:
            raise ValueError(f"{occasion} {number or 'always'} is planned already; one fault has all of its steps")
        self._planned[occasion, number] = steps_of(steps)
        return self

    def __repr__(self) -> str:
        planned = (f"{occasion} {number or 'always'}" for occasion, number in self._planned)
        return f"<FaultPlan: {', '.join(planned)}>"


def _check_number(number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(
            f"occasions are counted from 1; at(occasion, number, *steps) wants such a number, not {number!r}"
        )
