import gc
import linecache
import sys
import threading
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport import CancelledError, ConnectionPool, ErrorKind, PoolConfig, PoolError, SmtpConfig, SmtpError
from smtp_transport.pool import limits
from smtp_transport.testing import Close, Expect, FaultServer, Say, Stall, behaved, greeted, quit_said


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    with FaultServer(behaved()) as running:
        yield running


@pytest.fixture
def pool_of(config_for, clock):
    """Give a pool with these limits; its links live for all of `max_lifetime` unless a chance is told."""
    with ExitStack() as running:

        def pool(server, chance=0.0, **fields):
            made = ConnectionPool(config_for(server, pool=PoolConfig(**fields)), clock=clock, chance=lambda: chance)
            running.callback(made.close_all)
            return made

        yield pool


def counts(pool):
    status = pool.status()
    assert status.total == status.idle + status.in_use
    return status.idle, status.in_use, status.pending


def used(pool, **how):
    with pool.acquire(**how) as lease:
        return lease


def test_a_connection_is_used_again(pool_of, server):
    """F-CONN-04."""
    pool = pool_of(server)
    first, second = used(pool), used(pool)
    assert (first.is_reused, second.is_reused) == (False, True)
    assert second.id > first.id
    assert len(server.conversations) == 1
    assert counts(pool) == (1, 0, 0)


def test_the_newest_idle_connection_is_used_first(pool_of, server):
    pool = pool_of(server)
    with pool.acquire() as first, pool.acquire() as second:
        older, newer = first.connection, second.connection
        second.release()
        first.release()
    with pool.acquire() as lease:
        assert lease.connection is older  # which came back last
        with pool.acquire() as other:
            assert other.connection is newer


def test_nothing_is_opened_before_it_is_asked_for(pool_of, server):
    pool = pool_of(server)
    assert counts(pool) == (0, 0, 0)
    assert server.conversations == []


def test_the_bound_holds_and_the_wait_for_a_place_ends(pool_of, server):
    """F-CONN-04."""
    pool = pool_of(server, max_connections=2)
    with pool.acquire(), pool.acquire():
        with pytest.raises(PoolError) as failed:
            pool.acquire(timeout=0.05)
        assert failed.value.kind is ErrorKind.ACQUIRE_TIMEOUT
        assert "max_connections" in failed.value.message
        with pytest.raises(PoolError) as failed:
            pool.acquire(timeout=0)
        assert failed.value.kind is ErrorKind.POOL_EXHAUSTED
        assert failed.value.is_retryable
        assert counts(pool) == (0, 2, 0)
    assert counts(pool) == (2, 0, 0)


def wait_for_pending(pool, pending):
    give_up = threading.Event()
    while pool.status().pending != pending:
        assert not give_up.wait(0.001)


def test_those_who_wait_are_served_in_their_order(pool_of, server):
    pool = pool_of(server, max_connections=1)
    served = []
    threads = []
    with pool.acquire():
        for number in range(5):

            def take(number=number):
                with pool.acquire(timeout=30):
                    served.append(number)

            threads.append(threading.Thread(target=take))
            threads[-1].start()
            wait_for_pending(pool, number + 1)
    for thread in threads:
        thread.join()
    assert served == list(range(5))
    assert len(server.conversations) == 1


def test_one_who_gives_up_waiting_holds_up_nobody(pool_of, server):
    pool = pool_of(server, max_connections=1)
    served = threading.Event()

    def take():
        with pool.acquire(timeout=30):
            served.set()

    def give_up():
        with pytest.raises(PoolError):
            pool.acquire(timeout=0.05)

    with pool.acquire():
        impatient = threading.Thread(target=give_up)
        impatient.start()
        wait_for_pending(pool, 1)
        patient = threading.Thread(target=take)
        patient.start()
        impatient.join()
    patient.join()
    assert served.is_set()
    assert counts(pool) == (1, 0, 0)


def test_many_threads_share_few_connections(pool_of, server):
    """F-CONN-04, NF-PERF-03."""
    pool = pool_of(server, max_connections=3)
    busiest = []

    def work():
        for _ in range(40):
            with pool.acquire(timeout=60) as lease:
                assert lease.connection.noop()
                busiest.append(pool.status())

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(busiest) == 480
    assert max(status.total for status in busiest) <= 3
    assert counts(pool)[1:] == (0, 0)
    assert len(server.conversations) <= 3


