import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from smtp_transport import (
    ErrorKind,
    Phase,
    RateLimitBehavior,
    RateLimitConfig,
    Receipt,
    RecipientReceipt,
    Reply,
    RetryConditions,
    RetryConfig,
    SmtpConfig,
    SmtpConnectionError,
    SmtpError,
    SmtpTimeoutError,
    errors,
)
from smtp_transport.resilience.retry import delay_before, left_to_try, passes

ALL = RetryConditions()
NONE = RetryConditions(connection_errors=False, timeouts=False, temporary_failures=False, error_codes=())


def test_what_is_not_told_is_what_the_specification_says():
    """NF-REL-01."""
    config = RetryConfig()
    assert (config.enabled, config.max_attempts, config.jitter) == (True, 3, True)
    assert (config.initial_delay, config.max_delay, config.multiplier) == (0.5, 30.0, 2.0)
    assert ALL.connection_errors
    assert ALL.timeouts
    assert ALL.temporary_failures
    assert ALL.error_codes == (421, 450, 451, 452)
    off = SmtpConfig(host="smtp.example.com")
    assert (off.retry, off.circuit_breaker, off.rate_limit) == (None, None, None)


def test_the_wait_grows_up_to_its_bound():
    """NF-REL-01."""
    config = RetryConfig(jitter=False)
    assert [delay_before(config, attempt, 0.5) for attempt in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


@given(attempt=st.integers(1, 100), chance=st.floats(0, 1))
def test_jitter_takes_away_up_to_half_of_a_wait(attempt, chance):
    whole = delay_before(RetryConfig(multiplier=100, jitter=False), attempt, chance)
    assert delay_before(RetryConfig(multiplier=100), attempt, chance) == pytest.approx(whole * (0.5 + chance / 2))
    assert whole <= 30


@given(
    phase=st.sampled_from(Phase),
    code=st.one_of(st.none(), st.integers(200, 599)),
    kind=st.sampled_from(ErrorKind),
    family=st.sampled_from(
        [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, SmtpError)]
    ),
)
def test_nothing_that_may_have_been_sent_is_tried_again(phase, code, kind, family):
    """NF-REL-01, NF-REL-04."""
    reply = None if code is None else Reply(code, None, ("",))
    receipt = Receipt((RecipientReceipt("a@example.org", phase, reply),), family("broken", kind))
    if left_to_try(receipt, ALL):
        assert phase < Phase.DOT or (reply is not None and reply.is_transient)
    assert left_to_try(receipt, NONE) == ()


def test_only_those_are_left_who_were_refused_for_now_or_not_reached():
    """NF-REL-01."""
    fates = [(Phase.DOT, 250), (Phase.RCPT, 450), (Phase.RCPT, 550), (Phase.DOT, None), (Phase.DOT, 452)]
    fates += [(Phase.DATA, None), (Phase.MAIL, 421)]
    recipients = [
        RecipientReceipt(f"{number}@example.org", phase, code and Reply(code, None, ("",)))
        for number, (phase, code) in enumerate(fates)
    ]
    broken = SmtpConnectionError("gone", ErrorKind.CONNECTION_RESET, phase=Phase.DOT)
    assert left_to_try(Receipt(tuple(recipients), broken), ALL) == (1, 4, 5, 6)
    assert left_to_try(Receipt(tuple(recipients)), ALL) == (1, 4, 6)


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (SmtpConnectionError("no", ErrorKind.CONNECTION_REFUSED), "connection_errors"),
        (SmtpConnectionError("no", ErrorKind.DNS_RESOLUTION_FAILED), "connection_errors"),
        (errors.TlsError("no", ErrorKind.TLS_HANDSHAKE_FAILED), "connection_errors"),
        (errors.ProtocolError("no", ErrorKind.INVALID_RESPONSE), "connection_errors"),
        (errors.PoolError("no", ErrorKind.CONNECTION_UNHEALTHY), "connection_errors"),
        (SmtpTimeoutError("no", ErrorKind.READ_TIMEOUT), "timeouts"),
        (SmtpConnectionError("no", ErrorKind.CONNECTION_TIMEOUT), "timeouts"),
        (errors.AuthenticationError("no", ErrorKind.AUTHENTICATION, 454), "temporary_failures"),
    ],
)
def test_each_condition_has_its_errors(error, field):
    """NF-REL-01."""
    assert passes(error, ALL)
    assert passes(error, NONE.model_copy(update={field: True}))
    assert not passes(error, NONE)


def test_codes_can_be_named_one_by_one():
    """NF-REL-01."""
    only = NONE.model_copy(update={"error_codes": (451, 552)})
    found = [code for code in range(200, 600) if left_to_try(_refused(code), only)]
    assert found == [451, 552]


def _refused(code):
    return Receipt((RecipientReceipt("a@example.org", Phase.RCPT, Reply(code, None, ("",))),))


@pytest.mark.parametrize(
    "error",
    [
        errors.TlsError("no", ErrorKind.CERTIFICATE_EXPIRED),
        errors.AuthenticationError("no", ErrorKind.CREDENTIALS_INVALID, 535),
        errors.MessageError("no", ErrorKind.MESSAGE_TOO_LARGE),
        errors.PoolError("no", ErrorKind.ACQUIRE_TIMEOUT),
        errors.RateLimitError("no", ErrorKind.LOCAL_RATE_LIMIT_EXCEEDED),
        errors.CircuitOpenError("no"),
        errors.CancelledError("no"),
    ],
)
def test_what_waiting_does_not_cure_is_not_tried_again(error):
    assert not passes(error, ALL)


@pytest.mark.parametrize(
    ("make", "field", "cure"),
    [
        (lambda: RetryConfig(initial_delay=40), "initial_delay", "max_delay"),
        (lambda: RetryConfig(max_attempts=0), "max_attempts", "greater than or equal to 1"),
        (lambda: RetryConditions(error_codes=(250,)), "error_codes", "greater than or equal to 400"),
        (lambda: RateLimitConfig(max_emails=1, window=1, on_limit="wait_with_timeout"), "wait_timeout", "seconds"),
        (lambda: RateLimitConfig(max_emails=1, window=1, wait_timeout=2), "wait_timeout", "wait_with_timeout"),
        (lambda: RateLimitConfig(max_emails=0, window=1), "max_emails", "greater than or equal to 1"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_with_its_cure(make, field, cure):
    with pytest.raises(ValidationError) as refused:
        make()
    assert field in str(refused.value)
    assert cure in str(refused.value)


def test_a_limit_rejects_unless_it_is_told_to_wait():
    config = RateLimitConfig(max_emails=10, window=60)
    assert config.on_limit is RateLimitBehavior.REJECT
    assert (config.patience, config.max_connections) == (0.0, None)
