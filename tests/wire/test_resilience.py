"""A client that is used alone: limits, a breaker and retries, over real links to servers that fail."""

import threading

import pytest

from smtp_transport import (
    CancelledError,
    CircuitBreakerConfig,
    CircuitOpenError,
    CircuitState,
    ErrorKind,
    MailClient,
    Phase,
    PoolConfig,
    RateLimitConfig,
    RateLimitError,
    RetryConfig,
    SmtpClient,
    SmtpError,
    Transaction,
    envelope_of,
    render,
)
from smtp_transport import observation as seen
from smtp_transport.resilience import Safeguards
from smtp_transport.testing import Close, FaultPlan, FaultServer, MockSmtpClient, Reset, behaved
from tests.resilience.clocks import Clock

SOON = RetryConfig(initial_delay=0.01, max_delay=0.02)
both_modes = pytest.mark.parametrize("capabilities", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")])


@pytest.fixture
def clocked(client_for):
    """Give a client whose safeguards go by a clock that stands still, and that clock."""

    def make(server, **fields):
        clock = Clock()
        client = client_for(server, **fields)
        client._safeguards = Safeguards(client._pool._config, client._hooks.circuit_changed, lambda: clock)
        return client, clock

    return make


@both_modes
def test_what_is_refused_for_now_is_sent_at_the_second_try(client_for, email, capabilities):
    """NF-REL-01."""
    plan = FaultPlan().at("DOT", 1, "451 4.3.0 later")
    with FaultServer(behaved(*capabilities, faults=plan)) as server:
        client = client_for(server, retry=SOON)
        assert client.send(email()).is_complete_success
    assert plan.played == ["DOT 1"]
    assert len(server.conversations) == 1


@both_modes
def test_who_got_the_mail_does_not_get_it_again(client_for, email, capabilities):
    """NF-REL-01, F-SEND-07."""
    plan = FaultPlan().at("RCPT", 2, "450 4.2.1 busy").at("RCPT", 4, "450 4.2.1 busy")
    with FaultServer(behaved(*capabilities, faults=plan)) as server:
        result = client_for(server, retry=SOON).send(email("a@example.org", "b@example.org", "c@example.org"))
    asked = [line.split(":")[1] for line in server.conversations[0].commands if line.startswith("RCPT")]
    assert asked == [f"<{name}@example.org>" for name in "abcbb"]
    assert result.is_complete_success
    assert result.accepted == ("a@example.org", "b@example.org", "c@example.org")
    assert len(set(server.conversations[0].contents)) == 1


@pytest.mark.parametrize("occasion", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("fault", ["421 4.3.2 restarting", Reset()], ids=["421", "reset"])
def test_a_link_that_is_lost_before_the_content_costs_a_try(client_for, email, occasion, fault):
    """NF-REL-01, NF-REL-03."""
    plan = FaultPlan().at(occasion, 1, fault)
    with FaultServer(behaved("PIPELINING", faults=plan), strict=False) as server:
        assert client_for(server, retry=SOON).send(email()).is_complete_success
    assert sum(len(each.contents) for each in server.conversations) == 1


@pytest.mark.parametrize("fault", [Close(), Reset()])
def test_a_mail_that_broke_at_its_dot_is_in_doubt_and_not_tried_again(client_for, email, fault):
    """NF-REL-01, NF-REL-04."""
    with FaultServer(behaved(faults=FaultPlan().at("DOT", 1, fault)), strict=False) as server:
        with pytest.raises(SmtpError) as failed:
            client_for(server, retry=SOON).send(email())
        assert len(server.conversations) == 1
    assert failed.value.phase is Phase.DOT


@pytest.mark.parametrize("reply", ["550 5.1.1 nobody", "535 5.7.8 no"])
def test_what_is_refused_for_good_is_not_tried_again(client_for, email, reply):
    """NF-REL-01."""
    plan = FaultPlan().always("RCPT", reply)
    with FaultServer(behaved(faults=plan)) as server, pytest.raises(SmtpError) as failed:
        client_for(server, retry=SOON).send(email())
    assert failed.value.code == int(reply[:3])
    assert plan.played == ["RCPT 1"]


def test_a_mail_that_is_never_taken_ends_after_its_tries(clocked, email):
    """NF-REL-01."""
    plan = FaultPlan().always("MAIL", "451 4.3.0 later")
    with FaultServer(behaved(faults=plan)) as server:
        client, clock = clocked(server, retry=RetryConfig(jitter=False))
        with pytest.raises(SmtpError) as failed:
            client.send(email())
    assert failed.value.code == 451
    assert plan.played == ["MAIL 1", "MAIL 2", "MAIL 3"]
    assert clock.waits == [0.5, 1.0]


def test_a_batch_is_tried_again_as_a_batch(clocked, email):
    """NF-REL-01, F-SEND-08."""
    plan = FaultPlan().at("RCPT", 2, "450 4.2.1 busy").at("RCPT", 4, "450 4.2.1 busy").at("RCPT", 5, "550 5.1.1 no")
    with FaultServer(behaved("PIPELINING", faults=plan)) as server:
        client, clock = clocked(server, retry=RetryConfig(jitter=False))
        batch = client.send_batch([email(f"{name}@example.org") for name in "abcdef"])
    assert [getattr(result, "accepted", None) for result in batch.results] == [
        *(("a@example.org",), ("b@example.org",), ("c@example.org",), ("d@example.org",), None, ("f@example.org",))
    ]
    assert batch.results[4].code == 550
    assert clock.waits == [0.5]


def test_a_server_that_is_down_is_left_alone_and_trusted_again_when_it_is_back(clocked, email):
    """NF-REL-02."""
    plan = FaultPlan()
    for number in range(1, 6):
        plan.at("CONNECT", number, "421 4.3.2 down")
    events = []
    with FaultServer(behaved(faults=plan)) as server:
        client, clock = clocked(server, circuit_breaker=CircuitBreakerConfig(), observers=[events.append])
        assert client.circuit is CircuitState.CLOSED
        for _ in range(5):
            with pytest.raises(SmtpError) as failed:
                client.send(email())
            assert failed.value.kind is ErrorKind.SERVER_SHUTDOWN
        for _ in range(3):
            with pytest.raises(CircuitOpenError):
                client.send(email())
        assert (client.circuit, len(server.conversations)) == (CircuitState.OPEN, 5)
        clock.now += 30
        assert client.send_batch([email() for _ in range(6)]).succeeded == 6
        assert client.circuit is CircuitState.CLOSED
    changes = [event.state for event in events if isinstance(event, seen.CircuitChanged)]
    assert changes == ["open", "half_open", "closed"]


def test_what_is_rejected_by_the_limit_asks_neither_breaker_nor_server(clocked, email, server):
    limits = {"rate_limit": RateLimitConfig(max_emails=2, window=60), "retry": RetryConfig()}
    client, clock = clocked(server, circuit_breaker=CircuitBreakerConfig(failure_threshold=1), **limits)
    batch = client.send_batch([email() for _ in range(3)])
    assert batch.succeeded == 2
    assert isinstance(batch.results[2], RateLimitError)
    with pytest.raises(RateLimitError) as refused:
        client.send(email())
    assert refused.value.kind is ErrorKind.LOCAL_RATE_LIMIT_EXCEEDED
    assert client.circuit is CircuitState.CLOSED
    assert clock.waits == []
    clock.now += 60
    assert client.send(email()).is_complete_success


def test_many_connections_share_one_limit(clocked, email, server):
    client, clock = clocked(server, rate_limit=RateLimitConfig(max_emails=4, window=60))
    batch = client.send_batch([email() for _ in range(10)], connections=3)
    assert batch.succeeded == 4
    assert clock.waits == []


def test_a_wait_for_the_limit_ends_with_the_client(client_for, email, server):
    began, ended = threading.Event(), []
    limit = RateLimitConfig(max_emails=1, window=3_600, on_limit="wait")
    client = client_for(server, rate_limit=limit, observers=[lambda event: _notice(event, began)])
    client.send(email())

    def work():
        try:
            client.send(email())
        except SmtpError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert began.wait(10)
    client.shutdown()
    thread.join(10)
    assert isinstance(ended[0], CancelledError)


def _notice(event, began):
    if isinstance(event, seen.RateLimitReached) and event.wait > 3_000:
        began.set()


def test_new_connections_have_a_limit_of_their_own(client_for, email):
    limit = RateLimitConfig(max_emails=100, window=3_600, max_connections=2)
    with FaultServer(behaved()) as server:
        client = client_for(server, rate_limit=limit, pool=PoolConfig(max_messages=1))
        client.send(email())
        client.send(email())
        with pytest.raises(RateLimitError) as refused:
            client.send(email())
        assert "2 new connections in 3600 s" in refused.value.message
        assert len(server.conversations) == 2
        # Whoever decides for himself is bound by this one too: it is the pool's.
        with pytest.raises(RateLimitError):
            client.test_connection()


def test_a_wait_for_a_connection_ends_with_the_client(client_for, email, server):
    limit = RateLimitConfig(max_emails=100, window=3_600, max_connections=1, on_limit="wait")
    client = client_for(server, rate_limit=limit)
    refused = []
    with client._pool.acquire():

        def work():
            try:
                client.send(email())
            except SmtpError as error:
                refused.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        give_up = threading.Event()
        while client.pool_status().in_use != 2:
            assert not give_up.wait(0.001)
        client.shutdown()
        thread.join(10)
    assert isinstance(refused[0], CancelledError)


def test_warm_connections_do_not_wait_for_the_limit(client_for, email, server):
    limit = RateLimitConfig(max_emails=100, window=3_600, max_connections=1, on_limit="wait")
    client = client_for(server, rate_limit=limit, pool=PoolConfig(min_idle=3))
    client.send(email())
    assert client._pool.tend() is not None
    assert client.pool_status().total == 1


def test_the_level_below_decides_for_itself(client_for, email):
    """What is asked of `deliver` is tried once, whatever a client would do."""
    plan = FaultPlan().at("DOT", 1, "451 4.3.0 later")
    with FaultServer(behaved(faults=plan)) as server:
        client = client_for(
            server,
            retry=SOON,
            circuit_breaker=CircuitBreakerConfig(failure_threshold=1),
            rate_limit=RateLimitConfig(max_emails=1, window=60),
        )
        given = email(message_id="<one@example.com>")
        mail = Transaction(envelope_of(given), lambda eight_bit: render(given, eight_bit=eight_bit))
        codes = [receipt.final_reply.code for _ in range(3) for _, receipt in client.deliver([mail])]
    assert codes == [451, 250, 250]


def test_what_is_tried_again_is_told_without_addresses(clocked, email):
    """NF-SEC-01."""
    events = []
    plan = FaultPlan().at("RCPT", 1, "450 4.2.1 <you@example.org> is busy")
    with FaultServer(behaved(faults=plan)) as server:
        client, _ = clocked(server, retry=RetryConfig(jitter=False), observers=[events.append])
        client.send(email(message_id="<fixed@example.com>"))
    (told,) = [event for event in events if isinstance(event, seen.SendRetrying)]
    assert (told.message_id, told.attempt, told.delay, told.recipients) == ("<fixed@example.com>", 1, 0.5, 1)
    assert (told.error, told.code) == (ErrorKind.UNEXPECTED_RESPONSE, 450)
    assert "example.org" not in repr(told)


def test_an_imagined_client_tries_again_too(email, config_for, server):
    config = config_for(server, retry=SOON)
    client: MailClient = MockSmtpClient(config)
    assert isinstance(client, SmtpClient)
    busy = SmtpError("busy", ErrorKind.SERVER_SHUTDOWN, 421, phase=Phase.MAIL)
    client.expect_send(to="you@example.org").raises(busy).returns("MOCK2")
    assert client.send(email()).server_id == "MOCK2"
    client.verify()
