"""`relay check` says what a relay offers, and in plain words what is wrong with it."""

import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from mailworker import app
from mailworker.checkup import explained
from mailworker.ledger import LedgerUnavailableError
from smtp_transport import SmtpConfig
from smtp_transport.errors import ErrorKind, SmtpConnectionError, SmtpTimeoutError
from smtp_transport.phase import Phase
from tests.relays.conftest import run, told
from tests.wire.sink import Sink

USER = (b"ann", b"hush")
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")


@pytest.fixture
def relay(configure, ca_file):
    """Name a server the relay that is checked."""

    def name(server, **more: str) -> None:
        about = {"HOST": "localhost", "PORT": str(server.port), "CA_CERTS": str(ca_file), "LIMITS": "5/s"} | more
        configure(**{f"RELAYS__DEFAULT__{setting}": value for setting, value in about.items()})

    return name


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("kind", ["starttls", "implicit"])
def test_a_relay_that_works_is_told_with_all_it_offers(relay, issued, kind):
    with Sink(tls=issued("localhost"), implicit=kind == "implicit", user=USER) as server:
        relay(server, USERNAME="ann", PASSWORD="hush", TLS=kind)
        found = told("relay", "check")
        assert (found["well"], found["problem"], found["mechanism"]) == (True, "", "PLAIN")
        assert found["tls_version"].startswith("TLSv1")
        assert found["certificate_names"] == ["localhost"]
        assert datetime.fromisoformat(found["certificate_until"]) > datetime.now(UTC)
        assert found["shared"]["limits"] == ["5/s"]
        assert found["mode"]
        text = run("relay", "check")
        assert "ready to send" in text
        assert "hush" not in text
        assert server.taken == []


def test_what_may_go_wrong_later_is_remarked(relay, issued, configure):
    with Sink(tls=issued("localhost"), user=USER, max_size=20_000_000) as server:
        relay(server)
        remarks = " ".join(told("relay", "check")["remarks"])
        assert "none is configured" in remarks
        assert "limits.message_bytes" not in remarks
        configure(LIMITS__MESSAGE_BYTES="20000001")
        assert "limits.message_bytes" in " ".join(told("relay", "check")["remarks"])


@pytest.mark.parametrize(
    ("offered", "cure"), [((), "leave username and password out"), (("AUTH XOAUTH2",), "set oauth_provider")]
)
def test_a_password_that_cannot_be_used_there_is_told_with_its_cure(relay, issued, *, offered, cure):
    with Sink(tls=issued("localhost"), without_mechanisms=("PLAIN", "LOGIN"), capabilities=offered) as server:
        relay(server, USERNAME="ann", PASSWORD="hush")
        assert cure in told("relay", "check", status=1)["problem"]


def test_a_test_mail_goes_out_only_where_it_is_asked_for(relay, issued):
    with Sink(tls=issued("localhost"), user=USER) as server:
        relay(server, USERNAME="ann", PASSWORD="hush")
        assert "--from" in run("relay", "check", "--to", "bob@example.org", status=2)
        words = ("relay", "check", "--to", "bob@example.org", "--from", "ann@example.com")
        assert "queued" in told(*words)["sent"]
        assert [mail.recipients for mail in server.taken] == [["bob@example.org"]]
        server.refuse["eve@example.org"] = "550 5.1.1 nobody"
        refused = told("relay", "check", "--to", "eve@example.org", "--from", "ann@example.com", status=1)
        assert "550 5.1.1" in refused["problem"]


def test_a_login_that_is_refused_is_tried_by_each_mechanism_and_the_preset_gives_advice(relay, issued):
    with Sink(tls=issued("localhost"), user=USER) as server:
        relay(server, USERNAME="ann@example.com", PASSWORD="wrong", PRESET="microsoft365", TLS="starttls")
        found = told("relay", "check", status=1)
        assert [mechanism for mechanism, _ in found["mechanisms_tried"]] == ["PLAIN", "LOGIN"]
        assert "535" in found["problem"]
        assert any("SMTP AUTH must be enabled" in advice for advice in found["advice"])
        text = run("relay", "check", status=1)
        assert "tried LOGIN" in text
        assert "wrong" not in text
        assert "ann@example.com" not in text