def test_a_noop_is_said_only_when_a_connection_is_stale(pool_of, server, clock):
    """F-CONN-05."""
    pool = pool_of(server, health_check_after=60)
    used(pool)
    clock.now += 60
    used(pool)
    assert "NOOP" not in server.conversations[0].verbs
    clock.now += 60.1
    assert used(pool).is_reused
    assert server.conversations[0].verbs.count("NOOP") == 1
    assert used(pool, check=True).is_reused
    assert server.conversations[0].verbs.count("NOOP") == 2


@pytest.mark.parametrize("answer", [[Close()], [Say("421 4.4.2 idle"), Close()], [Say("500 what"), Stall()]])
def test_a_connection_that_fails_its_check_is_replaced(pool_of, clock, answer):
    """F-CONN-05."""
    with FaultServer([*greeted(), Expect("NOOP"), *answer], behaved()) as server:
        pool = pool_of(server)
        used(pool)
        clock.now += 61
        assert not used(pool).is_reused
        assert counts(pool) == (1, 0, 0)
    assert len(server.conversations) == 2


def test_a_connection_is_retired_at_its_lifetime_with_a_quit(pool_of, server, clock):
    """F-CONN-05, F-CONN-06."""
    pool = pool_of(server, max_lifetime=100, idle_timeout=1_800, health_check_after=1_800)
    used(pool)
    clock.now += 99
    assert used(pool).is_reused
    clock.now += 1
    assert not used(pool).is_reused
    assert server.conversations[0].verbs == ["EHLO", "QUIT"]


def test_a_connection_that_grows_old_in_use_is_retired_when_it_comes_back(pool_of, server, clock):
    pool = pool_of(server, max_lifetime=100)
    with pool.acquire():
        clock.now += 100
    assert counts(pool) == (0, 0, 0)
    assert server.conversations[0].verbs == ["EHLO", "QUIT"]


def test_lifetimes_are_spread(pool_of, server, clock):
    pool = pool_of(server, chance=1.0, max_lifetime=100, idle_timeout=1_800)
    used(pool)
    clock.now += 90
    assert not used(pool).is_reused


def test_a_connection_that_carried_its_number_of_mails_is_retired(pool_of, server):
    pool = pool_of(server, max_messages=2)
    with pool.acquire() as lease:
        lease.connection.delivered = 1
    assert counts(pool) == (1, 0, 0)
    with pool.acquire() as lease:
        lease.connection.delivered = 2
    assert counts(pool) == (0, 0, 0)
    assert server.conversations[0].verbs[-1] == "QUIT"


def test_what_idles_too_long_is_closed_but_for_the_minimum(pool_of, server, clock):
    pool = pool_of(server, idle_timeout=100, min_idle=1)
    with pool.acquire(), pool.acquire(), pool.acquire():
        pass
    clock.now += 101
    assert used(pool).is_reused
    assert counts(pool) == (1, 0, 0)
    verbs = sorted(conversation.verbs[-1] for conversation in server.conversations)
    assert verbs == ["NOOP", "QUIT", "QUIT"]


def test_an_error_in_the_block_gives_the_place_back(pool_of, server):
    pool = pool_of(server)
    with pytest.raises(ZeroDivisionError), pool.acquire():
        _ = 1 / 0
    assert counts(pool) == (1, 0, 0)


def test_an_unusable_connection_does_not_come_back(pool_of, server):
    pool = pool_of(server)
    with pool.acquire() as lease:
        lease.connection.close()
    assert counts(pool) == (0, 0, 0)


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
        if not ours or frame.f_code.co_name in {"__del__", "_drop", "forget", "ring"}:
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


def test_a_server_that_cannot_be_reached_takes_no_place(pool_of, server):
    pool = pool_of(server, max_connections=1)
    server.stop()
    for _ in range(3):
        with pytest.raises(SmtpError) as failed:
            pool.acquire(timeout=0)
        assert failed.value.kind is ErrorKind.CONNECTION_REFUSED
    assert counts(pool) == (0, 0, 0)


def test_a_pool_that_grows_serves_those_who_wait(pool_of, server):
    pool = pool_of(server, max_connections=1)
    served = threading.Event()

    def take():
        with pool.acquire(timeout=30):
            served.set()

    with pool.acquire():
        thread = threading.Thread(target=take)
        thread.start()
        wait_for_pending(pool, 1)
        pool.configure(PoolConfig(max_connections=2))
        thread.join()
    assert served.is_set()
    assert pool.status().max_size == 2


