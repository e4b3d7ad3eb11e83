"""However a holder of a connection comes to an end, its place is given back."""

import gc
import linecache
import signal
import sys
import threading
from contextlib import suppress

import pytest

from smtp_transport import (
    CancelledError,
    Connection,
    ConnectionPool,
    ErrorKind,
    Interceptor,
    PoolConfig,
    PoolError,
    RetryConfig,
    SmtpClient,
    SmtpConfig,
)
from smtp_transport.pool import PooledConnection
from smtp_transport.pool.turns import Bell
from tests.wire.pooling import counts, used, wait_for_pending


def test_a_thread_that_dies_gives_its_place_back(pool_of, server):
    pool = pool_of(server, max_connections=1)

    def die():
        with suppress(SystemExit), pool.acquire():
            sys.exit()

    for _ in range(3):
        thread = threading.Thread(target=die)
        thread.start()
        thread.join()
    assert counts(pool) == (1, 0, 0)


def test_a_lease_that_is_dropped_gives_its_place_back_and_wakes_a_waiter(pool_of, server):
    pool = pool_of(server, max_connections=1)
    lease = pool.acquire()
    served = threading.Event()

    def take():
        with pool.acquire(timeout=30) as other:
            assert not other.is_reused
            served.set()

    thread = threading.Thread(target=take)
    thread.start()
    wait_for_pending(pool, 1)
    del lease
    gc.collect()
    thread.join()
    assert served.is_set()
    server.wait_until(lambda: server.conversations[0].is_over)
    assert server.conversations[0].verbs == ["EHLO"]


class Interrupted(BaseException):
    """Stands for a signal's exception, which may come between any two lines."""


def interrupted_at(line: int, work) -> bool:
    """Run work and interrupt it before the nth line that the pool executes; False if it has fewer.

    A `with` line is left out: Python runs no signal handler between it and the lock, but its tracing strikes there.
    """
    left = line

    def trace(frame, event, _):
        nonlocal left
        ours = "/smtp_transport/pool/" in frame.f_code.co_filename
        # What cleans up after one interruption is not struck by a second.
        if not ours or frame.f_code.co_name in {"__del__", "drop", "forget", "ring"}:
            return None
        code = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not code.lstrip().startswith("with "):
            left -= 1
            if left == 0:
                raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a link interrupted while it is opened
@pytest.mark.parametrize("stale", [False, True])
def test_no_place_is_lost_wherever_an_interruption_strikes(pool_of, server, clock, stale):
    pool = pool_of(server, max_connections=1, max_lifetime=14_400)
    line = 0
    struck = True
    while struck:
        line += 1
        clock.now += 61 if stale else 0
        struck = interrupted_at(line, lambda: used(pool, timeout=0))
        idle, in_use, pending = counts(pool)
        assert (in_use, pending) == (0, 0), f"lost at line {line}"
        assert idle <= 1
        used(pool, timeout=0)
    assert line > 30


def raising(what):
    def act(*_):
        raise what

    return act


def _leave_idle(pool):
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases:
        lease.release()


CLOSING = {
    "what idled out": ({"max_connections": 4}, 400, lambda pool: used(pool, timeout=0)),
    "what a smaller pool has no room for": (
        {"max_connections": 3},
        0,
        lambda pool: pool.configure(PoolConfig(max_connections=1)),
    ),
    "all": ({"max_connections": 3}, 0, lambda pool: pool.close_all()),
    "what another pool wants": ({"max_connections": 3}, 0, lambda pool: pool.give_up_idle()),
    "what is stale": ({"max_connections": 4, "min_idle": 2}, 400, lambda pool: pool.tend()),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("limits", "idle_for", "work"), CLOSING.values(), ids=CLOSING)
def test_an_interruption_while_idle_connections_are_closed_costs_no_place(
    pool_of, server, clock, limits, idle_for, work
):
    line = 0
    struck = True
    while struck:
        line += 1
        pool = pool_of(server, **limits)
        _leave_idle(pool)
        clock.now += idle_for
        struck = interrupted_at(line, lambda pool=pool: work(pool))
        _, in_use, pending = counts(pool)
        assert (in_use, pending) == (0, 0), f"lost at line {line}"
        pool.close_all()
    assert line > 20


