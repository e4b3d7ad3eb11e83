"""What is proven of a certificate besides OpenSSL's chain, and what is told of one that proves nothing."""

import base64
import datetime as dt
import hashlib
import re
import ssl
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from smtp_transport import Connection, ErrorKind, SmtpTimeoutError, TlsConfig, TlsError
from smtp_transport.testing import FaultServer, Raw, Stall, StartTls, behaved, greeted
from smtp_transport.tls import TlsSessions, context_for
from smtp_transport.tls.certificate import Certificate

IMPLICIT = (StartTls(), *behaved())
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def self_signed(*names, until=NOW + DAY, issuer="self"):
    """Give a certificate that vouches for itself, and its key, as one PEM; and the hash of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    longest = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 64)] * 9
    subject = x509.Name([*longest, x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW - 3 * DAY, until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    return pem, hashlib.sha256(spki).digest()


@pytest.fixture
def serving(tmp_path):
    """Give a server's context for a PEM."""

    def context(pem):
        path = tmp_path / "pair.pem"
        path.write_bytes(pem)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(path)
        return made

    return context


def refusal_of(client) -> TlsError:
    with pytest.raises(TlsError) as refused:
        client.test_connection()
    return refused.value


def reached(client_for, server, **tls):
    return client_for(server, host="localhost", tls="implicit", tls_config=TlsConfig(**tls)).test_connection()


def test_a_pinned_key_vouches_without_an_authority(client_for, serving):
    pem, digest = self_signed("localhost")
    with FaultServer(IMPLICIT, tls=serving(pem)) as server:
        for pin in (digest.hex(), base64.b64encode(digest).decode(), f"sha256/{base64.b64encode(digest).decode()}"):
            assert reached(client_for, server, pinned_certs=pin, verify_certificates=False).tls_active
        error = refusal_of(
            client_for(
                server,
                host="localhost",
                tls="implicit",
                tls_config=TlsConfig(pinned_certs=["0" * 64], verify_certificates=False),
            )
        )
    assert error.kind is ErrorKind.CERTIFICATE_UNTRUSTED
    assert digest.hex() in error.message


def test_with_the_chain_off_and_a_pin_the_name_is_checked_all_the_same(client_for, serving):
    pem, digest = self_signed("other.example", "*.example.net")
    config = {"pinned_certs": digest.hex(), "verify_certificates": False}
    with FaultServer(IMPLICIT, tls=serving(pem)) as server:
        error = refusal_of(client_for(server, host="localhost", tls="implicit", tls_config=TlsConfig(**config)))
        assert reached(client_for, server, **config, verify_hostname=False).tls_active
        assert reached(client_for, server, **config, server_name="mail.example.net").tls_active
    assert error.kind is ErrorKind.CERTIFICATE_INVALID
    assert "but for other.example, *.example.net" in error.message


def test_a_pin_does_not_stand_in_for_the_chain_that_is_asked_for(client_for, issued, serving, ca_file):
    pem, digest = self_signed("localhost")
    pinned = TlsConfig(pinned_certs=digest.hex(), ca_certs=ca_file)
    with FaultServer(IMPLICIT, tls=serving(pem)) as server:
        error = refusal_of(client_for(server, host="localhost", tls="implicit", tls_config=pinned))
    assert error.kind is ErrorKind.CERTIFICATE_UNTRUSTED
    with FaultServer(IMPLICIT, tls=issued()) as server:
        error = refusal_of(client_for(server, host="localhost", tls="implicit", tls_config=pinned))
    assert "pinned_certs" in error.message


def test_nothing_is_said_to_a_server_with_another_key_after_starttls(client_for, issued, ca_file):
    config = TlsConfig(pinned_certs="0" * 64, ca_certs=ca_file)
    with FaultServer(behaved("STARTTLS"), tls=issued(), strict=False) as server:
        error = refusal_of(client_for(server, host="localhost", tls="starttls", tls_config=config))
    assert error.kind is ErrorKind.CERTIFICATE_UNTRUSTED
    assert server.conversations[0].verbs == ["EHLO", "STARTTLS"]


@pytest.mark.parametrize("pin", ["", "abc", "sha256/", "z" * 64, base64.b64encode(b"x" * 31).decode()])
def test_a_pin_that_can_fit_no_key_is_refused(pin):
    with pytest.raises(ValidationError, match="SubjectPublicKeyInfo"):
        TlsConfig(pinned_certs=pin)


@pytest.mark.parametrize("door", ["allow_expired", "allow_self_signed"])
def test_doors_for_test_servers_open_in_development_only(door):
    """F-TLS-03."""
    with pytest.raises(ValidationError, match="development"):
        TlsConfig(**{door: True})
    assert getattr(TlsConfig(**{door: True, "development": True}), door)


