"""What a person does to relays and lanes while mail flows, for all workers at once; and how they are.

Law: what is done here takes effect at once: whoever lets mail go again also ends the rests of the lanes that waited for
it, and rings. A pause that a person ordered is ended by a person alone.
"""

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass

from mailworker.doorway import breaker_policy
from mailworker.fleet import (
    Breaker,
    BreakerReport,
    BreakerState,
    FleetKeys,
    Lesson,
    Limiter,
    Links,
    LinksReport,
    UnreadableKeyError,
)
from mailworker.ledger import LaneStats, Server
from mailworker.mending import Mender
from mailworker.policy.routes import Route
from mailworker.relay_settings import RelaySettings
from mailworker.runtime import Runtime
from mailworker.setting_names import nearest

UNTIL_RESUMED_MS = 10 * 365 * 86_400_000
UNREADABLE = "unreadable"
_WHO = "by hand"
_CLOSED = BreakerReport(BreakerState.CLOSED, since_ms=0, till_ms=0, opened=0, reason="", epoch=0)
_NO_LESSON, _NO_LINKS = Lesson(None, None, is_pinned=False, hold_until_ms=0), LinksReport({}, None)


@dataclass(frozen=True, slots=True)
class RelayReport:
    """One relay as all workers see it. Times in ms since the epoch, 0 for never; rates in mails a second.

    `state`: its breaker's; or UNREADABLE, where what workers share of the relay makes no sense: `reason` tells key and
    cure. `retry_ms`: until an open breaker is tried. `connections`: those that are leased; `most_connections`: None if
    nothing bounds them. `hold_ms`: for how long the relay has asked to be left alone.
    """

    name: str
    place: str
    preset: str | None
    lanes: tuple[str, ...]
    state: str
    since_ms: int
    retry_ms: int
    opened: int
    reason: str
    limits: tuple[str, ...]
    rate: float | None
    is_pinned: bool
    hold_ms: int
    connections: int
    processes: int
    most_connections: int | None


