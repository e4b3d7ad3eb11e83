"""What a run of the stage proves: each promise, what was found, and whether it was kept."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mailworker.relay_settings import RelaySettings
from tests.fleet.stage.play import LIMIT, SMALL, THROTTLE, Told

# Of a limit by the second. In a window count its hundred slots and the one that it began in.
SLOT_MS, SLOTS = 10, 101
_FAILURES: int = RelaySettings.model_fields["breaker_failures"].default
# A few mails beside many are not late sooner.
_FEW_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """`is_kept` None: a figure, which promises nothing. `is_timed`: a machine with too much to do may not keep it."""

    kind: str
    what: str
    found: str
    promised: str = ""
    is_kept: bool | None = None
    is_timed: bool = False


def most_within(times: Sequence[float], window: float) -> int:
    """The most of these sorted times in any window."""
    return max((bisect_left(times, at + window) - place for place, at in enumerate(times)), default=0)


def findings(told: Told) -> list[Finding]:
    by_kind = {
        "limit": _limit,
        "tenants": _tenants,
        "throttle": _throttle,
        "cap": _cap,
        "crowd": _crowd,
        "dead": _dead,
        "failover": _failover,
    }
    return [finding for kind in told.plan.kinds for finding in by_kind[kind](told)]


def broken(found: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.is_kept is False]


def _calm(told: Told, times: Sequence[float]) -> list[float]:
    begin, end = (told.began + seconds for seconds in told.plan.calm)
    return [at for at in times if begin <= at < end]


def _mails(told: Told, relay: str) -> list[float]:
    return sorted(at for at, _, _ in told.relays[relay]["mails"])


def _per_second(told: Told, times: Sequence[float]) -> float:
    begin, end = told.plan.calm
    return len(_calm(told, times)) / (end - begin)


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def _limit(told: Told) -> Iterator[Finding]:
    slots: defaultdict[int, int] = defaultdict(int)
    by_worker: Counter[str] = Counter()
    begin, end = (int((told.began + s + told.wall_offset) * 1000 / SLOT_MS) for s in told.plan.calm)
    late = 0
    for worker, relay, slot, count, ms in told.grants:
        if relay == "limit":
            slots[slot] += count
            if begin <= slot < end:
                by_worker[worker] += count
                late = max(late, ms)
    granted = [slot for slot, count in sorted(slots.items()) for _ in range(count)]
    most = most_within(granted, SLOTS)
    yield Finding("limit", "granted in any second, at most", str(most), f"<= {LIMIT}", most <= LIMIT)
    # Whole windows, or the edges would decide.
    whole = (end - begin) // SLOTS * SLOTS
    used = sum(count for slot, count in slots.items() if begin <= slot < begin + whole)
    used_share = used / (LIMIT * whole * SLOT_MS / 1000)
    yield Finding(
        "limit", "of the limit used while all is calm", f"{used_share:.1%}", ">= 98 %", used_share >= 0.98, True
    )
    mails = _mails(told, "limit")
    # A mail arrives some time after it was granted, at most when its batch is over, and not each as late as the other:
    # in a second arrive at most those that were granted in it, or before it for as long as a batch took.
    most, bound = most_within(_calm(told, mails), 1.0), most_within(granted, SLOTS + -(-late // SLOT_MS))
    what = f"arrived in any second while all is calm, at most; a batch took up to {late / 1000:.2f} s"
    yield Finding("limit", what, str(most), f"<= {bound}", most <= bound)
    yield Finding("limit", "arrived in any second of the whole run, at most", str(most_within(mails, 1.0)))
    workers = [by_worker[f"w{n}"] for n in range(told.plan.workers)]
    mean = sum(workers) / len(workers)
    yield Finding("limit", "mails a worker, least / mean / most", f"{min(workers)} / {mean:.0f} / {max(workers)}")
    yield from _few(told, "small", "limit", f"{SMALL} mails a second of a small lane beside a backlog")


def _tenants(told: Told) -> Iterator[Finding]:
    what = f"{SMALL} mails a second of a tenant beside {told.plan.waiting} of another"
    yield from _few(told, "shared", "shared", what)


def _few(told: Told, lane: str, relay: str, what: str) -> Iterator[Finding]:
    """How long those waited who have few mails."""
    arrived = {sender: at for at, _, sender in told.relays[relay]["mails"]}
    few = {of.partition(" ")[2]: at for of, at in told.few_at.items() if of.startswith(f"{lane} ")}
    calm_end = told.began + told.plan.calm[1]
    # Whoever did not arrive while the run lasted has waited for ever.
    waits = [arrived.get(sender, float("inf")) - at for sender, at in few.items() if at < calm_end - _FEW_SECONDS]
    most = _percentile(waits, 1.0)
    told_of = f"p50 {_percentile(waits, 0.5):.2f} s, p99 {_percentile(waits, 0.99):.2f} s, most {most:.2f} s"
    promised = f"most < {_FEW_SECONDS:g} s"
    yield Finding(lane, what, told_of, promised, most < _FEW_SECONDS, is_timed=True)
    missing = len(few.keys() - arrived.keys())
    yield Finding(lane, "of these not arrived when the run ended, of all", f"{missing}, {len(few)}")


def _throttle(told: Told) -> Iterator[Finding]:
    relay = told.relays["throttle"]
    taken, refused = _per_second(told, _mails(told, "throttle")), _per_second(told, relay["throttled"])
    yield Finding(
        "throttle",
        "taken a second by a relay that stands " + str(THROTTLE),
        f"{taken:.1f}",
        ">= 40 %",
        taken >= 0.4 * THROTTLE,
        is_timed=True,
    )
    share = refused / max(1e-9, taken + refused)
    yield Finding(
        "throttle", "of the mails refused as too fast", f"{share:.1%}", "<= 10 %", share <= 0.1, is_timed=True
    )


def _cap(told: Told) -> Iterator[Finding]:
    relay = told.relays["cap"]
    peak, cap = relay["peak"], told.plan.cap
    when = f"{peak}, first after {relay['peaked'] - told.began:.1f} s"
    yield Finding("cap", "connections at once, at most", when, f"<= {cap}", peak <= cap)
    yield Finding("cap", "connections made, mails taken", f"{len(relay['let_in'])}, {len(relay['mails'])}")
    workers = len({worker for _, worker, _ in relay["mails"]})
    yield Finding("cap", "workers that had a turn", f"{workers} of {told.plan.workers}")


def _crowd(told: Told) -> Iterator[Finding]:
    relay = told.relays["crowd"]
    calm = len(_calm(told, relay["crowded"]))
    seconds = told.plan.calm[1] - told.plan.calm[0]
    yield Finding(
        "crowd",
        f"refused by a relay that stands {told.plan.crowd}: at first, then while calm",
        f"{len(relay['crowded']) - calm}, {calm}",
        "<= 1 a second",
        calm <= seconds,
        is_timed=True,
    )
    yield Finding("crowd", "connections at once, at most; mails taken", f"{relay['peak']}, {len(relay['mails'])}")


def _dead(told: Told) -> Iterator[Finding]:
    plan, relay = told.plan, told.relays["dead"]
    healed = told.moments["heal dead"]
    tries = [at for at in relay["dead"] if at < healed]
    recoveries = (healed - told.began) / plan.recovery_seconds
    steady = tries[_FAILURES:]  # after those that open the breaker
    # A worker that is killed with a probe, or a Redis that is away, costs one more.
    at_once, most = most_within(steady, 0.9 * plan.recovery_seconds), 2 if plan.has_faults else 1
    yield Finding("dead", "then tries in nine tenths of a recovery time", str(at_once), f"<= {most}", at_once <= most)
    allowed = int(recoveries) + 2 + told.kills // 4
    yield Finding(
        "dead",
        f"tries at first, and then in {recoveries:.0f} recovery times",
        f"{len(tries) - len(steady)}, {len(steady)}",
        f"<= {allowed}",
        len(steady) <= allowed,
    )
    burnt = sum(attempts > 0 for attempts in told.attempts)
    yield Finding(
        "dead",
        f"mails waiting; with an attempt burnt, of {len(told.attempts)} looked at",
        f"{plan.waiting}; {burnt}",
        "0",
        burnt == 0 and bool(told.attempts),
    )
    mails = _mails(told, "dead")
    after = next((at - healed for at in mails if at > healed), float("inf"))
    bound = plan.recovery_seconds + 1
    yield Finding(
        "dead", "seconds from healed to the first mail", f"{after:.2f}", f"<= {bound:g}", after <= bound, is_timed=True
    )
    if plan.is_weighed:
        yield from _costs(told)


def _costs(told: Told) -> Iterator[Finding]:
    """What it costs that mails wait for a dead relay, beside what the same fleet costs that has nothing to do."""
    idle, waiting = (
        {who: (to[who] - of[who]) / (to["at"] - of["at"]) for who in ("workers", "redis", "scripts")}
        for of, to in ((told.spent[f"{what} from"], told.spent[f"{what} to"]) for what in ("idle", "waiting"))
    )
    for who in ("workers", "redis"):
        yield Finding(
            "dead", f"CPU of {who} with nothing to do; then, of one core", f"{idle[who]:.2%}; {waiting[who]:.2%}"
        )
    more = sum(waiting[who] - idle[who] for who in ("workers", "redis"))
    yield Finding(
        "dead", "CPU that the waiting mails cost, of one core", f"{more:.2%}", "< 1 %", more < 0.01, is_timed=True
    )
    scripts = f"{idle['scripts']:.1f}; {waiting['scripts']:.1f}"
    yield Finding("dead", "scripts run a second with nothing to do; then", scripts)


def _failover(told: Told) -> Iterator[Finding]:
    died, healed = told.moments["die first"], told.moments["heal first"]
    first, second = _mails(told, "first"), _mails(told, "second")
    both = sorted([*first, *second])
    around = [at for at in both if died - 1 <= at <= died + 5]
    gap = max((later - earlier for earlier, later in pairwise(around)), default=float("inf"))
    yield Finding(
        "failover",
        "longest pause of the lane while the first relay dies",
        f"{gap:.2f} s",
        "<= 2 s",
        gap <= 2,
        is_timed=True,
    )
    before = [at for at in second if told.began + told.plan.calm[0] < at < died]
    yield Finding("failover", "by the second while the first works", str(len(before)))
    back = next((at - healed for at in first if at > healed), float("inf"))
    bound = told.plan.recovery_seconds + 1
    yield Finding(
        "failover",
        "seconds from healed to the first mail by it",
        f"{back:.2f}",
        f"<= {bound:g}",
        back <= bound,
        is_timed=True,
    )