def test_an_expired_certificate_is_taken_in_development_and_nothing_else_about_it(client_for, issued, ca_file):
    past = {"not_before": NOW - 3 * DAY, "not_after": NOW - DAY}
    config = {"ca_certs": ca_file, "development": True, "allow_expired": True}
    with FaultServer(IMPLICIT, tls=issued("localhost", **past)) as server:
        assert reached(client_for, server, **config).tls_active
    with FaultServer(IMPLICIT, tls=issued("other.example", **past)) as server:
        error = refusal_of(client_for(server, host="localhost", tls="implicit", tls_config=TlsConfig(**config)))
    assert error.kind is ErrorKind.CERTIFICATE_INVALID


def test_a_self_signed_certificate_is_taken_in_development_if_name_and_dates_are_right(client_for, serving):
    config = {"development": True, "allow_self_signed": True}

    def kind_for(pem, **more):
        with FaultServer(IMPLICIT, tls=serving(pem)) as server:
            client = client_for(server, host="localhost", tls="implicit", tls_config=TlsConfig(**config, **more))
            return refusal_of(client).kind

    pem, _ = self_signed("localhost")
    with FaultServer(IMPLICIT, tls=serving(pem)) as server:
        assert reached(client_for, server, **config).tls_active
    assert kind_for(self_signed("other.example")[0]) is ErrorKind.CERTIFICATE_INVALID
    old, _ = self_signed("localhost", until=NOW - DAY)
    assert kind_for(old) is ErrorKind.CERTIFICATE_EXPIRED
    with FaultServer(IMPLICIT, tls=serving(old)) as server:
        assert reached(client_for, server, **config, allow_expired=True).tls_active


def test_a_pin_still_binds_where_self_signed_is_allowed(client_for, serving):
    pem, digest = self_signed("localhost")
    config = {"development": True, "allow_self_signed": True}
    with FaultServer(IMPLICIT, tls=serving(pem)) as server:
        assert reached(client_for, server, **config, pinned_certs=digest.hex()).tls_active
        strict = TlsConfig(**config, pinned_certs="0" * 64)
        assert "pinned" in refusal_of(client_for(server, host="localhost", tls="implicit", tls_config=strict)).message


def test_a_refusal_tells_dates_names_and_issuers(client_for, issued, ca_file, serving):
    trusting = {"host": "localhost", "tls": "implicit", "tls_config": TlsConfig(ca_certs=ca_file)}
    expired = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    cases = [
        (issued("localhost", not_before=expired - DAY, not_after=expired), "expired on 2026-01-31"),
        (issued(not_before=dt.datetime(2090, 5, 4, tzinfo=dt.UTC)), "not valid before 2090-05-04"),
        (issued("a.example", "10.1.2.3"), "but for a.example, 10.1.2.3;"),
        (issued(*(f"{letter}.example" for letter in "abcdefg")), "e.example and 2 more"),
        (serving(self_signed("localhost")[0]), "self-signed: "),
    ]
    for context, told in cases:
        with FaultServer(IMPLICIT, tls=context) as server:
            assert told in refusal_of(client_for(server, **trusting)).message


def test_what_a_stranger_wrote_is_shown_without_addresses_and_control_characters(client_for, serving):
    pem, _ = self_signed("localhost", issuer="evil\r\nline root@example.com")
    with FaultServer(IMPLICIT, tls=serving(pem)) as server:
        message = refusal_of(client_for(server, host="localhost", tls="implicit")).message
    assert message.isprintable()
    assert "@" not in message
    assert len(message) < 400


def test_a_port_says_which_tls_it_speaks(client_for, issued, ca_file):
    trusting = {"host": "localhost", "tls_config": TlsConfig(ca_certs=ca_file)}
    with (
        FaultServer([StartTls(), Stall()], tls=issued(), strict=False) as server,
        pytest.raises(SmtpTimeoutError) as failed,
    ):
        client_for(server, tls="starttls", io_timeout=0.3, **trusting).test_connection()
    assert "implicit TLS" in failed.value.message
    with FaultServer([Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")], strict=False) as server:
        # What it said first is not always seen before OpenSSL has read it; see tests/wire/test_tls.py for each case.
        assert re.search(
            "speaks no TLS|does not speak TLS", refusal_of(client_for(server, tls="implicit", **trusting)).message
        )
    with FaultServer(greeted(), strict=False) as server:
        assert "does not offer STARTTLS" in refusal_of(client_for(server, tls="starttls", **trusting)).message


def test_a_slow_server_is_not_taken_for_one_that_waits_for_tls(client_for):
    with FaultServer([Stall()]) as server, pytest.raises(SmtpTimeoutError) as failed:
        client_for(server, io_timeout=0.2).test_connection()
    assert "TLS" not in failed.value.message
    assert failed.value.kind is ErrorKind.READ_TIMEOUT


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("mail.example.com", True),
        ("MAIL.example.com.", True),
        ("a.stars.example", True),
        ("a.b.stars.example", False),
        ("stars.example", False),
        ("example", False),
        ("10.1.2.3", True),
        ("10.1.2.4", False),
    ],
)
def test_names_fit_as_rfc_9525_says(name, fits):
    names = ("mail.example.com", "*.stars.example", "*.example", "*", "10.1.2.3")
    certificate = Certificate(names, NOW, NOW, "", "")
    assert certificate.bears(name) is fits


