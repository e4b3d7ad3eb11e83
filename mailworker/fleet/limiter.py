"""How fast: limits that hold for all workers together, and what a relay has taught about its own.

Law: no window of a limit, wherever it begins, ever holds more than the limit; within it, at least 98 % can be used.
What was granted and not used is given back. A relay that complains is sent half as much at once, and a little more each
minute afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailworker.fleet.names import FleetKeys, Read, Run, number_in

MOST_ITEMS = 500
_LONGEST_HOLD_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """At most `limit` units in any `window_ms`; `burst` units may come at once (0: the whole limit), then evenly."""

    name: str
    limit: int
    window_ms: int
    burst: int = 0

    def __post_init__(self) -> None:
        """Refuse what could grant nothing, or could not be counted."""
        if self.limit < 1 or self.window_ms < 1000 or not 0 <= self.burst <= self.limit:
            raise ValueError("a limit is at least 1 in at least 1000 ms, with a burst of at most the limit")

    @property
    def most_at_once(self) -> int:
        """How much of it can ever be taken at once."""
        return self.burst or self.limit


@dataclass(frozen=True, slots=True)
class Grant:
    """What may go now. `waits`: for each item 0, or the ms until it might go.

    `all_ms`: how long nobody can send, whoever asks; less than what the asker waits where others have waited longer.
    `slots`, `second` and `taught`: where it was counted, for `refund`.
    """

    relay: str
    waits: tuple[int, ...]
    all_ms: int
    slots: tuple[int, ...] = field(repr=False)
    second: int = field(repr=False)
    taught: int = field(repr=False)

    @property
    def granted(self) -> int:
        """How many may go."""
        return self.waits.count(0)

    @property
    def wait_ms(self) -> int:
        """How long until asking again makes sense; 0 if everything was granted."""
        return min((wait for wait in self.waits if wait), default=0)


@dataclass(frozen=True, slots=True)
class Throttled:
    """What a complaint led to: mails a second from now on, None while nothing is known of it; seconds of pause.

    `is_news`: nobody else has told of it.
    """

    rate: float | None
    hold_seconds: float
    is_news: bool


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a relay taught. `rate`: mails a second, None if it never complained. `hold_until_ms`: since the epoch."""

    rate: float | None
    ceiling: float | None
    is_pinned: bool
    hold_until_ms: int


class Limiter:
    """All limits of one deployment. `who` names the process that asks. Raises what `run` raises."""

    def __init__(self, run: Run, read: Read, keys: FleetKeys, who: str) -> None:
        self._run = run
        self._read = read
        self._keys = keys
        self._who = who

    def take(
        self,
        relay: str,
        items: int,
        costs: Sequence[tuple[Bucket, Sequence[int] | None]],
        others: Sequence[tuple[Bucket, Sequence[int] | None]] = (),
        line: str | None = None,
    ) -> Grant:
        """Take as many of these items as may go to this relay now: each counts in every bucket, or in none.

        Each bucket comes with what each item costs in it; None is one each, and an item that costs more than the limit
        counts as all of it. A wait is at least 1 ms. Whoever waits for the buckets in `costs` stands in the relay's
        line, by the name of `line` if one is given, unless it is `others` that keep him waiting, or the name is empty:
        he will not come back. Raises ValueError for no items or more than MOST_ITEMS.
        """
        if not 1 <= items <= MOST_ITEMS:
            raise ValueError(f"ask for 1 to {MOST_ITEMS} items")
        keys = [self._keys.lesson(relay), *self._keys.line(relay)]
        arguments: list[str | int] = [self._who if line is None else line, items, len(costs)]
        for bucket, each in (*costs, *others):
            keys.append(self._keys.bucket(bucket.name))
            arguments += [bucket.limit, bucket.window_ms, bucket.burst, _told(each, items)]
        answer = self._run("relay/take", keys, arguments)
        waits = tuple(max(1, wait) if wait else 0 for wait in answer[:items])
        return Grant(relay, waits, answer[-3], tuple(answer[items:-3]), answer[-2], answer[-1])

    def refund(self, grant: Grant, items: int, unused: Sequence[tuple[Bucket, int]]) -> None:
        """Give back so many items, and so many units of each bucket, named in the order in which they were taken."""
        if not items:
            return
        keys = [self._keys.lesson(grant.relay), *(self._keys.bucket(bucket.name) for bucket, _ in unused)]
        arguments: list[str | int] = [items, grant.second, grant.taught]
        for (bucket, units), slot in zip(unused, grant.slots, strict=True):
            arguments += [slot, units, bucket.limit, bucket.window_ms, bucket.burst]
        self._run("relay/refund", keys, arguments)

    def throttle(self, relay: str, wait_seconds: float | None = None, of: Grant | None = None) -> Throttled:
        """Note that the relay complained of the rate, and asked for so long a pause, if it did.

        `of`: what it complained of. Of what was granted before it taught its last lesson it has no more to teach.
        """
        return self._throttle(relay, wait_seconds or 0, 1, "" if of is None else of.taught)

    def hold(self, relay: str, seconds: float) -> Throttled:
        """Leave the relay alone for so long, whatever its rate."""
        return self._throttle(relay, seconds, 0, "")

    def _throttle(self, relay: str, seconds: float, slower: int, taught: int | str) -> Throttled:
        asked = min(_LONGEST_HOLD_MS, int(seconds * 1000))
        rate, hold, is_news = self._run("relay/throttle", [self._keys.lesson(relay)], [asked, slower, taught])
        return Throttled(int(rate) / 1000 if rate else None, hold / 1000, is_news == 1)

    def pin(self, relay: str, rate: float | None) -> None:
        """Keep a relay at this many mails a second, whatever it says; None lets it teach anew."""
        if rate is not None and not 0.001 <= rate <= 1_000_000:
            raise ValueError("a rate is between 0.001 and 1000000 mails a second")
        self._run("relay/pin", [self._keys.lesson(relay)], ["" if rate is None else round(rate * 1000)])

    def lesson(self, relay: str) -> Lesson:
        """Tell what the relay has taught, as it was written down: the rate has crept up since.

        Raises UnreadableKeyError.
        """
        key = self._keys.lesson(relay)
        held = self._read(key)
        rate, ceiling = number_in(held, "rate", key), number_in(held, "ceiling", key)
        return Lesson(
            rate=rate / 1000 if rate else None,
            ceiling=ceiling / 1000 if ceiling else None,
            is_pinned=held.get("pinned") == "1",
            hold_until_ms=number_in(held, "hold", key),
        )


def _told(each: Sequence[int] | None, items: int) -> str:
    if each is None:
        return "1"
    if len(each) != items or min(each) < 0:
        raise ValueError("there is a cost for each item, none below 0")
    return ",".join(f"{item}={cost}" for item, cost in enumerate(each, 1) if cost)