def test_a_mechanism_that_would_be_taken_is_named(relay, issued, monkeypatch):
    with Sink(tls=issued("localhost"), user=USER) as server:
        relay(server, USERNAME="ann", PASSWORD="hush")
        monkeypatch.setattr(Sink, "_authenticate", only_login(Sink._authenticate))
        found = told("relay", "check", status=1)
        assert dict(found["mechanisms_tried"])["LOGIN"] == "accepted"
        assert "set auth_method to 'LOGIN'" in found["problem"]


def only_login(takes):
    def authenticate(self, server, session, envelope, mechanism, data):
        answer = takes(self, server, session, envelope, mechanism, data)
        answer.success = answer.success and mechanism == "LOGIN"
        answer.handled = False
        return answer

    return authenticate


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"HOST": "nowhere.invalid"}, ["nowhere.invalid", "not known"]),
        ({"TLS": "implicit"}, ["starttls"]),
        ({"CA_CERTS": ""}, ["authority", "not trusted"]),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(relay, issued, settings, words, monkeypatch):
    resolve = socket.getaddrinfo

    def resolving(host, *rest, **more):
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    with Sink(tls=issued("localhost")) as server:
        relay(server, **settings)
        text = run("relay", "check", status=1).lower()
        assert all(word in text for word in words), text


def test_a_port_where_nobody_listens_is_told(relay, free_port):
    class Nobody:
        port = free_port

    relay(Nobody)
    assert "nothing listens there" in run("relay", "check", status=1)


def test_a_relay_without_starttls_is_told(relay):
    with Sink() as server:
        relay(server)
        assert "offers no STARTTLS" in run("relay", "check", status=1)


def test_an_expired_certificate_is_told_with_its_day(relay, issued):
    long_ago = datetime.now(UTC) - timedelta(days=9)
    with Sink(tls=issued("localhost", not_before=long_ago - timedelta(days=9), not_after=long_ago)) as server:
        relay(server)
        assert f"expired on {long_ago:%Y-%m-%d}" in run("relay", "check", status=1)


def test_a_certificate_that_ends_soon_is_remarked(relay, issued):
    soon = datetime.now(UTC) + timedelta(days=3, hours=1)
    with Sink(tls=issued("localhost", not_after=soon)) as server:
        relay(server)
        assert "the certificate ends in 3 days" in run("relay", "check")


def test_a_certificate_of_another_host_is_told(relay, issued):
    with Sink(tls=issued("other.test")) as server:
        relay(server)
        assert "other.test" in run("relay", "check", status=1)


def test_a_silent_firewall_is_told():
    config = SmtpConfig(host="smtp.example.com", port=25)
    silent = SmtpTimeoutError("no answer", ErrorKind.CONNECT_TIMEOUT, phase=Phase.CONNECT)
    assert "firewall" in explained(silent, config)
    lost = SmtpConnectionError("the token endpoint cannot be reached", ErrorKind.CONNECTION_REFUSED, phase=Phase.AUTH)
    assert "token endpoint" in explained(lost, config)


def test_a_relay_is_checked_where_the_ledger_does_not_answer(relay, issued, monkeypatch):
    with Sink(tls=issued("localhost")) as server:
        relay(server)
        _ = app.runtime

        def gone(*_):
            raise LedgerUnavailableError("the ledger did not answer")

        monkeypatch.setattr("mailworker.ledger.server.Server.read", gone)
        assert told("relay", "check")["shared"] == {"unknown": "the ledger did not answer"}
        assert isinstance(server.tls, ssl.SSLContext)