def test_a_pool_that_shrinks_closes_what_is_too_much_now_or_later(pool_of, server):
    pool = pool_of(server, max_connections=4)
    with pool.acquire(), pool.acquire():
        with pool.acquire(), pool.acquire():
            pass
        assert counts(pool) == (2, 2, 0)
        pool.configure(PoolConfig(max_connections=1))
        assert counts(pool) == (0, 2, 0)
    assert counts(pool) == (1, 0, 0)


def test_a_closed_pool_lends_nothing_and_lets_nobody_wait(pool_of, server):
    pool = pool_of(server, max_connections=1)
    outcome = []

    def take():
        try:
            pool.acquire(timeout=30)
        except CancelledError as error:
            outcome.append(error.kind)

    with pool.acquire():
        threads = [threading.Thread(target=take) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_for_pending(pool, 3)
        pool.close_all()
        for thread in threads:
            thread.join()
        assert outcome == [ErrorKind.CANCELLED] * 3
        assert counts(pool) == (0, 1, 0)
    assert counts(pool) == (0, 0, 0)
    assert server.conversations[0].verbs[-1] == "QUIT"
    with pytest.raises(CancelledError):
        pool.acquire()


def test_all_idle_connections_are_bidden_farewell(pool_of):
    """F-CONN-06."""
    with FaultServer([*greeted(), *quit_said()]) as server:
        pool = pool_of(server)
        with pool.acquire(), pool.acquire():
            pass
        pool.close_all()
        server.wait_until(lambda: all(conversation.is_over for conversation in server.conversations))
    assert [conversation.verbs for conversation in server.conversations] == [["EHLO", "QUIT"]] * 2


def test_a_lease_that_is_over_is_of_no_use(pool_of, server):
    lease = used(pool_of(server))
    lease.release()
    with pytest.raises(PoolError) as refused:
        _ = lease.connection
    assert refused.value.kind is ErrorKind.CONNECTION_UNHEALTHY


any_limits = st.builds(
    PoolConfig,
    max_connections=st.integers(5, 20),
    min_idle=st.integers(0, 5),
    max_lifetime=st.floats(1, 14_400),
    max_messages=st.none() | st.integers(1, 100),
    idle_timeout=st.floats(1, 1_800),
    health_check_after=st.floats(0, 3_600),
)


@given(any_limits, st.floats(0, 1))
def test_a_lifetime_is_never_longer_than_allowed_nor_much_shorter(config, chance):
    assert 0.9 * config.max_lifetime <= limits.lifetime(config, chance) * (1 + 1e-9)
    assert limits.lifetime(config, chance) <= config.max_lifetime


@given(any_limits, st.lists(st.floats(0, 4_000)))
def test_idle_links_go_when_they_are_overdue_and_the_minimum_stays(config, idle_for):
    idle_for.sort(reverse=True)
    going = limits.idled_out(idle_for, config)
    assert all(seconds > config.idle_timeout for seconds in idle_for[:going])
    kept = idle_for[going:]
    assert len(kept) >= min(len(idle_for), config.min_idle)
    assert all(seconds <= config.idle_timeout for seconds in kept) or len(kept) <= config.min_idle


@given(any_limits, st.integers(0, 40), st.integers(0, 40))
def test_a_surplus_is_what_does_not_fit_and_is_idle(config, idle, in_use):
    going = limits.surplus(idle, in_use, config)
    assert 0 <= going <= idle
    assert idle - going + in_use <= config.max_connections or going == idle
    assert going == 0 or idle - (going - 1) + in_use > config.max_connections


@given(any_limits, st.floats(0, 5_000), st.integers(0, 200))
def test_a_link_is_spent_by_age_or_by_mails(config, age, mails):
    allowed = limits.lifetime(config, 0.5)
    by_mails = config.max_messages is not None and mails >= config.max_messages
    assert limits.is_spent(age, allowed, mails, config) is (age >= allowed or by_mails)


@given(any_limits, st.floats(0, 5_000))
def test_a_link_that_was_spared_the_idle_timeout_is_checked(config, idle_for):
    assert limits.needs_check(idle_for, config) or idle_for <= min(config.idle_timeout, config.health_check_after)


def test_the_pool_of_another_configuration_is_another(server, config_for):
    assert ConnectionPool(config_for(server)).status() == ConnectionPool(SmtpConfig(host="localhost")).status()
