"""The tree of errors as the specification draws it: families, hope, loudness, and how they read."""

import pickle

import pytest

from smtp_transport import ErrorKind, Phase, Severity, errors
from smtp_transport.errors import SmtpError

FAMILIES = {
    errors.SmtpConnectionError: 5,
    errors.TlsError: 6,
    errors.AuthenticationError: 5,
    errors.ProtocolError: 5,
    errors.MessageError: 6,
    errors.SmtpTimeoutError: 4,
    errors.RateLimitError: 2,
    errors.CircuitOpenError: 1,
    errors.PoolError: 3,
    errors.CancelledError: 1,
}
# Kinds for what a family has no word for; the specification has those of the leaves only.
GENERAL = {"connection", "tls", "authentication", "protocol", "message", "timeout", "rate_limit"}


def test_every_family_and_every_kind_of_the_specification_is_there():
    """NF-OBS-04."""
    assert set(SmtpError.__subclasses__()) == set(FAMILIES)
    assert sum(FAMILIES.values()) == len({kind.value for kind in ErrorKind} - GENERAL)


@pytest.mark.parametrize(
    ("code", "is_temporary", "is_permanent"),
    [(None, False, False), (421, True, False), (451, True, False), (550, False, True)],
)
def test_a_code_tells_whether_there_is_hope(code, is_temporary, is_permanent):
    """NF-OBS-04."""
    error = errors.ProtocolError("refused", ErrorKind.UNEXPECTED_RESPONSE, code)
    assert (error.is_temporary, error.is_permanent, error.is_retryable) == (is_temporary, is_permanent, is_temporary)
    assert not errors.ProtocolError("refused", ErrorKind.SERVER_SHUTDOWN, 554).is_retryable


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (ErrorKind.CREDENTIALS_INVALID, Severity.CRITICAL),
        (ErrorKind.CERTIFICATE_EXPIRED, Severity.CRITICAL),
        (ErrorKind.INVALID_RECIPIENT_ADDRESS, Severity.ERROR),
        (ErrorKind.CONNECTION_REFUSED, Severity.ERROR),
        (ErrorKind.READ_TIMEOUT, Severity.WARNING),
        (ErrorKind.LOCAL_RATE_LIMIT_EXCEEDED, Severity.WARNING),
        (ErrorKind.CIRCUIT_OPEN, Severity.WARNING),
        (ErrorKind.CANCELLED, Severity.INFO),
    ],
)
def test_an_error_is_as_loud_as_it_is_bad(kind, severity):
    """NF-OBS-04."""
    assert SmtpError("it happened", kind).severity is severity


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.CircuitOpenError("left alone"), "[circuit_open] left alone"),
        (errors.ProtocolError("bye", ErrorKind.SERVER_SHUTDOWN, 421), "[server_shutdown] bye (SMTP 421)"),
        (errors.MessageError("no", ErrorKind.MESSAGE, 550, "5.7.1"), "[message] no (SMTP 550) [5.7.1]"),
    ],
)
def test_an_error_reads_as_kind_text_and_codes_and_survives_pickle(error, told):
    """NF-OBS-04."""
    assert str(error) == told
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (str(again), type(again), again.kind, again.code) == (told, type(error), error.kind, error.code)


def test_an_error_knows_how_far_it_had_come():
    assert pickle.loads(pickle.dumps(SmtpError("gone", phase=Phase.DOT))).phase is Phase.DOT  # noqa: S301 - our own
