"""What is measured of the SMTP client, and against whom."""

import os
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from bench.contenders import (
    IN_TIME,
    OCTETS,
    ONE_BY_ONE,
    WAYS,
    Contender,
    Send,
    an_email,
    by_smtplib,
    config_for,
    contenders,
    ours,
)
from bench.native import Native, built
from bench.peers import real_postfix
from bench.reconnecting import reconnecting
from bench.report import Figure, Section
from smtp_transport import Connection, ConnectionPool, Content, Email, EncodedFiles, PoolConfig, render

_ROUNDS = 7
_CACHE_OCTETS = 8 << 20
_ROUND_TRIP = 0.1
_FAR_CONNECTIONS = 20
_FAR_MAILS = {"chunked": 200, "streamed": 60, "pipelined": 12}
_FEWEST = 6
_C_MODES = {"lockstep": ("lock",), "pipelined": ("p2",), "streamed": ("p1",), "chunked": ("bdat", "-w", "10")}


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds on the clock and of this process's CPU."""

    wall: float
    cpu: float


def measured(*, quick: bool) -> Iterator[Section]:
    """Measure, one section after the other. Raises `bench.native.NoCompilerError`."""
    with built() as native:
        yield near(native, 100 if quick else 4_000)
        yield all_in(native, 100 if quick else 4_000)
        yield rendering(20 if quick else 1_000)
        yield far(native, 2, fewer=10) if quick else far(native, _FAR_CONNECTIONS)
        yield pooled(native, 20 if quick else 1_000)
    # A large RSA key takes seconds to make.
    yield reconnecting(20, ["P-256"]) if quick else reconnecting(300)
    yield real_postfix(20 if quick else 300)


def near(native: Native, mails: int) -> Section:
    """Compare everyone over one connection, on one core."""
    known = contenders()
    with one_core(), native.sink() as port, ExitStack() as opened:
        sends: dict[str, Send] = {name: opened.enter_context(each(port)) for name, each in known.items()}
        sends |= {f"C, {name}": _in_c(native, port, *mode) for name, mode in _C_MODES.items()}
        best = best_of(sends, mails)
    rows = {
        name: {
            "mails/s": mails / took.wall,
            f"x {ONE_BY_ONE}": best[ONE_BY_ONE].wall / took.wall,
            "x with timeout": best[IN_TIME].wall / took.wall,
            "CPU us/mail": took.cpu / mails * 1e6,
        }
        for name, took in best.items()
    }
    told = f"One connection, {OCTETS} octets, content ready; client and server on one core; best of {_ROUNDS} rounds."
    return Section("One connection", told, rows)


def all_in(native: Native, mails: int) -> Section:
    """Count the CPU of rendering and sending together."""
    email = an_email()

    def rendered(eight_bit: bool) -> Content:  # noqa: FBT001 - what a transaction calls
        return render(email, eight_bit=eight_bit)

    with one_core(), native.sink() as port, ExitStack() as opened:
        sends = {f"ours, {name}": opened.enter_context(ours(way, rendered)(port)) for name, way in WAYS.items()}
        best = best_of(sends, mails)
    rows = {name: {"CPU us/mail": took.cpu / mails * 1e6, "mails/s": mails / took.wall} for name, took in best.items()}
    return Section("Rendering and sending", f"The same, each mail rendered from an `Email` ({OCTETS} octets).", rows)


