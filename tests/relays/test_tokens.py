"""OAuth: one refresh for all processes, sealed, and a failure that opens the breaker while mails wait."""

import subprocess
import sys

import pytest

from mailworker import app
from mailworker.news import News
from mailworker.sealing import new_key
from mailworker.settings import SettingsError
from mailworker.tokens import SharedTokens, TokenUnavailableError
from smtp_transport.errors import AuthenticationError, ErrorKind, SmtpConnectionError
from smtp_transport.phase import Phase
from tests.relays.conftest import told
from tests.wire.test_mechanisms import Mechanisms, without
from tests.wire.test_oauth import TokenServer

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
PROCESSES = 6
ASK = """
import sys
from mailworker.celery import app
from mailworker.doorway import shared_config
runtime = app.runtime
config = shared_config("default", runtime.settings, runtime.redis, runtime.keys)
sys.stdin.readline()
print(config.credentials.get_credentials().secret.get_secret_value())
"""


@pytest.fixture
def endpoint(issued):
    server = TokenServer(issued("localhost"))
    yield server
    server.close()


@pytest.fixture
def account(configure, endpoint, ca_file):
    """Configure a relay that logs in by tokens."""

    def named(**more: str) -> None:
        about = {
            "HOST": "localhost",
            "USERNAME": "me@example.com",
            "CA_CERTS": str(ca_file),
            "OAUTH_PROVIDER": "custom",
            "OAUTH_CLIENT_ID": "id",
            "OAUTH_CLIENT_SECRET": "s3cret",
            "OAUTH_REFRESH_TOKEN": "re-fresh",
            "OAUTH_TOKEN_ENDPOINT": endpoint.url,
            "OAUTH_CA_FILE": str(ca_file),
        } | more
        configure(**{f"RELAYS__DEFAULT__{name}": value for name, value in about.items()})

    named()
    return named


def tokens() -> SharedTokens:
    from mailworker.doorway import shared_config  # noqa: PLC0415 - builds what is tested

    runtime = app.runtime
    return shared_config("default", runtime.settings, runtime.redis, runtime.keys).credentials


def secret(of: SharedTokens) -> str:
    return of.get_credentials().secret.get_secret_value()