def test_who_is_interrupted_can_send_while_the_interruption_is_handled(config_for, server, email):
    """A soft time limit is an exception like that, and whoever catches it may want to mail of it."""

    class Limit(Interceptor):
        def after_send(self, email, result):
            raise Interrupted

    for fields in ({}, {"retry": RetryConfig()}):
        config = config_for(server, pool=PoolConfig(max_connections=1, acquire_timeout=0.01), **fields)
        with SmtpClient(config, interceptors=[Limit()]) as client:
            for _ in range(3):
                with pytest.raises(Interrupted) as handled:
                    client.send_batch([email(), email()])
                assert handled.tb
                assert client.pool_status().in_use == 0


def test_who_is_interrupted_at_a_farewell_leaves_no_place_to_the_others(pool_of, server, monkeypatch):
    pool = pool_of(server, max_connections=3)
    _leave_idle(pool)
    with monkeypatch.context() as patched:
        patched.setattr(Connection, "quit", raising(Interrupted))
        with pytest.raises(Interrupted) as handled:
            pool.configure(PoolConfig(max_connections=1))
    assert handled.tb
    assert counts(pool) == (1, 0, 0)


def test_a_lease_that_was_released_leaves_nothing_to_its_finalizer(pool_of, server, monkeypatch):
    dropped = []
    pool = pool_of(server, max_connections=2)
    books = pool._books()
    monkeypatch.setattr(books, "drop", lambda ticket: dropped.append(ticket.number))
    released, lost = pool.acquire(), pool.acquire()
    numbers = released.id, lost.id
    released.release()
    del released
    gc.collect()
    assert dropped == []
    lost.connection.close()
    del lost
    gc.collect()
    assert dropped == [numbers[1]]


def test_a_lease_that_an_exception_kept_from_being_made_needs_no_finalizer():
    half_made = PooledConnection.__new__(PooledConnection)
    half_made.release()
    half_made.__del__()
    assert not half_made.is_reused


def struck_at(line: int, work, handler) -> bool:
    """Run work, and a signal's handler before the nth line that the pool executes; False if it has fewer."""
    left = line

    def trace(frame, event, _):
        nonlocal left
        if "/smtp_transport/pool/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                handler()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return left <= 0


@pytest.mark.parametrize(
    "handler",
    [
        lambda pool: pool.status(),
        lambda pool: pool.give_up_idle(),
        lambda pool: pool.configure(PoolConfig(max_connections=1)),
        lambda pool: pool.close_all(timeout=0),
    ],
    ids=["asks", "closes what is idle", "configures", "ends"],
)
def test_a_signal_handler_may_use_the_pool_wherever_it_strikes(pool_of, server, clock, handler):
    """A handler of SIGTERM that shuts the client down strikes in the thread that is in the pool."""
    line = 0
    is_struck = [True]

    def strike_everywhere():
        nonlocal line
        while is_struck[-1]:
            line += 1
            pool = pool_of(server, max_connections=2)
            used(pool)
            clock.now += 61

            def work(pool=pool):
                with suppress(PoolError, CancelledError):
                    used(pool, timeout=0)

            is_struck.append(struck_at(line, work, lambda pool=pool: handler(pool)))
            _, in_use, pending = counts(pool)
            assert (in_use, pending) == (0, 0), f"lost at line {line}"
            pool.close_all()
        is_struck.append("done")

    # In a thread of its own, so that a deadlock fails the test instead of stopping all of them.
    thread = threading.Thread(target=strike_everywhere, daemon=True)
    thread.start()
    thread.join(60)
    assert is_struck[-1] == "done", f"at line {line}"
    assert line > 30


@pytest.mark.parametrize("late", [0, -1, -1e9])
def test_a_wait_whose_time_is_up_ends(late):
    assert not Bell().wait(late)


def test_a_bell_that_was_rung_often_is_heard_once():
    bell = Bell()
    for _ in range(3):
        bell.ring()
    assert bell.wait(60)
    assert not bell.wait(0)


def test_signals_end_no_wait_for_a_place_early_and_let_none_go_on(server):
    """One signal in many comes when the time is just up."""
    config = SmtpConfig(host="127.0.0.1", port=server.port, tls="none", pool=PoolConfig(max_connections=1))
    pool = ConnectionPool(config)
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with pool.acquire():
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            for _ in range(300):
                with pytest.raises(PoolError) as late:
                    pool.acquire(timeout=0.001)
                assert late.value.kind is ErrorKind.ACQUIRE_TIMEOUT
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        pool.close_all()
