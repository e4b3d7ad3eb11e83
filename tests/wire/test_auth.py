import pytest

from smtp_transport import AuthenticationError, AuthMethod, Credentials, ErrorKind, Phase, TlsConfig
from smtp_transport.testing import FaultServer, behaved
from tests.wire.sink import Sink

USER = (b"someone@example.com", "pässword ".encode())
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
GOOD = Credentials.password("someone@example.com", "pässword ")
BAD = Credentials.password("someone@example.com", "wrong-one")


@pytest.mark.parametrize(
    ("without", "insist", "used"),
    [
        pytest.param((), None, "PLAIN", id="PLAIN by itself: F-AUTH-01"),
        pytest.param((), AuthMethod.PLAIN, "PLAIN", id="PLAIN on demand"),
        pytest.param(("PLAIN",), None, "LOGIN", id="LOGIN by itself: F-AUTH-02"),
        pytest.param((), AuthMethod.LOGIN, "LOGIN", id="LOGIN on demand"),
    ],
)
def test_a_server_written_by_others_takes_the_password(client_for, email, without, insist, used):
    """F-AUTH-01, F-AUTH-02, F-AUTH-06."""
    with Sink(user=USER, without_mechanisms=without) as sink:
        client = client_for(sink, credentials=GOOD, auth_method=insist)
        assert client.send(email()).is_complete_success
        assert client.connection_info().authenticated_as == "someone@example.com"
    assert sink.logins == [used]


def test_the_password_is_told_under_tls_only(client_for, email, issued, ca_file):
    """F-AUTH-01, F-TLS-01."""
    with Sink(user=USER, tls=issued()) as sink:
        trusting = {"host": "localhost", "tls": "starttls", "tls_config": TlsConfig(ca_certs=ca_file)}
        assert client_for(sink, credentials=GOOD, **trusting).send(email()).is_complete_success
    assert sink.logins == ["PLAIN"]


@pytest.mark.parametrize("method", [AuthMethod.PLAIN, AuthMethod.LOGIN])
def test_a_wrong_password_is_told_and_not_repeated(client_for, email, method):
    """F-AUTH-01, F-AUTH-02, NF-SEC-01."""
    with Sink(user=USER) as sink, pytest.raises(AuthenticationError) as refused:
        client_for(sink, credentials=BAD, auth_method=method).send(email())
    error = refused.value
    assert (error.kind, error.code, error.phase) == (ErrorKind.CREDENTIALS_INVALID, 535, Phase.AUTH)
    assert not error.is_retryable
    assert sink.logins == [method.value]
    assert "wrong-one" not in f"{error} {error!r}"
    assert "someone" not in f"{error} {error!r}"
    assert sink.taken == []


def test_a_server_that_does_not_ask_who_we_are_is_not_told(client_for, email):
    with FaultServer(behaved()) as server, pytest.raises(AuthenticationError) as refused:
        client_for(server, credentials=GOOD).send(email())
    assert refused.value.kind is ErrorKind.AUTH_METHOD_NOT_SUPPORTED
    assert "AUTH" not in server.conversations[0].verbs