def test_many_processes_make_exactly_one_request(account, endpoint):
    endpoint.may_answer.clear()
    asking = [
        subprocess.Popen([sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    for process in asking:
        process.stdin.write("now\n")
        process.stdin.flush()
    assert endpoint.was_asked.wait(30)
    endpoint.may_answer.set()
    assert [process.communicate(timeout=60)[0].strip() for process in asking] == ["to-ken"] * PROCESSES
    assert len(endpoint.asked) == 1


def test_a_token_lies_sealed_in_the_ledger(account, endpoint, monkeypatch, valkey):
    monkeypatch.setenv("MAILWORKER_SEALING__KEYS", new_key("a"))
    app.forget_runtime()
    assert secret(tokens()) == "to-ken"
    with valkey.client() as client:
        (key,) = client.keys("*token*")
        held = client.hgetall(key)
        assert held[b"blob"].startswith(b"MW\x01")
        assert not any(word in value for value in [key, *held.values()] for word in (b"to-ken", b"fresh"))
        assert client.pttl(key) > 0
    assert secret(tokens()) == "to-ken"
    assert len(endpoint.asked) == 1


def test_without_its_key_a_token_is_fetched_anew(account, endpoint, monkeypatch):
    for number in range(2):
        monkeypatch.setenv("MAILWORKER_SEALING__KEYS", new_key(f"key{number}"))
        app.forget_runtime()
        assert secret(tokens()) == "to-ken"
    assert len(endpoint.asked) == 2


def test_a_refresh_token_that_was_replaced_is_the_one_used_next(account, endpoint, valkey):
    endpoint.answers = [
        (200, {"access_token": "one", "refresh_token": "next", "expires_in": 3600}),
        (200, {"access_token": "two", "expires_in": 3600}),
    ]
    assert secret(tokens()) == "one"
    with valkey.client() as client:
        client.hset(client.keys("*token*")[0], "ends", 1)
    assert secret(tokens()) == "two"
    assert [asked["refresh_token"] for asked in endpoint.asked] == ["re-fresh", "next"]


def test_a_kept_refresh_token_that_is_over_gives_way_to_the_configured_one(account, endpoint, valkey):
    endpoint.answers = [
        (200, {"access_token": "one", "refresh_token": "next"}),
        (400, {"error": "invalid_grant"}),
        (200, {"access_token": "two"}),
    ]
    assert secret(tokens()) == "one"
    with valkey.client() as client:
        client.hset(client.keys("*token*")[0], "ends", 1)
    assert secret(tokens()) == "two"
    assert [asked["refresh_token"] for asked in endpoint.asked] == ["re-fresh", "next", "re-fresh"]


def test_a_program_asks_for_itself_without_a_refresh_token(account, endpoint):
    account(OAUTH_REFRESH_TOKEN="")
    assert secret(tokens()) == "to-ken"
    assert endpoint.asked[0]["grant_type"] == "client_credentials"


@pytest.mark.parametrize(
    ("status", "answer", "error", "word"),
    [
        (400, {"error": "invalid_grant"}, AuthenticationError, "invalid_grant"),
        (401, {"error": "invalid_client"}, AuthenticationError, "invalid_client"),
        (503, b"", TokenUnavailableError, "503"),
    ],
)
def test_a_failure_is_told_to_all_without_asking_again(account, endpoint, *, status, answer, error, word):
    endpoint.answers = [(status, answer)]
    for _ in range(3):
        with pytest.raises(error) as caught:
            tokens().get_credentials()
        assert word in str(caught.value)
        assert "no OAuth token" in str(caught.value)
    assert len(endpoint.asked) == 1


def test_a_ledger_out_of_reach_is_no_fault_of_the_credentials(account, monkeypatch):
    shared = tokens()
    monkeypatch.setenv("MAILWORKER_REDIS__URL", "redis://127.0.0.1:1/0")
    app.forget_runtime()
    with pytest.raises(TokenUnavailableError, match="ledger"):
        tokens().get_credentials()
    assert secret(shared) == "to-ken"


@pytest.mark.parametrize(
    ("error", "open_ms", "is_credentials"),
    [
        (
            AuthenticationError("no OAuth token: answered 400", ErrorKind.CREDENTIALS_EXPIRED, phase=Phase.AUTH),
            300_000,
            True,
        ),
        (TokenUnavailableError("no OAuth token: away", phase=Phase.AUTH), 30_000, False),
        (SmtpConnectionError("refused", ErrorKind.CONNECTION_REFUSED), None, False),
    ],
)
def test_what_keeps_a_token_away_opens_the_breaker_with_its_reason(error, open_ms, is_credentials):
    news = News()
    news.hear_error(error)
    assert (news.trouble.open_ms, news.trouble.is_credentials) == (open_ms, is_credentials)
    assert ("no OAuth token" in news.trouble.reason) == bool(open_ms)


def test_a_relay_takes_the_shared_token_and_one_that_it_refuses_is_renewed_once(account, endpoint, issued, ca_file):
    endpoint.answers = [
        (200, {"access_token": "stale", "expires_in": 3600}),
        (200, {"access_token": "to-ken", "expires_in": 3600}),
    ]
    offers = without("XOAUTH2")
    with Mechanisms(tls=issued("localhost"), user=(b"", b""), without_mechanisms=offers) as server:
        account(PORT=str(server.port))
        found = told("relay", "check")
        assert (found["well"], found["mechanism"], found["login"]) == (True, "XOAUTH2", "m***@example.com")
        assert [asked["grant_type"] for asked in endpoint.asked] == ["refresh_token"] * 2
        server.token = b"another"
        refused = told("relay", "check", status=1)
        assert "535" in refused["problem"]
        assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("more", "cure"),
    [
        ({"PASSWORD": "x"}, "drop one"),
        ({"USERNAME": ""}, "username"),
        ({"OAUTH_CLIENT_ID": ""}, "oauth_client_id"),
        ({"OAUTH_TOKEN_ENDPOINT": ""}, "oauth_token_endpoint"),
        ({"OAUTH_PROVIDER": "google", "OAUTH_REFRESH_TOKEN": ""}, "oauth_refresh_token"),
        ({"OAUTH_PROVIDER": ""}, "oauth_provider"),
        ({"PRESET": "sendgrid", "OAUTH_PROVIDER": "google"}, "takes none"),
        ({"TLS": "none", "HOST": "smtp.example.com"}, "clear text"),
    ],
)
def test_what_is_missing_or_contradicts_is_told(account, more, cure):
    account(**more)
    with pytest.raises(SettingsError, match=cure):
        _ = app.runtime


def test_an_endpoint_that_is_none_is_told(account):
    account(OAUTH_TOKEN_ENDPOINT="http://localhost/token")
    with pytest.raises(SettingsError, match="https://"):
        tokens()
