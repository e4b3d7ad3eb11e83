"""Work shared out to threads, each part done once, by as many threads as can be had."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parts(items: Sequence[T], parts: int, work: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
    """Do the work on so many parts of the items side by side, one of them in this thread; give all results in order.

    Raises what `work` raises, when all that was begun is over.
    """
    edges = [len(items) * part // parts for part in range(parts + 1)]
    waiting = deque(enumerate(items[start:end] for start, end in pairwise(edges)))
    done: dict[int, Sequence[R]] = {}

    def take_parts() -> None:
        while True:
            try:
                number, part = waiting.popleft()
            except IndexError:
                return
            done[number] = work(part)

    helpers: list[Future[None]] = []
    with ThreadPoolExecutor(parts, "send_batch") as threads:
        # Without more threads, as while the interpreter ends, those that there are take all the parts.
        with suppress(RuntimeError):
            for _ in range(1, parts):
                helpers.append(threads.submit(take_parts))  # noqa: PERF401 - those before a failure are kept
        take_parts()
        for helper in helpers:
            helper.result()
    return [result for number in range(parts) for result in done[number]]
