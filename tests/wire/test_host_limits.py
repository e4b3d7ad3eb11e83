"""Several clients in one process share a bound on their connections to a server."""

import contextlib
import sys
import threading

import pytest

from smtp_transport import ConnectionPool, ErrorKind, HostLimits, PoolConfig, PoolError, SmtpClient, SmtpError
from smtp_transport.testing import FaultServer, behaved
from tests.wire.pooling import counts, used


@pytest.fixture
def sharing(config_for):
    """Give pools that share a bound."""
    with contextlib.ExitStack() as running:

        def pool(server, shared, **limits):
            made = ConnectionPool(config_for(server, pool=PoolConfig(**limits)), host_limits=shared)
            running.callback(made.close_all)
            return made

        yield pool


def test_the_bound_holds_for_all_of_them_together(sharing, server):
    shared = HostLimits(2)
    one, two = sharing(server, shared), sharing(server, shared)
    with one.acquire(), two.acquire():
        for pool, timeout, kind in ((one, 0, ErrorKind.POOL_EXHAUSTED), (two, 0.05, ErrorKind.ACQUIRE_TIMEOUT)):
            with pytest.raises(PoolError) as failed:
                pool.acquire(timeout=timeout)
            assert failed.value.kind is kind
            assert "host_limits" in failed.value.message
        assert counts(one) == counts(two) == (0, 1, 0)
    assert len(server.conversations) == 2


def test_an_idle_connection_makes_room_for_another_client(sharing, server):
    shared = HostLimits(1)
    one, two = sharing(server, shared), sharing(server, shared)
    used(one)
    with two.acquire(timeout=0):
        assert counts(one) == (0, 0, 0)
    assert server.conversations[0].verbs == ["EHLO", "QUIT"]


def test_a_connection_that_comes_back_goes_to_the_client_that_waits(sharing, server, config_for):
    shared = HostLimits(1)
    one, two = sharing(server, shared), sharing(server, shared)
    served = threading.Event()

    def take():
        with two.acquire(timeout=30):
            served.set()

    thread = threading.Thread(target=take)
    with one.acquire() as lease:
        thread.start()
        pause = threading.Event()
        while not shared.is_wanted(lease.connection._config.place):
            assert not pause.wait(0.001)
    thread.join()
    assert served.is_set()
    assert counts(one) == (0, 0, 0)


def test_servers_are_counted_apart(sharing, server):
    shared = HostLimits(1)
    with FaultServer(behaved()) as other, sharing(server, shared).acquire(), sharing(other, shared).acquire(timeout=0):
        assert len(other.conversations) == 1


def test_keeping_warm_takes_nothing_from_others(sharing, server):
    shared = HostLimits(2)
    one, two = sharing(server, shared), sharing(server, shared, min_idle=2)
    used(one)
    two._tends_itself = False
    used(two)
    two.tend()
    assert counts(one) == counts(two) == (1, 0, 0)


def test_a_place_is_given_back_however_its_holder_ends(sharing, server):
    shared = HostLimits(1)
    pool = sharing(server, shared)

    def die():
        with contextlib.suppress(SystemExit), pool.acquire():
            sys.exit()

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    place = pool._config.place
    assert shared.in_use(place) == 1  # it idles
    with pool.acquire() as lease:
        lease.connection.close()
    assert shared.in_use(place) == 0
    pool.acquire()  # and is dropped at once
    assert shared.in_use(place) == 0
    server.stop()
    with pytest.raises(SmtpError):
        pool.acquire()
    assert shared.in_use(place) == 0


def test_the_bound_holds_under_many_threads(sharing, server):
    shared = HostLimits(3)
    pools = [sharing(server, shared, max_connections=4) for _ in range(3)]
    most = []

    def work(pool):
        for _ in range(20):
            with pool.acquire(timeout=60):
                most.append(shared.in_use(pool._config.place))

    threads = [threading.Thread(target=work, args=(pool,)) for pool in pools for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 240
    assert max(most) <= 3
    assert sum(counts(pool)[1] for pool in pools) == 0


def test_clients_take_it_and_send(config_for, server, email):
    shared = HostLimits(1)
    clients = [SmtpClient(config_for(server), host_limits=shared) for _ in range(3)]
    for client in clients:
        assert client.send(email()).is_complete_success
    assert [client.pool_status().total for client in clients] == [0, 0, 1]
    assert all(client.shutdown(timeout=10) for client in clients)


def test_a_bound_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        HostLimits(0)
