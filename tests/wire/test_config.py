import pickle
import re
import traceback
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from smtp_transport import (
    AuthenticationError,
    AuthMethod,
    CallableProvider,
    Credentials,
    OAuth2Client,
    OAuth2Token,
    PoolConfig,
    RefreshTokenProvider,
    SmtpConfig,
    TlsConfig,
    TlsMode,
    TlsVersion,
)


class Partial:
    def get_credentials(self): ...


def test_what_is_not_told_is_safe():
    """F-TLS-04, NF-SEC-02, NF-SEC-03."""
    config = SmtpConfig(host="smtp.example.com")
    assert (config.port, config.tls) == (587, TlsMode.STARTTLS)
    assert config.tls_config.min_version is TlsVersion.TLS12
    assert config.tls_config.checks_chain
    assert config.tls_config.checks_hostname
    assert not config.may_be_plaintext
    assert not config.may_authenticate_plaintext


@pytest.mark.parametrize(("port", "mode"), [(25, TlsMode.STARTTLS), (587, TlsMode.STARTTLS), (465, TlsMode.IMPLICIT)])
def test_the_usual_ports_have_their_usual_modes(port, mode):
    """F-CONN-01."""
    assert SmtpConfig(host="smtp.example.com", port=port).tls is mode
    assert SmtpConfig(host="smtp.example.com", port=str(port)).tls is mode


def test_a_mode_that_is_told_wins_over_the_port():
    assert SmtpConfig(host="h", port=465, tls="starttls").tls is TlsMode.STARTTLS


@pytest.mark.parametrize(
    ("fields", "field", "cure"),
    [
        ({"host": "smtp.example.com:25"}, "host", "port"),
        ({"host": "smtp://smtp.example.com"}, "host", "bare host name"),
        ({"host": "two words"}, "host", "smtp.example.com"),
        ({"host": ""}, "host", "smtp.example.com"),
        ({"host": "x" * 64 + ".example"}, "host", "host name"),
        ({"host": "a\r\nb"}, "host", "host name"),
        ({"port": 0}, "port", "greater than or equal to 1"),
        ({"port": 65_536}, "port", "less than or equal to 65535"),
        ({"tls": "none"}, "tls", "allow_plaintext=True"),
        ({"tls": "ssl"}, "tls", "'starttls'"),
        ({"io_timeout": 0}, "io_timeout", "greater than 0"),
        ({"io_timeout": float("inf")}, "io_timeout", "finite"),
        ({"connect_timeout": -1}, "connect_timeout", "greater than 0"),
        ({"local_hostname": "not a domain"}, "local_hostname", "[192.0.2.1]"),
        ({"client_id": "a\r\nMAIL FROM:<x@y>"}, "client_id", "domain"),
        ({"max_message_size": 0}, "max_message_size", "greater than or equal to 1"),
        ({"auth_method": "PLAIN"}, "auth_method", "set credentials"),
        ({"tls_config": {"min_version": "TLSv1.1"}}, "min_version", "allow_obsolete_versions=True"),
        ({"tls_config": {"verify_certificates": False}}, "verify_certificates", "verify_hostname=False"),
        ({"tls_config": {"client_key_path": __file__}}, "client_key_path", "client_cert_path"),
        ({"tls_config": {"ca_certs": "/no/such/file.pem"}}, "ca_certs", "PEM file"),
        ({"tls_config": {"server_name": "a b"}}, "server_name", "host name"),
        ({"pool": {"max_connections": 21}}, "max_connections", "less than or equal to 20"),
        ({"pool": {"min_idle": 6}}, "min_idle", "lower it"),
        ({"pool": {"max_lifetime": 14_401}}, "max_lifetime", "less than or equal to 14400"),
        ({"pool": {"idle_timeout": 1_801}}, "idle_timeout", "less than or equal to 1800"),
        ({"credentials": {"username": "me", "password": "two\nlines"}}, "password", "line end"),
        ({"credentials": {"username": "", "password": "x"}}, "username", "at least 1"),
        ({"credentials": ("me", "secret")}, "credentials", "give Credentials.password(user, password)"),
        ({"credentials": "me:secret"}, "credentials", "a function for tokens"),
        (
            {"credentials": Partial()},
            "credentials",
            "has refresh, is_valid, auth_method as well; see CredentialProvider",
        ),
        ({"tls_conf": {}}, "tls_conf", "there is no such field; did you mean tls_config?"),
        ({"pool": {"max_conections": 3}}, "pool.max_conections", "did you mean max_connections?"),
    ],
)
def test_a_bad_value_is_refused_with_its_field_and_a_cure(fields, field, cure):
    with pytest.raises(ValidationError) as refused:
        SmtpConfig(**{"host": "smtp.example.com"} | fields)
    assert field in str(refused.value)
    assert cure in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "dev.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_clear_text_needs_no_leave_on_the_way_to_this_machine(host):
    assert SmtpConfig(host=host, tls="none").may_be_plaintext


