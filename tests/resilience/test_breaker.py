import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport import (
    AuthenticationError,
    CancelledError,
    CircuitBreakerConfig,
    CircuitOpenError,
    CircuitState,
    ErrorKind,
    MessageError,
    Phase,
    PoolError,
    ProtocolError,
    Receipt,
    RecipientReceipt,
    Reply,
    SmtpConnectionError,
    SmtpTimeoutError,
    TlsError,
)
from smtp_transport.resilience import CircuitBreaker
from smtp_transport.resilience.health import Health, health_after, health_by
from tests.resilience.clocks import Clock


def report(breaker, *outcomes):
    """Let one mail after the other through, each with this outcome."""
    for outcome in outcomes:
        admission = breaker.admit(1)
        admission.record(outcome)
        admission.end()


@pytest.fixture
def changes():
    return []


@pytest.fixture
def breaker(clock, changes):
    return CircuitBreaker(CircuitBreakerConfig(), clock, changes.append)


def test_what_is_not_told_is_what_the_specification_says():
    """NF-REL-02."""
    config = CircuitBreakerConfig()
    assert (config.failure_threshold, config.failure_window) == (5, 60.0)
    assert (config.recovery_timeout, config.success_threshold, config.enabled) == (30.0, 3, True)


def test_five_failures_within_the_window_open_it_and_three_successes_close_it(breaker, clock, changes):
    """NF-REL-02."""
    report(breaker, *[Health.BAD] * 4)
    assert breaker.state is CircuitState.CLOSED
    report(breaker, Health.GOOD, Health.BAD)
    assert breaker.state is CircuitState.OPEN
    clock.now += 29.9
    with pytest.raises(CircuitOpenError) as refused:
        breaker.admit(1)
    assert "another 0.1 s" in refused.value.message
    clock.now += 0.1
    report(breaker, Health.GOOD, Health.GOOD)
    assert breaker.state is CircuitState.HALF_OPEN
    report(breaker, Health.GOOD)
    assert changes == [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED]
    report(breaker, *[Health.BAD] * 4)
    assert breaker.state is CircuitState.CLOSED


def test_failures_further_apart_than_the_window_do_not_count_together(breaker, clock):
    """NF-REL-02."""
    for _ in range(20):
        report(breaker, Health.BAD)
        clock.now += 15.0
    assert breaker.state is CircuitState.CLOSED


def test_one_failure_of_a_probe_opens_it_again(breaker, clock):
    """NF-REL-02."""
    report(breaker, *[Health.BAD] * 5)
    clock.now += 30.0
    report(breaker, Health.GOOD, Health.GOOD, Health.BAD)
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitOpenError):
        breaker.admit(1)


def test_no_more_probes_are_out_than_are_needed(breaker, clock):
    """NF-REL-02."""
    report(breaker, *[Health.BAD] * 5)
    clock.now += 30.0
    first = breaker.admit(2)
    rest = breaker.admit(10)
    assert (first.count, rest.count) == (2, 1)
    assert first.is_probe
    with pytest.raises(CircuitOpenError, match="finding out"):
        breaker.admit(1)
    first.end()
    assert breaker.admit(10).count == 2


def test_whoever_was_admitted_before_a_change_has_no_say_after_it(breaker, clock):
    """NF-REL-02."""
    late = breaker.admit(9)
    report(breaker, *[Health.BAD] * 5)
    clock.now += 30.0
    probe = breaker.admit(1)
    late.record(Health.GOOD, 3)
    assert breaker.state is CircuitState.HALF_OPEN
    late.record(Health.BAD)
    assert breaker.state is CircuitState.HALF_OPEN
    probe.record(Health.BAD)
    assert breaker.state is CircuitState.OPEN


def test_one_failure_that_many_mails_share_is_one(breaker):
    breaker.admit(100).record(Health.BAD, 100)
    assert breaker.state is CircuitState.CLOSED


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(1, 5)),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 3.0, 10.0])),
        st.tuples(st.sampled_from([*Health]), st.integers(0, 8)),
        st.tuples(st.just("end"), st.integers(0, 8)),
    ),
    max_size=120,
)


