"""However a holder of a connection comes to an end, its place is given back."""

import gc
import linecache
import sys
import threading
from contextlib import suppress

import pytest

from smtp_transport import Connection, Interceptor, PoolConfig, RetryConfig, SmtpClient
from smtp_transport.pool import PooledConnection
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
