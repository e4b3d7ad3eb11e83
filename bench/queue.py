"""What is measured of the queue, from an application's call to the relay's 250, and against whom."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.depth import by_depth
from bench.native import Native, built
from bench.processes import NotReadyError
from bench.report import Figure, Section
from bench.rivals import postfix
from bench.rivals.openers import bullmq, celery_and_smtplib, naive_command, naive_environment
from bench.sink import Sink, StalledError
from bench.stand import CHILDREN, ROOT, Opener, Queue, UnavailableError, child, environment, ours, producer, store

CELERY, BULLMQ, POSTFIX, OURS = "Celery and smtplib", "BullMQ and nodemailer", "Postfix", "mailworker"
_RATE = 100
_FAR_CONNECTIONS, _FAR_SECONDS, _FAR_TRIP_MS = 20, 0.1, 20
_CAP = _FAR_CONNECTIONS / _FAR_SECONDS
_NOT = "not measured: {}"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: mails for us and for each peer, seconds of offered load, and how deep a queue is."""

    ours: int
    theirs: int
    seconds: int
    far: int
    calls: int
    deep: int
    paused: int


_WHOLE = Sizes(ours=60_000, theirs=4_000, seconds=20, far=6_000, calls=2_000, deep=1_000_000, paused=100_000)
_QUICK = Sizes(ours=400, theirs=60, seconds=1, far=40, calls=20, deep=2_000, paused=200)


def measured(*, quick: bool) -> Iterator[Section]:
    """Measure, one section after the other. Raises `bench.native.NoCompilerError`."""
    sizes = _QUICK if quick else _WHOLE
    with built() as native:
        yield from near(native, sizes)
        yield far(native, sizes)
        yield accepting(sizes)
        yield by_depth(1_000 if not quick else 100, sizes.deep)
        yield paused(native, sizes)


def near(native: Native, sizes: Sizes) -> Iterator[Section]:
    """Deliver a backlog, then a steady trickle: the two figures come from the same worker."""
    contenders: Mapping[str, tuple[Opener, tuple[str, ...]]] = {
        OURS: (ours(), ()),
        f"{OURS}, no CHUNKING": (ours(), ("-C",)),
        CELERY: (celery_and_smtplib(), ()),
        BULLMQ: (bullmq(), ()),
        POSTFIX: (postfix.opened, ()),
    }
    backlog: dict[str, Mapping[str, Figure]] = {}
    trickle: dict[str, Mapping[str, Figure]] = {}
    for name, (opener, options) in contenders.items():
        mails = sizes.ours if name.startswith(OURS) else sizes.theirs
        try:
            with _standing(native, opener, *options) as (queue, sink):
                backlog[name] = delivered(queue, sink, mails)
                trickle[name] = offered(queue, sink, sizes.seconds)
        except (UnavailableError, NotReadyError, StalledError) as error:
            backlog[name] = trickle[name] = {"mails/s": _NOT.format(error)}
    told = (
        f"5 KB mails that are in line when it begins, to the relay's 250; {CHILDREN} processes; journal every second."
    )
    yield Section("Queued to accepted", told, _against(backlog, {"x Celery": CELERY, "x BullMQ": BULLMQ}))
    told = f"{_RATE} mails a second are handed over one by one; from the call to the relay's 250."
    yield Section("Latency", told, trickle)


