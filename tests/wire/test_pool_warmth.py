"""Connections that are kept open ahead, taken up again, and brought to an end in time."""

import contextlib
import gc
import threading

import pytest

from smtp_transport import (
    CancelledError,
    Connection,
    ConnectionPool,
    ErrorKind,
    Phase,
    PoolConfig,
    SmtpClient,
    SmtpConnectionError,
    SmtpError,
    TlsConfig,
)
from smtp_transport.testing import Behave, Close, Expect, FaultPlan, FaultServer, Say, Stall, StartTls, behaved, greeted
from tests.wire.pooling import counts, used


def wait_for_idle(pool, idle):
    pause = threading.Event()
    while counts(pool)[0] < idle or counts(pool)[1:] != (0, 0):
        assert not pause.wait(0.001)


@pytest.fixture
def tended(config_for):
    """Give a pool that tends itself."""
    with contextlib.ExitStack() as running:

        def pool(server, **limits):
            made = ConnectionPool(config_for(server, pool=PoolConfig(**limits)))
            running.callback(made.close_all)
            return made

        yield pool


def test_connections_are_opened_ahead_from_the_first_use_on(tended, server):
    """F-CONN-04."""
    pool = tended(server, min_idle=3)
    assert counts(pool) == (0, 0, 0)
    used(pool)
    wait_for_idle(pool, 3)
    with pool.acquire() as lease:
        assert lease.is_reused
    assert len(server.conversations) <= 4


def test_what_is_taken_is_replaced_as_far_as_there_is_room(tended, server):
    pool = tended(server, min_idle=1, max_connections=2)
    with pool.acquire(), contextlib.ExitStack() as second:
        pause = threading.Event()
        while counts(pool) != (1, 1, 0):
            assert not pause.wait(0.001)
        second.enter_context(pool.acquire(timeout=0))
        assert counts(pool) == (0, 2, 0)
    wait_for_idle(pool, 2)


def test_more_is_kept_warm_when_more_is_configured(tended, server):
    pool = tended(server, min_idle=1)
    used(pool)
    wait_for_idle(pool, 1)
    pool.configure(PoolConfig(min_idle=4))
    wait_for_idle(pool, 4)


def test_the_thread_ends_with_the_pool(tended, config_for, server):
    pools = [ConnectionPool(config_for(server, pool=PoolConfig(min_idle=1))) for _ in range(2)]
    threads = []
    for pool in pools:
        used(pool)
        wait_for_idle(pool, 1)
        threads.append(pool._books().housekeeper.thread)
    pools[0].close_all()
    threads[0].join(10)
    assert pools[1].give_up_idle()
    while pools[1].give_up_idle():
        pass
    del pool
    pools.clear()
    gc.collect()
    threads[1].join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_no_thread_is_started_where_nothing_is_kept_warm(tended, server):
    pool = tended(server)
    used(pool)
    assert pool._books().housekeeper is None
    assert pool.tend() is None


def test_a_warm_connection_is_checked_when_it_is_stale_and_only_then(pool_of, server, clock):
    """F-CONN-05."""
    pool = pool_of(server, min_idle=1, health_check_after=60, health_check_interval=7)
    used(pool)
    clock.now += 60
    assert pool.tend() == 7
    assert "NOOP" not in server.conversations[0].verbs
    clock.now += 1
    pool.tend()
    pool.tend()
    clock.now += 59
    assert used(pool).is_reused
    assert server.conversations[0].verbs.count("NOOP") == 1
    assert counts(pool) == (1, 0, 0)


@pytest.mark.parametrize("answer", [[Close()], [Say("421 4.4.2 idle"), Close()], [Say("500 what"), Stall()]])
def test_a_warm_connection_that_died_is_replaced_before_it_is_asked_for(pool_of, clock, answer):
    with FaultServer([*greeted(), Expect("NOOP"), *answer], behaved()) as server:
        pool = pool_of(server, min_idle=1)
        used(pool)
        clock.now += 61
        pool.tend()
        assert counts(pool) == (1, 0, 0)
        lease = used(pool)
        assert lease.is_reused
        assert len(server.conversations) == 2


def test_a_warm_connection_is_replaced_at_its_lifetime_and_idles_without_end(pool_of, server, clock):
    pool = pool_of(server, min_idle=1, max_lifetime=1_000, idle_timeout=100)
    used(pool)
    for _ in range(11):
        clock.now += 90
        pool.tend()
    assert len(server.conversations) == 1
    clock.now += 90
    pool.tend()
    assert counts(pool) == (1, 0, 0)
    assert [conversation.verbs[-1] for conversation in server.conversations] == ["QUIT", "EHLO"]


def test_a_server_that_cannot_be_reached_ahead_costs_nothing_and_is_tried_again(pool_of, server, clock):
    pool = pool_of(server, min_idle=2)
    address = server.host, server.port
    opened = pool._open
    tries = []

    def fails(config):
        tries.append(config)
        raise SmtpError("not now", ErrorKind.CONNECTION_REFUSED)

    pool._open = fails
    assert pool.tend() is not None
    assert (counts(pool), len(tries)) == ((0, 0, 0), 1)
    pool._open = opened
    pool.tend()
    assert counts(pool) == (2, 0, 0)
    assert address == (server.host, server.port)