@pytest.mark.parametrize(
    "host", ["smtp.example.com", "localhost.example.com", "10.0.0.1", "::2", "mailbox", "my_mailbox"]
)
def test_clear_text_needs_leave_on_the_way_to_any_other(host):
    assert SmtpConfig(host=host, tls="none", allow_plaintext=True).may_be_plaintext
    with pytest.raises(ValidationError):
        SmtpConfig(host=host, tls="none")


def test_an_international_host_name_becomes_ascii():
    assert SmtpConfig(host="bücher.example").host == "xn--bcher-kva.example"


@given(st.text(max_size=80))
def test_no_text_makes_a_host_or_a_greeting_that_holds_more_than_a_name(text):
    for field in ("host", "local_hostname"):
        try:
            config = SmtpConfig(**{"host": "h"} | {field: text})
        except ValidationError:
            continue
        assert not set(getattr(config, field)) & set(" \r\n\t\0<>")
        assert getattr(config, field).isascii()


def test_a_secret_shows_nowhere():
    """NF-SEC-01."""
    config = SmtpConfig(host="h", credentials=Credentials.password("user-name", "pass-word"))
    told = f"{config} {config!r} {config.credentials} {config.credentials!r} {config.model_dump_json()}"
    assert "pass-word" not in told
    with pytest.raises(ValidationError) as refused:
        Credentials.password("user-name", SecretStr("pass-word\0"))
    assert "pass-word" not in str(refused.value)


def test_every_step_of_the_builder_arrives():
    pool = PoolConfig(max_connections=2)
    config = (
        SmtpConfig.builder()
        .host("smtp.example.com")
        .port(2525)
        .credentials("me", "secret")
        .auth_method(AuthMethod.LOGIN)
        .tls(TlsConfig(server_name="other.example.com"))
        .tls_mode(TlsMode.IMPLICIT)
        .connect_timeout(1)
        .command_timeout(2)
        .max_message_size(3)
        .client_id("app.example.com")
        .pool(pool)
        .source_address("192.0.2.7")
        .build()
    )
    assert config == SmtpConfig(
        host="smtp.example.com",
        port=2525,
        credentials=Credentials.password("me", "secret"),
        auth_method=AuthMethod.LOGIN,
        tls_config=TlsConfig(server_name="other.example.com"),
        tls=TlsMode.IMPLICIT,
        connect_timeout=1,
        io_timeout=2,
        max_message_size=3,
        local_hostname="app.example.com",
        pool=pool,
        source_address="192.0.2.7",
    )
    assert config.server_name == "other.example.com"


def test_the_builder_takes_modes_ready_credentials_and_leave_for_clear_text():
    credentials = Credentials.password("me", "secret")
    assert SmtpConfig.builder().host("localhost").no_tls().build().tls is TlsMode.NONE
    assert SmtpConfig.builder().host("localhost").tls("implicit").build().tls is TlsMode.IMPLICIT
    with pytest.raises(ValidationError, match="allow_plaintext"):
        SmtpConfig.builder().host("relay").no_tls().build()
    config = SmtpConfig.builder().host("relay").tls(TlsMode.NONE).allow_plaintext().credentials(credentials).build()
    assert (config.tls, config.credentials) == (TlsMode.NONE, credentials)


