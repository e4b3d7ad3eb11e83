import threading

import pytest

from smtp_transport import (
    CancelledError,
    Connection,
    ConnectionPool,
    ErrorKind,
    PoolConfig,
    PoolError,
    SmtpConfig,
    SmtpError,
)
from smtp_transport.testing import Close, Expect, FaultServer, Say, Stall, behaved, greeted, quit_said
from tests.wire.pooling import counts, used, wait_for_pending


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
    """F-CONN-04."""
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
    for _ in range(2):
        clock.now += 60
        used(pool)
    assert "NOOP" not in server.conversations[0].verbs
    clock.now += 60.1
    assert used(pool).is_reused
    assert server.conversations[0].verbs.count("NOOP") == 1
    assert used(pool, check=True).is_reused
    assert server.conversations[0].verbs.count("NOOP") == 2


def test_a_forgotten_link_does_not_cost_the_wait_for_a_reply(pool_of, server, clock, monkeypatch):
    """What a firewall has forgotten answers nothing, ever."""
    patience = []
    monkeypatch.setattr(Connection, "noop", lambda _, seconds: patience.append(seconds) or True)
    pool = pool_of(server)
    used(pool)
    clock.now += 100
    used(pool)
    assert patience == [10]


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
        lease.connection._carried.mails = 1
    assert counts(pool) == (1, 0, 0)
    with pool.acquire() as lease:
        lease.connection._carried.mails = 2
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


def test_the_pool_of_another_configuration_is_another(server, config_for):
    assert ConnectionPool(config_for(server)).status() == ConnectionPool(SmtpConfig(host="localhost")).status()


def test_farewells_share_their_time(clock):
    """A server that went silent is silent on every link: so it costs a farewell's time once, and not once for each."""
    waited = []

    class Silent:
        usable, delivered = True, 0

        def quit(self, patience):
            waited.append(patience)
            clock.now += patience

        def close(self):
            """Nothing is open."""

    for timeout, most in ((None, 5.0), (1.0, 1.0)):
        waited.clear()
        pool = ConnectionPool(SmtpConfig(host="localhost"), lambda _: Silent(), clock=clock)
        with pool.acquire(), pool.acquire(), pool.acquire(), pool.acquire():
            pass
        assert pool.close_all(timeout)
        assert len(waited) == 4
        assert waited[0] == most
        assert 0 < max(waited[1:]) < 0.1


def test_a_silent_server_is_bidden_farewell_on_every_link(client_for):
    with FaultServer([*greeted(), Expect("QUIT"), Stall()]) as server:
        client = client_for(server)
        with client._pool.acquire(), client._pool.acquire(), client._pool.acquire():
            pass
        assert client.shutdown(timeout=0.1)
        server.wait_until(lambda: [each.verbs for each in server.conversations] == [["EHLO", "QUIT"]] * 3)