@given(operations=OPERATIONS)
def test_an_open_circuit_lets_nobody_pass_and_a_half_open_one_few(operations):
    """NF-REL-02."""
    clock, changed = Clock(), []
    config = CircuitBreakerConfig(failure_threshold=3, failure_window=20, recovery_timeout=10, success_threshold=2)
    breaker = CircuitBreaker(config, clock, lambda state: changed.append((clock.now, state)))
    out = []
    for what, how in operations:
        if what == "pass":
            clock.now += how
        elif what == "admit":
            is_held = bool(changed) and changed[-1][1] is CircuitState.OPEN and clock.now < changed[-1][0] + 10
            try:
                out.append([breaker.admit(how), how])
            except CircuitOpenError:
                assert is_held or breaker.state is CircuitState.HALF_OPEN
                continue
            assert not is_held
            out[-1][1] = out[-1][0].count
        elif out and what == "end":
            out.pop(how % len(out))[0].end()
        elif out:
            one = out[how % len(out)]
            was = breaker.state
            one[0].record(what)
            one[1] -= 1
            if was is CircuitState.HALF_OPEN and what is Health.BAD and one[0].epoch == breaker._epoch - 1:
                assert breaker.state is CircuitState.OPEN
            if not one[1]:
                out.remove(one)
        probes = sum(left for admission, left in out if admission.is_probe and admission.epoch == breaker._epoch)
        assert breaker.state is not CircuitState.HALF_OPEN or probes <= 2


@pytest.mark.parametrize(
    ("error", "health"),
    [
        (SmtpConnectionError("refused", ErrorKind.CONNECTION_REFUSED), Health.BAD),
        (SmtpTimeoutError("late", ErrorKind.READ_TIMEOUT), Health.BAD),
        (TlsError("no", ErrorKind.TLS_HANDSHAKE_FAILED), Health.BAD),
        (ProtocolError("bye", ErrorKind.SERVER_SHUTDOWN, 421), Health.BAD),
        (ProtocolError("busy", ErrorKind.UNEXPECTED_RESPONSE, 450, phase=Phase.GREETING), Health.BAD),
        (ProtocolError("what", ErrorKind.INVALID_RESPONSE), Health.BAD),
        (AuthenticationError("later", ErrorKind.AUTHENTICATION, 454), Health.BAD),
        (PoolError("none", ErrorKind.CONNECTION_UNHEALTHY), Health.BAD),
        (AuthenticationError("no", ErrorKind.CREDENTIALS_INVALID, 535), Health.UNKNOWN),
        (AuthenticationError("none fits", ErrorKind.AUTH_METHOD_NOT_SUPPORTED), Health.UNKNOWN),
        (ProtocolError("go away", ErrorKind.UNEXPECTED_RESPONSE, 554, phase=Phase.GREETING), Health.UNKNOWN),
        (ProtocolError("lacks it", ErrorKind.CAPABILITY_MISMATCH), Health.UNKNOWN),
        (MessageError("too big", ErrorKind.MESSAGE_TOO_LARGE), Health.UNKNOWN),
        (PoolError("busy", ErrorKind.POOL_EXHAUSTED), Health.UNKNOWN),
        (CancelledError("over"), Health.UNKNOWN),
    ],
)
def test_only_what_concerns_the_server_counts_and_no_refusal_for_good(error, health):
    """NF-REL-02."""
    assert health_after(error) is health
    assert health_by(Receipt((RecipientReceipt("a@example.org", Phase.MAIL),), error)) is health


@pytest.mark.parametrize(
    ("code", "health"), [(250, Health.GOOD), (450, Health.GOOD), (550, Health.GOOD), (421, Health.BAD)]
)
def test_a_server_that_refuses_a_mail_works(code, health):
    assert health_by(Receipt((RecipientReceipt("a@example.org", Phase.RCPT, Reply(code, None, ("",))),))) is health