def delivered(queue: Queue, sink: Sink, mails: int) -> dict[str, float]:
    """Have so many mails in line, then delivered; the clock runs from the first 250 to the last."""
    queue.fill(max(20, mails // 50))
    sink.await_mails(max(20, mails // 50))
    queue.hold()
    queue.fill(mails)
    sink.reset()
    before = queue.cpu()
    queue.go()
    counts = sink.await_mails(mails)
    return {"mails/s": mails / counts.span, "CPU s/1000": (queue.cpu() - before) / mails * 1000}


def offered(queue: Queue, sink: Sink, seconds: int) -> Mapping[str, Figure]:
    """Hand over mails at an even rate."""
    before = sink.counts().mails
    queue.offer(_RATE, 1)
    sink.await_mails(before + _RATE)
    sink.reset()
    late = queue.offer(_RATE, seconds)
    counts = sink.await_mails(_RATE * seconds)
    return {"p50 ms": counts.p50, "p99 ms": counts.p99, "offered late by ms": late}


def far(native: Native, sizes: Sizes) -> Section:
    """Deliver to a server that is slow and far and bounds connections."""
    contenders: Mapping[str, Opener] = {
        f"{OURS}, 1 process": ours(1, RELAYS__DEFAULT__MAX_CONNECTIONS=_FAR_CONNECTIONS),
        f"{CELERY}, {_FAR_CONNECTIONS} processes": celery_and_smtplib(_FAR_CONNECTIONS),
        f"{BULLMQ}, 1 process": bullmq(1, _FAR_CONNECTIONS),
        POSTFIX: postfix.opened,
    }
    slow = ("-t", str(int(_FAR_SECONDS * 1000)), "-r", str(_FAR_TRIP_MS), "-m", str(_FAR_CONNECTIONS))
    rows: dict[str, Mapping[str, Figure]] = {}
    for name, opener in contenders.items():
        mails = sizes.far if name.startswith(OURS) else sizes.far // 3
        try:
            with _standing(native, opener, *slow) as (queue, sink):
                told = delivered(queue, sink, mails)
                counts = sink.counts()
            share = told["mails/s"] / _CAP * 100
            rows[name] = {**told, "% of the cap": share, "most at once": counts.peak, "refused": counts.refused}
        except (UnavailableError, NotReadyError, StalledError) as error:
            rows[name] = {"mails/s": _NOT.format(error)}
    what = (
        f"{_FAR_SECONDS * 1000:g} ms for each transaction, {_FAR_TRIP_MS} ms away, {_FAR_CONNECTIONS} connections "
        f"allowed: no more than {_CAP:g} mails/s are possible."
    )
    return Section("A far server", what, rows)


def accepting(sizes: Sizes) -> Section:
    """Time an application's calls; nobody serves the queue meanwhile."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place, store(Path(place)) as server:
        env, naive = environment(server, 1), naive_environment(server, 1)
        seconds = {
            "Celery, .delay() of an empty task": _timed([*naive_command(), "delay"], sizes.calls, naive),
            f"{OURS}, .delay()": _timed([*producer(), "delay"], sizes.calls, env),
            f"{OURS}, .many()": _timed([*producer(), "many"], sizes.calls * 10, env) / 10,
        }
    base = next(iter(seconds.values()))
    rows = {
        name: {"calls or mails/s": sizes.calls / took, "us each": took / sizes.calls * 1e6, "x Celery": base / took}
        for name, took in seconds.items()
    }
    return Section("Accepting", "One caller, 5 KB mails; until the call has returned.", rows)


def paused(native: Native, sizes: Sizes) -> Section:
    """Count the CPU of a worker whose lane is left alone."""
    with _standing(native, ours()) as (queue, _):
        queue.hold()
        rows = {"an empty lane": _idling(queue, sizes.seconds)}
        queue.fill(sizes.paused)
        rows[f"{sizes.paused} mails in a paused lane"] = _idling(queue, sizes.seconds)
    told = f"Worker with {CHILDREN} processes and server together, over {sizes.seconds} s, of one core."
    return Section("A paused lane", told, rows)


def _idling(queue: Queue, seconds: int) -> Mapping[str, Figure]:
    time.sleep(1)
    before = queue.cpu()
    time.sleep(seconds)
    return {"CPU %": (queue.cpu() - before) / seconds * 100}


@contextmanager
def _standing(native: Native, opener: Opener, *options: str) -> Iterator[tuple[Queue, Sink]]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as place,
        native.sink(*options) as port,
        opener(port, Path(place)) as queue,
    ):
        sink = Sink(port, native.folder)
        sink.reset()
        yield queue, sink


def _against(
    rows: Mapping[str, Mapping[str, Figure]], columns: Mapping[str, str]
) -> Mapping[str, Mapping[str, Figure]]:
    """Add what each did against a peer, where both were measured."""
    added: dict[str, Mapping[str, Figure]] = {}
    for name, row in rows.items():
        ratios: dict[str, Figure] = {}
        for column, peer in columns.items():
            mine, theirs = row.get("mails/s"), rows[peer].get("mails/s")
            if isinstance(mine, float) and isinstance(theirs, float):
                ratios[column] = mine / theirs
        added[name] = {**row, **ratios}
    return added


def _timed(command: list[str], calls: int, env: Mapping[str, str]) -> float:
    return child([*command, str(calls)], env, ROOT)["seconds"]