class Steering:
    """Acts on what all workers share. Methods raise LookupError for unknown names, and LedgerError."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        server = Mender(Server(runtime.redis))
        self._run, self._read = server.run, server.read
        self._keys = FleetKeys(runtime.settings.redis.prefix)
        self._limiter = Limiter(self._run, self._read, self._keys, _WHO)

    def configured(self, name: str) -> RelaySettings:
        """Give a relay's settings."""
        if name not in self._settings.relays:
            near = nearest(name, self._settings.relays)
            hint = f"did you mean {near!r}? " if near else ""
            raise LookupError(f"there is no relay {name!r}; {hint}The relays are {', '.join(self._settings.relays)}")
        return self._settings.relays[name]

    def relay(self, name: str) -> RelayReport:
        """Tell how a relay is."""
        relay = self.configured(name)
        now = round(time.time() * 1000)
        told, lesson, links, fault = _CLOSED, _NO_LESSON, _NO_LINKS, ""
        try:
            told, lesson = self._breaker(name).report(), self._limiter.lesson(name)
            links = Links(self._run, self._read, self._keys.links("relay", name), relay.all_connections or 1).report()
        except UnreadableKeyError as error:
            fault = str(error)
        bounds = [most for most in (relay.all_connections, links.learnt) if most]
        return RelayReport(
            name=name,
            place=f"{relay.host}:{relay.port}" if relay.host else "",
            preset=relay.preset,
            lanes=tuple(self._lanes_of(name)),
            state=UNREADABLE if fault else told.state.value,
            since_ms=told.since_ms,
            retry_ms=max(0, told.till_ms - now) if told.state is BreakerState.OPEN else 0,
            opened=told.opened,
            reason=fault or ("" if told.state is BreakerState.CLOSED else told.reason),
            limits=tuple(_limits_of(relay)),
            rate=lesson.rate,
            is_pinned=lesson.is_pinned,
            hold_ms=max(0, lesson.hold_until_ms - now),
            connections=sum(links.holders.values()),
            processes=len(links.holders),
            most_connections=min(bounds) if bounds else None,
        )

    def relays(self) -> list[RelayReport]:
        """Tell how all relays are."""
        return [self.relay(name) for name in sorted(self._settings.relays)]

    def switch(self, name: str, state: BreakerState, reason: str = "by hand") -> str:
        """Open a relay's breaker for its recovery time, hold it open, or close it and let mail go at once.

        Who is sending through an open one stops after the window on the wire. Gives the state before.
        """
        breaker = self._breaker(name)
        before = breaker.switch(state, reason)
        is_closed = state is BreakerState.CLOSED
        epoch = None if is_closed else breaker.report().epoch
        for lane in self._lanes_of(name):
            self._runtime.ledger.pauses.recall(lane, name, epoch)
        if is_closed:
            self._let_go(name)
        return before.value

    def pin(self, name: str, rate: float | None) -> None:
        """Keep a relay at so many mails a second, whatever it says; None: forget what it taught, and let it teach anew.

        Raises ValueError for a rate that is none.
        """
        self.configured(name)
        self._limiter.pin(name, rate)
        self._let_go(name)

    def bound(self, name: str) -> tuple[str, float] | None:
        """Tell the tightest of a relay's limits, as it is written and in mails a second; None if it has none."""
        relay = self.configured(name)
        limits = [(str(rate), rate.limit / rate.window_seconds) for rate in relay.limits]
        cap = _cap_today(relay)
        if cap is not None:
            limits.append((f"{cap} today, warming up", cap / 86_400))
        return min(limits, key=lambda limit: limit[1], default=None)

    def lanes(self) -> dict[str, LaneStats]:
        """Tell what each lane holds, and whether it is paused."""
        return {name: self._runtime.ledger.stats(name) for name in sorted(self._settings.lanes)}

    def pause(self, lane: str, seconds: float | None, reason: str) -> None:
        """Leave a lane alone for so long, or until it is resumed (None). What is on the wire ends first."""
        self._settings.lane(lane)
        ends_ms = None if seconds is None else max(1, int(seconds * 1000))
        self._runtime.ledger.pauses.rest(lane, ends_ms or UNTIL_RESUMED_MS, reason, ends_ms, by_hand=True)

    def resume(self, lane: str) -> bool:
        """Leave a lane alone no longer; False: it was not paused."""
        self._settings.lane(lane)
        was_paused = self._runtime.ledger.pauses.resume(lane, by_hand=True)
        self._ring(lane)
        return was_paused

    def _let_go(self, relay: str) -> None:
        for lane in self._lanes_of(relay):
            self._runtime.ledger.pauses.resume(lane)
            self._ring(lane)

    def _ring(self, lane: str) -> None:
        ledger = self._runtime.ledger
        stats = ledger.stats(lane)
        if stats.ready and not stats.paused_ms and ledger.bells.ring(lane):
            self._runtime.ring(lane)

    def _lanes_of(self, relay: str) -> Iterator[str]:
        for name, lane in sorted(self._settings.lanes.items()):
            routes: tuple[Route, ...] = lane.relay
            if any(route.relay == relay for route in routes):
                yield name

    def _breaker(self, name: str) -> Breaker:
        return Breaker(self._run, self._read, self._keys, name, breaker_policy(self.configured(name)))


def _limits_of(relay: RelaySettings) -> Iterator[str]:
    """Tell all that bounds a relay today."""
    yield from map(str, relay.limits)
    cap = _cap_today(relay)
    if cap is not None:
        yield f"{cap} today, warming up"
    yield from map(str, relay.domain_limits)


def _cap_today(relay: RelaySettings) -> int | None:
    return relay.warm_up.cap_on(dt.datetime.now(dt.UTC).date()) if relay.warm_up else None
