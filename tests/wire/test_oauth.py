"""Tokens from a real HTTPS server with a certificate of its own, and what each of its failures means."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from smtp_transport import (
    AuthenticationError,
    ClientCredentialsProvider,
    ErrorKind,
    OAuth2Client,
    OAuth2Token,
    ProtocolError,
    RateLimitError,
    RefreshTokenProvider,
    SmtpConnectionError,
    SmtpTimeoutError,
    TlsError,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class TokenServer:
    """Answers with `answers`, one after the other and the last one for ever, and keeps what it was asked."""

    def __init__(self, context):
        self.asked = []
        self.answers = [(200, {"access_token": "to-ken", "expires_in": 3600, "token_type": "Bearer"})]
        self.headers = {}
        self.drips = False
        self.closing = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.was_asked = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.asked.append({name: values[0] for name, values in parse_qs(body).items()})
                status, answer = outer.answers[min(len(outer.asked), len(outer.answers)) - 1]
                outer.was_asked.set()
                outer.may_answer.wait(30)
                self.send_response(status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                while outer.drips and not outer.closing.wait(0.05):
                    self.wfile.write(b" ")
                self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # clients that do not like the certificate, or do not wait

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_address[1]}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self.closing.set()
        self.may_answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def tokens(issued):
    server = TokenServer(issued("localhost"))
    yield server
    server.close()


@pytest.fixture
def known(tokens, ca_file):
    """Make a client that knows the server."""

    def make(**fields):
        return OAuth2Client(
            **{"token_endpoint": tokens.url, "client_id": "id", "client_secret": "s3cret", "ca_file": ca_file} | fields
        )

    return make


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def test_a_refresh_token_gives_access_tokens_while_they_last(tokens, known):
    """F-AUTH-04."""
    clock = Clock()
    provider = RefreshTokenProvider(known(scope="mail"), "re-fresh", "me@example.com", clock=clock)
    assert not provider.is_valid()
    credentials = provider.get_credentials()
    assert (credentials.username, credentials.secret.get_secret_value()) == ("me@example.com", "to-ken")
    clock.now = NOW + timedelta(minutes=54)
    assert provider.get_credentials() == credentials
    assert len(tokens.asked) == 1
    assert tokens.asked[0] == {
        "grant_type": "refresh_token",
        "refresh_token": "re-fresh",
        "client_id": "id",
        "client_secret": "s3cret",
        "scope": "mail",
    }
    clock.now = NOW + timedelta(minutes=55)
    provider.get_credentials()
    assert len(tokens.asked) == 2


def test_a_replaced_refresh_token_is_used_and_handed_over(tokens, known):
    kept = []
    tokens.answers = [(200, {"access_token": "one", "refresh_token": "next"}), (200, {"access_token": "two"})]
    old = OAuth2Token(access_token="zero", refresh_token="first", expires_at=NOW)
    provider = RefreshTokenProvider(known(), old, on_refresh=kept.append, clock=Clock())
    assert provider.refresh()
    assert provider.refresh()
    assert [asked["refresh_token"] for asked in tokens.asked] == ["first", "next"]
    assert [token.refresh_token.get_secret_value() for token in kept] == ["next", "next"]
    assert provider.get_credentials().secret.get_secret_value() == "two"


def test_a_token_that_still_lasts_is_not_asked_for(tokens, known):
    token = OAuth2Token(access_token="zero", refresh_token="first", expires_at=NOW + timedelta(hours=1))
    provider = RefreshTokenProvider(known(), token, clock=Clock())
    assert provider.is_valid()
    assert provider.get_credentials().secret.get_secret_value() == "zero"
    assert tokens.asked == []


def test_the_last_minutes_of_a_token_bridge_an_outage_of_the_endpoint(tokens, known):
    tokens.answers = [(503, b"")]
    clock = Clock()
    token = OAuth2Token(access_token="zero", refresh_token="first", expires_at=NOW + timedelta(minutes=2))
    provider = RefreshTokenProvider(known(), token, clock=clock)
    assert provider.get_credentials().secret.get_secret_value() == "zero"
    clock.now = NOW + timedelta(minutes=2)
    with pytest.raises(SmtpConnectionError):
        provider.get_credentials()


def test_a_program_gets_tokens_for_itself(tokens, known):
    provider = ClientCredentialsProvider(known(scope="a"), "shop@example.com", scope="b")
    assert provider.get_credentials().username == "shop@example.com"
    assert tokens.asked == [
        {"grant_type": "client_credentials", "client_id": "id", "client_secret": "s3cret", "scope": "b"}
    ]
    assert ClientCredentialsProvider(OAuth2Client.microsoft("id"))._scope == "https://outlook.office365.com/.default"
    assert ClientCredentialsProvider(OAuth2Client.google("id"))._scope == "https://mail.google.com/"


def test_many_threads_make_one_request(tokens, known):
    provider = RefreshTokenProvider(known(), "re-fresh")
    tokens.may_answer.clear()
    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(provider.get_credentials) for _ in range(8)]
        assert tokens.was_asked.wait(30)
        tokens.may_answer.set()
        assert len({credentials.result().secret.get_secret_value() for credentials in asking}) == 1
    assert len(tokens.asked) == 1


@pytest.mark.parametrize(
    ("status", "answer", "error", "kind", "retryable"),
    [
        (400, {"error": "invalid_grant"}, AuthenticationError, ErrorKind.CREDENTIALS_EXPIRED, False),
        (401, {"error": "invalid_client"}, AuthenticationError, ErrorKind.CREDENTIALS_INVALID, False),
        (403, b"forbidden", AuthenticationError, ErrorKind.CREDENTIALS_INVALID, False),
        (400, {"error": "temporarily_unavailable"}, SmtpConnectionError, ErrorKind.CONNECTION, True),
        (429, {}, RateLimitError, ErrorKind.SERVER_RATE_LIMIT_EXCEEDED, True),
        (503, b"", SmtpConnectionError, ErrorKind.CONNECTION, True),
        (302, b"", ProtocolError, ErrorKind.UNEXPECTED_RESPONSE, False),
        (200, b"<html>", ProtocolError, ErrorKind.INVALID_RESPONSE, True),
        (200, {"access_token": ""}, ProtocolError, ErrorKind.INVALID_RESPONSE, True),
        (200, {"access_token": "x\r\nQUIT"}, ProtocolError, ErrorKind.INVALID_RESPONSE, True),
        (200, {"access_token": "x", "expires_in": "soon"}, ProtocolError, ErrorKind.INVALID_RESPONSE, True),
        (200, [], ProtocolError, ErrorKind.INVALID_RESPONSE, True),
        (200, b"[" * 60_000, ProtocolError, ErrorKind.INVALID_RESPONSE, True),
        (200, b'{"access_token": "' + b"x" * 100_000 + b'"}', ProtocolError, ErrorKind.INVALID_RESPONSE, True),
    ],
)
def test_each_failure_of_the_endpoint_has_its_kind(tokens, known, *, status, answer, error, kind, retryable):
    tokens.answers = [(status, answer)]
    tokens.headers = {"Location": tokens.url}
    with pytest.raises(error) as caught:
        RefreshTokenProvider(known(), "re-fresh").get_credentials()
    assert (caught.value.kind, caught.value.is_retryable) == (kind, retryable)
    assert len(tokens.asked) == 1


def test_what_an_endpoint_says_is_not_repeated_save_its_codes(tokens, known):
    """NF-SEC-01."""
    told = {"error": "invalid_grant", "error_description": "re-fresh of me@example.com", "error_codes": [700082, "x"]}
    tokens.answers = [(400, told), (400, {"error": "me@example.com"})]
    provider = RefreshTokenProvider(known(), "re-fresh")
    for expected in ("answered 400, invalid_grant (AADSTS700082)", "answered 400"):
        with pytest.raises(AuthenticationError) as caught:
            provider.get_credentials()
        assert str(caught.value).endswith(expected)


def test_an_endpoint_that_nobody_vouches_for_hears_nothing(tokens, known):
    with pytest.raises(TlsError) as caught:
        RefreshTokenProvider(known(ca_file=None), "re-fresh").get_credentials()
    assert caught.value.kind is ErrorKind.CERTIFICATE_UNTRUSTED
    assert tokens.asked == []


@pytest.mark.parametrize("drips", [False, True])
def test_an_endpoint_that_does_not_answer_is_left_in_time(tokens, known, *, drips):
    """A drop now and then is no answer either."""
    tokens.drips = drips
    if not drips:
        tokens.may_answer.clear()
    with pytest.raises(SmtpTimeoutError) as caught:
        RefreshTokenProvider(known(timeout=0.3), "re-fresh").get_credentials()
    assert caught.value.is_retryable


def test_an_endpoint_that_is_not_there_leaves_hope(tokens, known):
    client = known(token_endpoint="https://localhost:1/")
    with pytest.raises(SmtpConnectionError) as caught:
        RefreshTokenProvider(client, "re-fresh").get_credentials()
    assert (caught.value.kind, caught.value.is_retryable) == (ErrorKind.CONNECTION_REFUSED, True)


def test_an_endpoint_whose_name_nobody_knows_is_told(monkeypatch, known):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SmtpConnectionError) as caught:
        RefreshTokenProvider(known(token_endpoint="https://nowhere.invalid/"), "re-fresh").get_credentials()
    assert (caught.value.kind, caught.value.is_retryable) == (ErrorKind.DNS_RESOLUTION_FAILED, True)


def test_a_ca_file_that_is_none_is_told(tokens, known):
    with pytest.raises(TlsError):
        RefreshTokenProvider(known(ca_file=__file__), "re-fresh").get_credentials()
