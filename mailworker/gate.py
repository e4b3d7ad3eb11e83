"""The gate: may a lane send now, how much, through which of its relays? And what became of it.

Law: it asks in one order: the lane's hours, then of each relay in turn its connections, its breaker, its limits. It
knows nothing of mails and nothing of the wire. What was not used is given back; who dies is missed by nobody.
"""

import datetime as dt
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from mailworker.fleet import MOST_ITEMS, Breaker, BreakerState, Bucket, Change, Grant, Limiter
from mailworker.ledger import LedgerError
from mailworker.links import Berth
from mailworker.log import logger
from mailworker.policy.complaints import Complaint
from mailworker.policy.hours import Hours, wait_seconds
from mailworker.policy.rates import DomainRate, Rate
from mailworker.policy.routes import Route, for_domain, in_turn
from mailworker.policy.warmup import WarmUp

_DAY_MS = 86_400_000
_NEVER_MS = 10**15
_QUOTA_HOLD_SECONDS = 3600.0
# Of a relay that is not to teach, when it does not say how long it wants to be left alone.
_UNLEARNT_HOLD_SECONDS = 1.0
# Where nothing bounds it, leave is good for further batches. So late a breaker that others have opened is noticed.
_GOOD_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class LaneTerms:
    """What a lane may do."""

    lane: str
    routes: tuple[Route, ...]
    limits: tuple[Rate, ...] = ()
    hours: tuple[Hours, ...] = ()
    zone: ZoneInfo = ZoneInfo("UTC")  # noqa: RUF009 - a constant, and cached by zoneinfo
    sticky_domains: bool = False


@dataclass(frozen=True, slots=True)
class RelayTerms:
    """What a relay allows."""

    relay: str
    limits: tuple[Rate, ...] = ()
    domain_limits: tuple[DomainRate, ...] = ()
    warm_up: WarmUp | None = None
    learns: bool = True


@dataclass(frozen=True, slots=True)
class Door:
    """One relay as this process asks it. `keep` has something renewed until what it gives is called."""

    terms: RelayTerms
    breaker: Breaker
    berth: Berth
    keep: Callable[[Callable[[], object]], Callable[[], None]]