def test_a_configuration_is_frozen_and_crosses_processes():
    config = SmtpConfig(host="h")
    with pytest.raises(ValidationError):
        config.port = 25
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own pickle


@pytest.mark.parametrize(
    "secret",
    [
        Credentials.password("user-name", "pass-word"),
        Credentials.token("to-ken"),
        OAuth2Token(access_token="to-ken"),
        OAuth2Client.google("id", "pass-word"),
        RefreshTokenProvider(OAuth2Client.google("id"), "to-ken"),
        CallableProvider(lambda: "to-ken"),
    ],
    ids=lambda secret: type(secret).__name__,
)
def test_no_secret_gets_into_a_pickle_or_a_repr(secret):
    """NF-SEC-01."""
    inside = [secret] if isinstance(secret, OAuth2Token | OAuth2Client) else SmtpConfig(host="h", credentials=secret)
    for holder in (secret, inside):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="build it where it is used"):
                pickle.dumps(holder, protocol)
        assert "pass-word" not in f"{holder} {holder!r}"
        assert "to-ken" not in f"{holder} {holder!r}"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: Credentials(kind="token", secret="two words"), "visible ASCII"),
        (lambda: Credentials.token("t", "a\x01b"), "control characters"),
        (lambda: Credentials(kind="external", secret="x"), "EXTERNAL"),
        (lambda: Credentials(secret="x"), "needs both"),
        (lambda: Credentials(username="x"), "needs both"),
        (lambda: SmtpConfig(host="h", credentials=3), "credentials"),
        (lambda: SmtpConfig(host="h", mechanisms=(object(),)), "start(credentials, context)"),
        (lambda: OAuth2Client(token_endpoint="http://example.com/", client_id="x"), "https://"),
        (lambda: OAuth2Client(token_endpoint="https://u@example.com/", client_id="x"), "user name"),
        (lambda: OAuth2Client.microsoft("id", tenant="a/b"), "tenant"),
        (lambda: RefreshTokenProvider(OAuth2Client.google("id"), OAuth2Token(access_token="x")), "nothing can be"),
    ],
)
def test_credentials_that_could_not_be_used_are_refused_at_once(made, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        made()


def test_a_provider_is_taken_wherever_credentials_are():
    provider = RefreshTokenProvider(OAuth2Client.microsoft("id", tenant="example.com"), "1//x", "me@example.com")
    config = SmtpConfig.builder().host("h").credentials(provider).build()
    assert config.credentials is provider
    assert "RefreshTokenProvider" in config.model_dump_json()
    assert isinstance(SmtpConfig(host="h", credentials=lambda: "token").credentials, CallableProvider)
    assert SmtpConfig(host="h", credentials={"kind": "token", "access_token": "x"}).credentials.kind.value == "token"


@pytest.mark.parametrize("given", [None, 7, b"se-cret", "", "se cret", "se-cret\n", ["se-cret"]])
def test_a_function_that_gives_no_token_is_told_what_it_gave_and_not_which(given):
    with pytest.raises(AuthenticationError, match=f"gave {type(given).__name__}; give the token as text") as failed:
        CallableProvider(lambda: given).get_credentials()
    frames = [frame for frame, _ in traceback.walk_tb(failed.tb) if "smtp_transport" in frame.f_code.co_filename]
    assert frames
    assert not [frame for frame in frames if "cret" in repr(frame.f_locals)]
    assert "cret" not in str(failed.value)


def test_a_token_ends_five_minutes_early():
    now = datetime(2026, 11, 1, tzinfo=UTC)
    token = OAuth2Token(access_token="x", expires_at=now)
    assert token.needs_refresh(now - timedelta(minutes=5))
    assert not token.needs_refresh(now - timedelta(minutes=5, seconds=1))
    assert token.has_ended(now)
    assert not token.has_ended(now - timedelta(seconds=1))
    assert not OAuth2Token(access_token="x").needs_refresh(now)


def test_a_machine_whose_name_ehlo_cannot_say_is_localhost(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "my_machine")
    assert SmtpConfig(host="h").local_hostname == "localhost"
    monkeypatch.setattr("socket.gethostname", lambda: "web-1.example.com")
    assert SmtpConfig(host="h").local_hostname == "web-1.example.com"