def rendering(times: int) -> Section:
    """Count the CPU of making a message."""
    file = bytes(range(256)) * 400

    def with_file() -> Email:
        # Octets of its own each time, as when an email comes from a queue.
        attached = {"filename": "a.bin", "content_type": "application/octet-stream", "data": bytes(bytearray(file))}
        told = {"text_body": "Hello.\n", "html_body": "<p>Hello.</p>", "attachments": [attached]}
        return an_email().model_copy(update=told)

    text, large = an_email(), with_file()
    cache = EncodedFiles(_CACHE_OCTETS)
    again = render(large, eight_bit=True, cache=cache)
    fresh = [with_file() for _ in range(times // 10 or 1)]
    rows = {
        f"text, {OCTETS} octets": _rendered([text] * times),
        "text, HTML and 100 KB, first time": _rendered(fresh),
        "the same with a cache, another equal file": _rendered(fresh, cache),
        "the same with a cache, the very file": _rendered([large] * times, cache),
    }
    return Section("Rendering", f"CPU of one message ({again.size} octets with the attachment).", rows)


def _rendered(emails: list[Email], cache: EncodedFiles | None = None) -> dict[str, Figure]:
    costs = []
    for email in emails:
        begun = time.process_time()
        render(email, eight_bit=True, cache=cache)
        costs.append(time.process_time() - begun)
    return {"CPU us": statistics.median(costs) * 1e6}


def far(native: Native, connections: int, fewer: int = 1) -> Section:
    """Send over many connections to a server that is 100 ms away; so many times fewer mails than usual."""
    told: dict[str, tuple[int, Contender]] = {ONE_BY_ONE: (_FEWEST, by_smtplib)}
    told |= {f"ours, {name}": (_FAR_MAILS.get(name, _FEWEST), ours(way)) for name, way in WAYS.items()}
    rows = {}
    with native.sink("-r", str(int(_ROUND_TRIP * 1000))) as port:
        for name, (most, contender) in told.items():
            mails = max(1, most // fewer)
            seconds = _side_by_side(contender, port, connections, mails)
            rows[name] = {
                "mails/connection/round trip": mails * _ROUND_TRIP / seconds,
                "mails/s": mails * connections / seconds,
            }
    note = f"{connections} connections, each with a mail behind it when the clock starts; {OCTETS} octets."
    return Section("100 ms away", note, rows)


def _side_by_side(contender: Contender, port: int, connections: int, mails: int) -> float:
    """Give the seconds until the last of so many threads has sent its mails."""
    ready = threading.Barrier(connections + 1)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with contender(port) as send:
                send(1)  # what a server can, a client finds out once
                ready.wait()
                send(mails)
                ready.wait()
        except BaseException as error:  # noqa: BLE001 - told by the caller
            failed.append(error)
            ready.abort()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    begun = 0.0
    with suppress(threading.BrokenBarrierError):
        ready.wait()
        begun = time.perf_counter()
        ready.wait()
    seconds = time.perf_counter() - begun
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return seconds


def pooled(native: Native, times: int) -> Section:
    """Measure what a connection costs, and five of them in use at once."""
    with native.sink() as port:
        config = config_for(port, {}).model_copy(update={"pool": PoolConfig(max_connections=5)})
        pool = ConnectionPool(config)
        cold = [_timed(lambda: Connection.open(config).quit()) for _ in range(times // 4)]
        with pool.acquire():
            pass

        def lease() -> None:
            with pool.acquire():
                pass

        warm = [_timed(lease) for _ in range(times)]
        pool.close_all()
        seconds = _side_by_side(ours(next(iter(WAYS.values()))), port, 5, times)
    rows: dict[str, Mapping[str, Figure]] = {
        "opened and closed": {"p50 ms": _percentile(cold, 50), "p99 ms": _percentile(cold, 99)},
        "from the pool": {"p50 ms": _percentile(warm, 50), "p99 ms": _percentile(warm, 99)},
        "5 connections, lockstep": {"mails/s": 5 * times / seconds},
    }
    return Section("Connections", "On the loopback interface, without TLS (NF-PERF-01, NF-PERF-02, NF-PERF-03).", rows)


def _percentile(seconds: list[float], rank: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[rank - 1] * 1000


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def best_of(sends: Mapping[str, Send], mails: int) -> dict[str, Took]:
    """Let everyone send in turns, and give each one's best round: what disturbs only ever slows."""
    rounds: dict[str, list[Took]] = {name: [] for name in sends}
    for send in sends.values():
        send(max(1, mails // 20))
    for _ in range(_ROUNDS):
        for name, send in sends.items():
            cpu, wall = _cpu(), time.perf_counter()
            send(mails)
            rounds[name].append(Took(time.perf_counter() - wall, _cpu() - cpu))
    return {
        name: Took(min(took.wall for took in all_), min(took.cpu for took in all_)) for name, all_ in rounds.items()
    }


def _cpu() -> float:
    """Count this process and those it waited for: the client in C is one of them, a server that still runs is not."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def _in_c(native: Native, port: int, *mode: str) -> Send:
    return lambda count: native.send(port, count, OCTETS, "-M", *mode)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core where the system can: on two, it is the waking of the other that is measured."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
