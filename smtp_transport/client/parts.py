"""Work shared out to threads, each part done once, by as many threads as can do some."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parts(
    items: Sequence[T],
    parts: int,
    attempt: Callable[[Sequence[T]], Sequence[R] | None],
    work: Callable[[Sequence[T]], Sequence[R]],
) -> list[R]:
    """Do the work on so many parts of the items side by side, one of them in this thread; give all results in order.

    A thread whose `attempt` at a part gives None leaves it to the others and ends. What all have left is `work` for
    this thread, in one go. Raises what they raise, when all that was begun is over.
    """
    edges = list(pairwise(len(items) * part // parts for part in range(parts + 1)))
    waiting = deque(range(parts))
    done: dict[int, R] = {}

    def take_parts() -> None:
        while True:
            try:
                part = waiting.popleft()
            except IndexError:
                return
            start, end = edges[part]
            results = attempt(items[start:end])
            if results is None:
                waiting.append(part)
                return
            done.update(enumerate(results, start))

    helpers: list[Future[None]] = []
    with ThreadPoolExecutor(parts, "send_batch") as threads:
        # Without more threads, as while the interpreter ends, those that there are take all the parts.
        with suppress(RuntimeError):
            for _ in range(1, parts):
                helpers.append(threads.submit(take_parts))  # noqa: PERF401 - those before a failure are kept
        take_parts()
        for helper in helpers:
            helper.result()
    left = [position for part in sorted(waiting) for position in range(*edges[part])]
    if left:
        done.update(zip(left, work([items[position] for position in left]), strict=True))
    return [done[position] for position in range(len(items))]
