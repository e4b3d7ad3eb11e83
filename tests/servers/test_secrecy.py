"""TLS and authentication with servers that others wrote."""

import pytest

from smtp_transport import AuthenticationError, Credentials, ErrorKind, Phase, SmtpError, TlsConfig, TlsError
from tests.servers.standing import USER, found


def test_a_batch_goes_under_tls_and_a_name(client_of, email, server, way):
    """F-TLS-01, F-TLS-05, F-AUTH-01."""
    emails = [email(subject=f"Mail {number}") for number in range(30)]
    client = client_of(server, "secure", **way)
    assert client.send_batch(emails).succeeded == 30
    info = client.connection_info()
    assert (info.tls_version, info.authenticated_as) == ("TLSv1.3", USER)
    arrived = found(server, [each.message_id for each in emails])
    assert [mail.message_id for mail in arrived] == [each.message_id for each in emails]


@pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_cyrus_sasl_takes_the_password(client_of, real_postfix, method):
    """F-AUTH-01, F-AUTH-02, F-AUTH-03."""
    assert client_of(real_postfix, "secure", auth_method=method).test_connection().authenticated_as == USER


def test_a_wrong_password_is_refused(client_of, server):
    """F-AUTH-01, NF-SEC-01."""
    with pytest.raises(AuthenticationError) as refused:
        client_of(server, "secure", credentials=Credentials.password(USER, "wrong-one")).test_connection()
    assert (refused.value.kind, refused.value.code) == (ErrorKind.CREDENTIALS_INVALID, 535)
    assert "wrong-one" not in f"{refused.value} {refused.value!r}"


def test_who_does_not_say_a_name_is_turned_away(client_of, email, server):
    with pytest.raises(SmtpError) as refused:
        client_of(server, "secure", credentials=None).send(email())
    assert refused.value.phase in {Phase.MAIL, Phase.RCPT}
    assert not refused.value.is_retryable


def test_who_does_not_speak_tls_is_turned_away_and_told_so(client_of, email, server):
    """F-TLS-01.

    Postfix refuses BDAT before it reads the size, takes the content for commands, and says 221 to those. So no chunk
    may reach it before somebody was accepted.
    """
    client = client_of(server, "secure", tls="none", credentials=None)
    for _ in range(2):
        with pytest.raises(SmtpError) as refused:
            client.send(email())
        assert refused.value.code in {530, 550}
        assert not refused.value.is_retryable


def test_a_certificate_of_an_unknown_authority_is_refused(client_of, server):
    """F-TLS-03, NF-SEC-03."""
    with pytest.raises(TlsError) as refused:
        client_of(server, "secure", tls_config=TlsConfig()).test_connection()
    assert refused.value.kind is ErrorKind.CERTIFICATE_UNTRUSTED