@dataclass(slots=True)
class Pass:
    """Leave to send so many mails through a relay over one link, and how many were begun with it.

    A probe is a single mail that finds out how the relay does. `until`: a monotonic moment, before which another batch
    may go by it; 0: none may.
    """

    relay: str
    mails: int
    is_probe: bool
    epoch: int
    who: str
    grant: Grant = field(repr=False)
    buckets: tuple[Bucket, ...] = field(repr=False)
    used: int = 0
    until: float = 0.0
    end_keeping: Callable[[], None] | None = field(default=None, repr=False)
    is_over: bool = False

    @property
    def left(self) -> int:
        """How many mails may still be begun."""
        return self.mails - self.used

    def is_good_for(self, mails: int) -> bool:
        """Whether another batch may go by it."""
        return not self.is_over and self.left >= mails and time.monotonic() < self.until


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asks, for how many mails, and for how many at most if nothing bounds them."""

    who: str
    mails: int
    most: int


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the limits on recipients and domains say. `waits`: for each mail 0, or the ms until it might go."""

    waits: tuple[int, ...]
    grant: Grant | None = field(default=None, repr=False)
    costs: tuple[tuple[Bucket, Sequence[int]], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """The asker can send nothing for `ms`, and nobody else in the lane for `all_ms`; `reason` is for people.

    `ends_ms`: in which the reason ends by itself; None: it does not.
    """

    ms: int
    all_ms: int
    reason: str
    ends_ms: int | None


class Gate:
    """The gate of one process. `chance` gives numbers from 0 to below 1, `now` the time. Raises LedgerError."""

    def __init__(
        self, doors: Mapping[str, Door], limiter: Limiter, chance: Callable[[], float], now: Callable[[], dt.datetime]
    ) -> None:
        self._doors = doors
        self._limiter = limiter
        self._chance = chance
        self._now = now
        # Relays that, when last asked, had taught no rate.
        self._untaught: set[str] = set()

    def enter(self, lane: LaneTerms, who: str, mails: int, domain: str | None = None, most: int = 0) -> Pass | Wait:
        """Ask for leave to send up to so many mails now; with a domain, through the relay that it sticks to.

        `most`: so many at most, if that is more, in batches within a moment, where neither limit nor rate is in force.
        Leave that was given must be given back, by `returning` or by `give_back`.
        """
        now = self._now()
        closed_ms = round(wait_seconds(lane.hours, lane.zone, now) * 1000)
        if closed_ms:
            return Wait(closed_ms, closed_ms, "outside its hours", closed_ms)
        waits: list[Wait] = []
        # Of several relays each batch finds its own, or their shares would be rough.
        asker = _Asker(who, mails, max(mails, min(most, MOST_ITEMS)) if len(lane.routes) == 1 else mails)
        for relay in for_domain(lane.routes, domain) if domain else in_turn(lane.routes, self._chance):
            answer = self._ask(self._doors[relay], lane, asker, now)
            if isinstance(answer, Pass):
                return answer
            waits.append(answer)
        first = min(waits, key=lambda wait: math.inf if wait.ends_ms is None else wait.ends_ms)
        return Wait(min(wait.ms for wait in waits), min(wait.all_ms for wait in waits), first.reason, first.ends_ms)

    def weigh(self, lane: LaneTerms, leave: Pass, recipients: Sequence[Sequence[str]]) -> Weighed:
        """Ask what only opened mails can tell: for each, the domains of its recipients, lower case.

        Where no limit counts those, nothing is asked.
        """
        terms = self._doors[leave.relay].terms
        costs = (
            *_by_recipients(f"relay:{terms.relay}", terms.limits, recipients),
            *_by_recipients(f"lane:{lane.lane}", lane.limits, recipients),
            *_by_domain(terms, recipients),
        )
        if not costs or not recipients:
            return Weighed((0,) * len(recipients))
        # What may not go now waits in the ledger, and is nobody's to wait for: one domain must not keep others waiting.
        grant = self._limiter.take(f"{terms.relay}/recipients", len(recipients), costs, line="")
        return Weighed(grant.waits, grant, costs)

    def unweigh(self, weighed: Weighed, places: Sequence[int]) -> None:
        """Give back what those mails would have counted, which went away unsent. Places are those of `recipients`."""
        if weighed.grant is not None:
            counted = [
                (bucket, sum(min(costs[place], bucket.most_at_once) for place in places))
                for bucket, costs in weighed.costs
            ]
            self._limiter.refund(weighed.grant, len(places), counted)

    @contextmanager
    def returning(self, leave: Pass) -> Iterator[None]:
        """When the block ends, give back what was not used of it."""
        try:
            yield
        finally:
            self.give_back(leave)

    def give_back(self, leave: Pass) -> None:
        """End a leave: its link, and what was not used of it. Once is enough, and more often harmless."""
        if leave.is_over:
            return
        leave.is_over = True
        if leave.end_keeping:
            leave.end_keeping()
        self._doors[leave.relay].berth.leave()
        unused = leave.grant.granted - leave.used
        try:
            self._limiter.refund(leave.grant, unused, [(bucket, unused) for bucket in leave.buckets])
            if leave.is_probe and not leave.used:
                self._doors[leave.relay].breaker.withdraw(leave.who, leave.epoch)
        except LedgerError as error:
            # What was taken leaves its window, and a probe is taken for dead, in time.
            logger.warning("what was not used of relay %s is not given back: %s", leave.relay, error)

    def rest(self, lane: LaneTerms) -> None:
        """Tell that nobody here will send mails of the lane for a while."""
        for route in lane.routes:
            self._doors[route.relay].berth.rest()

    @staticmethod
    def is_first_for(lane: LaneTerms, relay: str, domain: str) -> bool:
        """Whether mail to this domain asks that relay first."""
        return next(for_domain(lane.routes, domain)) == relay

    def went_well(self, leave: Pass) -> None:
        """Tell that the relay did its part, whatever it said about a mail."""
        if leave.is_probe:
            self._told(leave, self._doors[leave.relay].breaker.went_well(leave.who, leave.epoch), "")

    def failed(self, leave: Pass, reason: str, open_ms: int | None = None) -> None:
        """Tell that the relay failed as a whole; with `open_ms` it is left alone at once, for so long."""
        self._told(leave, self._doors[leave.relay].breaker.failed(leave.who, leave.epoch, reason, open_ms), reason)

    def complained(self, leave: Pass, complaint: Complaint, wait_seconds: float | None) -> None:
        """Tell what the relay complained of, and the time it asked for."""
        relay, door = leave.relay, self._doors[leave.relay]
        if complaint is Complaint.CONNECTIONS:
            most, is_news = door.berth.crowded()
            if is_news:
                logger.warning("relay %s stands no more than %d connections", relay, most)
        elif complaint is Complaint.QUOTA:
            if self._limiter.hold(relay, wait_seconds or _QUOTA_HOLD_SECONDS).is_news:
                logger.warning("relay %s says that its quota is used up", relay)
        else:
            told = (
                self._limiter.throttle(relay, wait_seconds, leave.grant)
                if door.terms.learns
                else self._limiter.hold(relay, wait_seconds or _UNLEARNT_HOLD_SECONDS)
            )
            if told.is_news:
                now = f"{told.rate:g} mails/s" if told.rate else f"held for {told.hold_seconds:g} s"
                logger.warning("relay %s complains of the rate; now %s", relay, now)

    def _ask(self, door: Door, lane: LaneTerms, asker: _Asker, now: dt.datetime) -> Pass | Wait:
        relay = door.terms.relay
        if not door.berth.take():
            # It is this process that has none.
            return Wait(door.berth.ask_again_ms, 0, f"no connection to relay {relay} is free", 0)
        answer: Pass | Wait | None = None
        try:
            answer = self._admit(door, lane, asker, now)
        finally:
            if not isinstance(answer, Pass):
                door.berth.leave()
        return answer

    def _admit(self, door: Door, lane: LaneTerms, asker: _Asker, now: dt.datetime) -> Pass | Wait:
        relay, breaker, who = door.terms.relay, door.breaker, asker.who
        admission = breaker.admit(who)
        if admission.wait_ms:
            reason, wait_ms = f"relay {relay} is left alone", admission.wait_ms
            if admission.state is BreakerState.HELD:
                return Wait(wait_ms, wait_ms, f"{reason} by hand", None)
            return Wait(wait_ms, wait_ms, reason, wait_ms)
        of_relay, of_lane = _by_mails(door.terms, lane, now)
        buckets = (*of_relay, *of_lane)
        is_free = asker.most > asker.mails and not buckets and not admission.is_probe and relay in self._untaught
        asked = 1 if admission.is_probe else asker.most if is_free else asker.mails
        grant = self._limiter.take(
            relay,
            asked,
            [(bucket, None) for bucket in of_relay],
            [(bucket, None) for bucket in of_lane],
            lane.lane,  # lanes take turns; who of a lane's workers sends its mails is all the same
        )
        (self._untaught.discard if grant.taught else self._untaught.add)(relay)
        if not grant.granted:
            if admission.is_probe:
                breaker.withdraw(who, admission.epoch)
            reason = f"the limits of relay {relay}, or of the lane"
            ends_ms = min(grant.all_ms, _more_allowed_ms(door.terms.warm_up, now))
            return Wait(grant.wait_ms, grant.all_ms, reason, ends_ms)
        leave = Pass(relay, grant.granted, admission.is_probe, admission.epoch, who, grant, buckets)
        if is_free and not grant.taught:
            leave.until = time.monotonic() + _GOOD_SECONDS
        if leave.is_probe:
            leave.end_keeping = door.keep(lambda: breaker.keep_probe(who, admission.epoch))
        return leave

    @staticmethod
    def _told(leave: Pass, change: Change, reason: str) -> None:
        if change.before is not change.now:
            # That a relay is still down is no news, however often it is tried.
            log = logger.info if change.now is BreakerState.OPEN and leave.is_probe else logger.warning
            log("relay %s: breaker %s -> %s %s", leave.relay, change.before.value, change.now.value, reason)


def _by_mails(relay: RelayTerms, lane: LaneTerms, now: dt.datetime) -> tuple[list[Bucket], list[Bucket]]:
    """Give the buckets in which every mail counts as one: the relay's, and the lane's."""
    of_relay, of_lane = (
        [_bucket(scope, rate) for rate in rates if not rate.of_recipients]
        for scope, rates in ((f"relay:{relay.relay}", relay.limits), (f"lane:{lane.lane}", lane.limits))
    )
    cap = relay.warm_up.cap_on(now.date()) if relay.warm_up else None
    if cap:
        of_relay.append(Bucket(f"relay:{relay.relay}/warm-up", cap, _DAY_MS))
    return of_relay, of_lane


def _more_allowed_ms(warm_up: WarmUp | None, now: dt.datetime) -> int:
    """Tell how long until a new day of a warm-up allows more; where it does not, more than any limit makes wait."""
    today, tomorrow = now.date(), now.date() + dt.timedelta(days=1)
    if warm_up is None or warm_up.cap_on(today) == warm_up.cap_on(tomorrow):
        return _NEVER_MS
    midnight = dt.datetime.combine(tomorrow, dt.time(), now.tzinfo)
    return round((midnight - now).total_seconds() * 1000)


def _by_recipients(
    scope: str, rates: Sequence[Rate], recipients: Sequence[Sequence[str]]
) -> list[tuple[Bucket, list[int]]]:
    return [(_bucket(scope, rate), [len(each) for each in recipients]) for rate in rates if rate.of_recipients]


def _by_domain(terms: RelayTerms, recipients: Sequence[Sequence[str]]) -> list[tuple[Bucket, list[int]]]:
    costs = []
    for domain in sorted({domain for each in recipients for domain in each}):
        mine = [limit for limit in terms.domain_limits if limit.domain == domain] or [
            limit for limit in terms.domain_limits if limit.domain == "*"
        ]
        for limit in mine:
            counts = [each.count(domain) for each in recipients]
            units = counts if limit.rate.of_recipients else [min(1, count) for count in counts]
            costs.append((_bucket(f"relay:{terms.relay}@{_key_of(domain)}", limit.rate), units))
    return costs


def _key_of(domain: str) -> str:
    """Name a domain so that Redis does not learn to whom mail goes."""
    return hashlib.sha256(domain.encode("utf-8", "replace")).hexdigest()[:16]


def _bucket(scope: str, rate: Rate) -> Bucket:
    unit = "recipients" if rate.of_recipients else "mails"
    return Bucket(f"{scope}/{unit}/{rate.window_seconds}", rate.limit, rate.window_seconds * 1000, rate.burst)