def test_a_pool_takes_up_its_tls_sessions_again(config_for, issued, ca_file):
    with FaultServer((StartTls(), *behaved()), tls=issued()) as server:
        config = config_for(server, host="localhost", tls="implicit", tls_config=TlsConfig(ca_certs=ca_file))
        pool = ConnectionPool(config)
        resumed = []
        for _ in range(3):
            with pool.acquire(fresh=True) as lease:
                resumed.append(lease.connection._talk._stream.resumed_session)
        pool.close_all()
    assert resumed == [False, True, True]


def test_the_end_waits_for_those_who_come_back_in_time(pool_of, server):
    """F-CONN-06."""
    pool = pool_of(server)
    taken, back = threading.Event(), threading.Event()

    def hold():
        with pool.acquire():
            taken.set()
            back.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(30)
    ended = []
    closing = threading.Thread(target=lambda: ended.append(pool.close_all(timeout=30)))
    closing.start()
    while not pool._is_closed:
        pass
    back.set()
    closing.join()
    thread.join()
    assert ended == [True]
    assert counts(pool) == (0, 0, 0)
    assert server.conversations[0].verbs == ["EHLO", "QUIT"]


@pytest.mark.parametrize("mode", ["none", "implicit"])
def test_the_end_does_not_wait_for_a_server_that_stalls(config_for, issued, ca_file, mode):
    """F-CONN-06."""
    opening = (StartTls(),) if mode == "implicit" else ()
    script = [*opening, *greeted(), Expect("NOOP"), Stall()]
    with FaultServer(script, tls=issued(), strict=False) as server:
        config = config_for(server, host="localhost", tls=mode, tls_config=TlsConfig(ca_certs=ca_file))
        pool = ConnectionPool(config)
        answered = []

        def ask():
            with pool.acquire() as lease:
                answered.append(lease.connection.noop())

        thread = threading.Thread(target=ask)
        thread.start()
        server.wait_until(lambda: server.conversations and "NOOP" in server.conversations[0].verbs)
        assert pool.close_all(timeout=0.05) is False
        thread.join()
        assert answered == [False]
        assert counts(pool) == (0, 0, 0)


@pytest.mark.parametrize("occasion", ["DATA", "DOT"])
def test_a_mail_that_the_end_cuts_off_is_told_who_cut_it(config_for, email, occasion):
    """F-CONN-06."""
    with FaultServer([Behave(greeting="220 hi", faults=FaultPlan().at(occasion, 1, Stall()))]) as server:
        client, ended = SmtpClient(config_for(server, io_timeout=3_000)), []

        def send():
            with pytest.raises(SmtpConnectionError, match="closed by this client, which was shut down") as caught:
                client.send(email())
            ended.append(caught.value)

        thread = threading.Thread(target=send)
        thread.start()
        server.wait_until(lambda: server.conversations and "DATA" in server.conversations[0].verbs)
        if occasion == "DOT":
            server.wait_until(lambda: bool(server.conversations[0].contents))
        assert client.shutdown(timeout=0.05) is False
        thread.join(30)
    assert [error.phase for error in ended] == [Phase[occasion]]
    assert ("may have been accepted" in str(ended[0])) is (occasion == "DOT")


@pytest.mark.parametrize("script", [[Stall()], [Say("220 hi"), Stall()]], ids=["no greeting", "no EHLO"])
@pytest.mark.parametrize("mode", ["none", "implicit"])
def test_the_end_cuts_off_what_is_still_being_opened(config_for, issued, ca_file, script, mode):
    """F-CONN-06."""
    opening = (StartTls(),) if mode == "implicit" else ()
    with FaultServer([*opening, *script], tls=issued(), strict=False) as server:
        # Far longer than a test may take: only the cut ends this wait.
        config = config_for(
            server, host="localhost", tls=mode, tls_config=TlsConfig(ca_certs=ca_file), io_timeout=3_000
        )
        client, ended = SmtpClient(config), []

        def send():
            with pytest.raises(CancelledError) as caught:
                client.test_connection()
            ended.append(caught.value)

        thread = threading.Thread(target=send)
        thread.start()
        server.wait_until(lambda: bool(server.conversations))
        assert client.shutdown(timeout=0.05) is False
        thread.join(30)
        assert [type(error) for error in ended] == [CancelledError]
        assert client.pool_status().total == 0


def test_the_end_cuts_off_what_a_way_of_the_caller_s_own_has_opened(config_for, server):
    """F-CONN-06."""
    reached, go_on, ended = threading.Event(), threading.Event(), []

    def slowly(config):
        reached.set()
        assert go_on.wait(30)
        return Connection.open(config)

    client = SmtpClient(config_for(server), slowly)

    def send():
        with pytest.raises(CancelledError) as caught:
            client.test_connection()
        ended.append(caught.value)

    thread = threading.Thread(target=send)
    thread.start()
    assert reached.wait(30)
    assert client.shutdown(timeout=0.01) is False
    go_on.set()
    thread.join(30)
    assert len(ended) == 1
    assert server.conversations[0].verbs == ["EHLO"]


def test_an_end_without_a_deadline_does_not_wait(pool_of, server):
    pool = pool_of(server)
    with pool.acquire():
        assert pool.close_all() is False
    assert pool.close_all() is True