def test_a_common_name_is_no_name_to_be_proven(client_for, serving, tmp_path):
    """F-TLS-03."""
    pem, _ = self_signed(issuer="localhost")
    authority = tmp_path / "authority.pem"
    authority.write_bytes(pem)
    with FaultServer(IMPLICIT, tls=serving(pem)) as server:
        trusting = {"host": "localhost", "tls": "implicit", "tls_config": TlsConfig(ca_certs=authority)}
        refused = refusal_of(client_for(server, **trusting))
    assert refused.kind is ErrorKind.CERTIFICATE_INVALID
    assert "no name at all" in refused.message


def test_bytes_that_are_no_certificate_are_none():
    assert Certificate.parse(b"nonsense") is None


# Sessions


def opened(server, config, sessions):
    connection = Connection.open(config, sessions=sessions)
    resumed = connection._talk._stream.resumed_session
    connection.quit()
    return resumed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_a_reconnect_takes_up_the_session(config_for, issued, ca_file, version, mode):
    context = issued()
    context.maximum_version = version
    script = IMPLICIT if mode == "implicit" else behaved("STARTTLS")
    sessions = TlsSessions()
    with FaultServer(script, tls=context) as server:
        config = config_for(server, host="localhost", tls=mode, tls_config=TlsConfig(ca_certs=ca_file))
        assert [opened(server, config, sessions) for _ in range(3)] == [False, True, True]
        assert opened(server, config, TlsSessions()) is False
        other = config_for(server, host="localhost", tls=mode, tls_config=TlsConfig(ca_certs=ca_file, development=True))
        assert opened(server, other, sessions) is False
    assert len(sessions) == 2


def test_a_session_says_nothing_for_another_name(config_for, issued, ca_file):
    sessions = TlsSessions()
    with FaultServer(IMPLICIT, tls=issued("localhost", "127.0.0.1")) as server:
        tls = {"tls": "implicit", "tls_config": TlsConfig(ca_certs=ca_file)}
        assert opened(server, config_for(server, host="localhost", **tls), sessions) is False
        assert opened(server, config_for(server, host="127.0.0.1", **tls), sessions) is False


def test_a_session_says_nothing_for_another_place(config_for, issued, ca_file):
    sessions = TlsSessions()
    with FaultServer(IMPLICIT, tls=issued()) as server:
        tls = {"tls": "implicit", "tls_config": TlsConfig(ca_certs=ca_file)}
        config = config_for(server, host="localhost", **tls)
        opened(server, config, sessions)
    context = context_for(config.tls_config)
    assert sessions.recall(context, "localhost", config.place) is not None
    assert sessions.recall(context, "localhost", f"{config.place}0") is None


def test_sessions_of_no_more_than_some_servers_are_kept():
    class Link:
        session_reused = False
        session = SimpleNamespace(has_ticket=True)
        context = server_hostname = None

    sessions = TlsSessions()
    for number in range(100):
        sessions.keep(Link, f"mx{number}.example:465")
        assert 0 < len(sessions) <= 16
    assert sessions.recall(None, None, "mx99.example:465") is not None


def test_a_pin_is_checked_on_a_resumed_session_too(config_for, serving):
    pem, digest = self_signed("localhost")
    sessions = TlsSessions()
    with FaultServer(IMPLICIT, tls=serving(pem)) as server:
        tls = TlsConfig(pinned_certs=digest.hex(), verify_certificates=False)
        config = config_for(server, host="localhost", tls="implicit", tls_config=tls)
        assert [opened(server, config, sessions) for _ in range(2)] == [False, True]


def test_a_pin_may_begin_with_a_slash():
    digest = b"\xff" * 32
    written = base64.b64encode(digest).decode()
    assert written.startswith("//")
    for prefix in ("", "sha256/", "sha256//", "sha256:"):
        assert TlsConfig(pinned_certs=f"{prefix}{written}").pinned_certs == (digest.hex(),)
