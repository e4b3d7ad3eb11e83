"""Whole exchanges, byte for byte: who is asked for credentials, how often, and what a server may not do."""

import base64
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.connection import Connection
from smtp_transport.connection import authentication as module
from smtp_transport.credentials import AuthMethod, Credentials, OAuth2Token
from smtp_transport.errors import (
    AuthenticationError,
    ErrorKind,
    ProtocolError,
    SmtpConnectionError,
    SmtpError,
    TlsError,
)
from smtp_transport.phase import Phase
from smtp_transport.sasl import SaslContext
from tests.protocol.script import GREETED, Fault, Played, ScriptedStream, Step, make_config

SECRET = "hunter2-s3cret"
ANN = Credentials.password("ann", SECRET)
TIM = Credentials.password("user", "pencil")
REFUSED = b"535 5.7.8 no\r\n"


@pytest.mark.parametrize("offers", ["AUTH PLAIN", "AUTH LOGIN PLAIN", "AUTH XOAUTH2 OAUTHBEARER"])
def test_no_secret_is_shown_where_opportunistic_tls_is_not_offered(offers: str) -> None:
    own: dict[str, object] = {"tls": "opportunistic", "host": "mx.example.com", "allow_plaintext": True}
    token = Credentials.token(SECRET, "ann")
    error = failed(offers=offers, credentials=token if "XOAUTH2" in offers else ANN, **own)
    assert error.kind is ErrorKind.AUTH_METHOD_NOT_SUPPORTED
    assert "readable on this link without TLS" in error.message


def test_a_login_that_shows_no_secret_may_be_used_where_opportunistic_tls_is_not_offered() -> None:
    own: dict[str, object] = {"tls": "opportunistic", "host": "mx.example.com", "allow_plaintext": True}
    challenge = "AUTH CRAM-MD5"
    error = failed(challenge, b"454 4.7.0 later\r\n", offers="AUTH PLAIN CRAM-MD5", credentials=ANN, **own)
    assert error.code == 454


def said(data: bytes) -> str:
    return base64.b64encode(data).decode()


def challenged(data: bytes) -> bytes:
    return f"334 {said(data)}\r\n".encode()


def xoauth2(token: str) -> str:
    return f"AUTH XOAUTH2 {said(f'user=ann{chr(1)}auth=Bearer {token}{chr(1)}{chr(1)}'.encode())}"


def failed(*steps: Step, offers: str = "AUTH XOAUTH2", **fields: object) -> SmtpError:
    """Authenticate in vain: the script must have been played, and no secret may be told."""
    stream = ScriptedStream(*GREETED, f"250-mx\r\n250 {offers}\r\n".encode(), *steps)
    with pytest.raises(SmtpError) as caught:
        Connection.over(stream, make_config(**fields))
    assert all(isinstance(step, Fault) for step in stream._steps), stream._steps
    assert stream.closed
    assert not stream._unmatched
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    for secret in (SECRET, said(SECRET.encode())[:-4], said(f"\0ann\0{SECRET}".encode())):
        # This function's own steps are in the traceback as well: they are no part of the product.
        assert secret not in "".join(line for line in told.splitlines() if "steps = " not in line)
    assert caught.value.phase is Phase.AUTH
    return caught.value


class Provider:
    """Gives these tokens, one after each refresh."""

    def __init__(self, *tokens: str, valid: bool = True, method: AuthMethod | None = None) -> None:
        self.tokens = list(tokens)
        self.valid = valid
        self.method = method
        self.refreshed = 0

    def get_credentials(self) -> Credentials:
        return Credentials.token(self.tokens[0], "ann")

    def refresh(self) -> bool:
        self.refreshed += 1
        self.valid = True
        if len(self.tokens) > 1:
            del self.tokens[0]
            return True
        return False

    def is_valid(self) -> bool:
        return self.valid

    def auth_method(self) -> AuthMethod | None:
        return self.method


def test_a_providers_token_is_used(play: Callable[..., Played]) -> None:
    """F-AUTH-04."""
    provider = Provider("one")
    played = play(xoauth2("one"), b"235 welcome\r\n", offers=("AUTH XOAUTH2",), credentials=provider)
    assert played.connection.info().authenticated_as == "ann"
    assert provider.refreshed == 0


def test_a_token_that_is_known_to_have_ended_is_not_tried(play: Callable[..., Played]) -> None:
    provider = Provider("old", "new", valid=False)
    play(xoauth2("new"), b"235 welcome\r\n", offers=("AUTH XOAUTH2",), credentials=provider)
    assert provider.refreshed == 1


def test_a_refused_token_is_renewed_and_tried_once_more(play: Callable[..., Played]) -> None:
    """F-AUTH-04: Google's way, with its reason in a challenge."""
    provider = Provider("old", "new")
    play(
        *(xoauth2("old"), challenged(b'{"status":"400"}'), "", REFUSED),
        *(xoauth2("new"), b"235 welcome\r\n"),
        offers=("AUTH XOAUTH2",),
        credentials=provider,
    )
    assert provider.refreshed == 1


def test_a_token_that_another_thread_renewed_is_not_renewed_again(play: Callable[..., Played]) -> None:
    provider = Provider("old")
    asked: list[Credentials] = []

    def elsewhere() -> Credentials:
        asked.append(Credentials.token("new" if asked else "old", "ann"))
        return asked[-1]

    provider.get_credentials = elsewhere  # type: ignore[method-assign]
    play(
        *(xoauth2("old"), REFUSED, xoauth2("new"), b"235 welcome\r\n"),
        offers=("AUTH XOAUTH2",),
        credentials=provider,
    )
    assert provider.refreshed == 0


def test_a_renewed_token_that_is_refused_too_is_the_end() -> None:
    provider = Provider("old", "new", "newer")
    error = failed(xoauth2("old"), REFUSED, xoauth2("new"), REFUSED, credentials=provider)
    assert (error.kind, error.code) == (ErrorKind.CREDENTIALS_INVALID, 535)
    assert provider.refreshed == 1


def test_a_token_that_cannot_be_renewed_is_not_tried_again() -> None:
    provider = Provider("old")
    reason = json.dumps({"status": "401", "schemes": "Bearer", "scope": "https://mail.example.com/"}).encode()
    error = failed(xoauth2("old"), challenged(reason), "", REFUSED, credentials=provider)
    assert (error.code, provider.refreshed) == (535, 1)
    assert "status 401, schemes Bearer, scope https://mail.example.com/" in str(error)


@pytest.mark.parametrize("reply", [b"454 4.7.0 later\r\n", b"534 5.7.9 no\r\n", b"550 no\r\n"])
def test_only_a_refusal_of_the_token_itself_renews_it(reply: bytes) -> None:
    provider = Provider("old", "new")
    assert failed(xoauth2("old"), reply, credentials=provider).code == int(reply[:3])
    assert provider.refreshed == 0


def test_a_refused_password_of_a_provider_is_not_tried_again() -> None:
    provider = Provider("x")
    provider.get_credentials = lambda: ANN  # type: ignore[method-assign]
    opening = f"AUTH PLAIN {said(f'{chr(0)}ann{chr(0)}{SECRET}'.encode())}"
    assert failed(opening, REFUSED, offers="AUTH PLAIN", credentials=provider).code == 535
    assert provider.refreshed == 0


def test_a_provider_may_insist_on_a_mechanism_and_the_configuration_more(play: Callable[..., Played]) -> None:
    offers = ("AUTH OAUTHBEARER XOAUTH2",)
    insisting = Provider("one", method=AuthMethod.XOAUTH2)
    play(xoauth2("one"), b"235 welcome\r\n", offers=offers, credentials=insisting)
    error = failed(offers="AUTH XOAUTH2", credentials=insisting, auth_method=AuthMethod.OAUTHBEARER)
    assert error.kind is ErrorKind.AUTH_METHOD_NOT_SUPPORTED


@pytest.mark.parametrize("given", ["one", OAuth2Token(access_token="one"), Credentials.token("one", "ann")])
def test_any_function_that_gives_a_token_is_a_provider(play: Callable[..., Played], given: object) -> None:
    method = "XOAUTH2" if isinstance(given, Credentials) else "OAUTHBEARER"
    bearer = f"AUTH OAUTHBEARER {said(b'n,,' + chr(1).encode() + b'host=127.0.0.1' + bytes([1]) + b'port=587')}"
    stream = ScriptedStream(*GREETED, f"250-mx\r\n250 AUTH {method}\r\n".encode())
    with pytest.raises(SmtpError):
        Connection.over(stream, make_config(credentials=lambda: given))
    last = stream.written.splitlines()[-1].decode()
    assert last.startswith(xoauth2("one") if method == "XOAUTH2" else bearer[:-4])


def test_a_provider_that_fails_is_named_by_the_type_of_its_failure() -> None:
    def failing() -> str:
        raise KeyError(SECRET)

    error = failed(credentials=failing)
    assert isinstance(error, AuthenticationError)
    assert "KeyError" in str(error)


def test_a_provider_that_cannot_reach_its_endpoint_leaves_hope() -> None:
    def failing() -> str:
        raise SmtpConnectionError("the token endpoint cannot be reached")

    assert failed(credentials=failing).is_retryable


SCRAM = "AUTH SCRAM-SHA-1"
CLIENT_FIRST = f"{SCRAM} {said(b'n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL')}"
SERVER_FIRST = challenged(b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")
CLIENT_FINAL = said(b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")


@pytest.fixture
def _nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.secrets, "token_urlsafe", lambda _: "fyko+d2lbbFgONRv9qkxdawL")


@pytest.mark.usefixtures("_nonce")
def test_scram_ends_with_the_servers_proof(play: Callable[..., Played]) -> None:
    final = challenged(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")
    steps = (CLIENT_FIRST, SERVER_FIRST, CLIENT_FINAL, final, "", b"235 welcome\r\n")
    assert play(*steps, offers=(SCRAM,), credentials=TIM).connection.usable


@pytest.mark.usefixtures("_nonce")
@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((CLIENT_FIRST, b"235 welcome\r\n"), "cannot be read"),
        ((CLIENT_FIRST, SERVER_FIRST, CLIENT_FINAL, b"235 welcome\r\n"), "did not prove"),
        (
            (CLIENT_FIRST, SERVER_FIRST, CLIENT_FINAL, challenged(b"v=" + b"A" * 27 + b"="), "*", b"501 ok\r\n"),
            "signature",
        ),
    ],
    ids=["after one step", "without proof", "with a wrong proof"],
)
def test_a_server_that_says_yes_too_early_is_not_believed(steps: tuple[Step, ...], told: str) -> None:
    error = failed(*steps, offers=SCRAM, credentials=TIM)
    assert told in str(error)
    assert isinstance(error, AuthenticationError | ProtocolError)


@pytest.mark.parametrize("fault", [Fault.EOF, Fault.RESET, Fault.STALL])
@pytest.mark.parametrize("broken_write", [False, True])
def test_no_traceback_shows_a_secret_when_the_link_breaks(fault: Fault, *, broken_write: bool) -> None:
    """NF-SEC-01: not even one that shows every local variable."""
    opening = f"AUTH PLAIN {said(f'{chr(0)}ann{chr(0)}{SECRET}'.encode())}"
    steps = (Fault.DEAF, fault) if broken_write else (opening, fault)
    failed(*steps, offers="AUTH PLAIN", credentials=ANN)


def test_no_traceback_shows_what_could_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """NF-SEC-01: an error that has its phase already is raised as it is, with the frames that it came from."""

    def write(data: bytes, _: float) -> None:
        if data.startswith(b"AUTH"):
            raise TlsError("the server wants a certificate", phase=Phase.TLS)

    stream = ScriptedStream(b"220 mx\r\n", b"250-mx\r\n250 AUTH PLAIN\r\n", Fault.EOF)
    monkeypatch.setattr(stream, "write", write)
    with pytest.raises(TlsError) as caught:
        Connection.over(stream, make_config(credentials=ANN))
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert said(f"\0ann\0{SECRET}".encode()) not in told


def test_credentials_too_long_for_a_line_are_not_written() -> None:
    error = failed(offers="AUTH PLAIN", credentials=Credentials.password("ann", SECRET * 300 + "é" * 3900))
    assert error.kind is ErrorKind.CREDENTIALS_INVALID


class Hello:
    """A mechanism of one's own."""

    name = "X-HELLO"

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = answers

    def start(self, credentials: Credentials, context: SaslContext) -> Iterator[bytes | None]:
        yield None
        for answer in self.answers:
            if isinstance(answer, Exception):
                raise answer
            yield answer


HELLO_OFFERED = ("AUTH PLAIN X-HELLO",)


def test_a_mechanism_of_ones_own_comes_first(play: Callable[..., Played]) -> None:
    steps = ("AUTH X-HELLO", b"334 \r\n", said(b"hello"), b"235 welcome\r\n")
    assert play(*steps, offers=HELLO_OFFERED, credentials=ANN, mechanisms=(Hello(b"hello"),)).connection.usable


@pytest.mark.parametrize("fields", [{"auth_method": "PLAIN"}, {"credentials": ANN}])
def test_a_mechanism_of_ones_own_is_not_used_where_it_may_not_be(fields: dict[str, object]) -> None:
    opening = f"AUTH PLAIN {said(f'{chr(0)}ann{chr(0)}{SECRET}'.encode())}"
    offers = HELLO_OFFERED[0] if "auth_method" in fields else "AUTH PLAIN"
    error = failed(opening, REFUSED, offers=offers, mechanisms=(Hello(),), **{"credentials": ANN} | fields)
    assert error.code == 535


def test_a_mechanism_of_ones_own_is_taken_to_show_the_secret() -> None:
    plain = {"host": "mx.example.com", "allow_plaintext": True}
    error = failed(offers="AUTH X-HELLO", credentials=ANN, mechanisms=(Hello(),), **plain)
    assert error.kind is ErrorKind.AUTH_METHOD_NOT_SUPPORTED
    harmless = Hello(b"hello")
    harmless.reveals_secret = False  # type: ignore[attr-defined]
    steps = ("AUTH X-HELLO", b"334 \r\n", said(b"hello"), REFUSED)
    assert failed(*steps, offers="AUTH X-HELLO", credentials=ANN, mechanisms=(harmless,), **plain).code == 535


def test_a_mechanism_that_fails_is_named_by_the_type_of_its_failure() -> None:
    steps = ("AUTH X-HELLO", b"334 \r\n", "*", b"501 cancelled\r\n")
    error = failed(*steps, offers="AUTH X-HELLO", credentials=ANN, mechanisms=(Hello(ValueError(SECRET)),))
    assert isinstance(error, AuthenticationError)
    assert "X-HELLO failed with ValueError" in str(error)


def test_a_mechanism_that_wants_the_servers_proof_is_asked_for_it_in_the_end() -> None:
    careful = Hello(b"hello", b"and you?")
    careful.verifies_server = True  # type: ignore[attr-defined]
    steps = ("AUTH X-HELLO", b"334 \r\n", said(b"hello"), b"235 welcome\r\n")
    assert "yes before" in str(failed(*steps, offers="AUTH X-HELLO", credentials=ANN, mechanisms=(careful,)))


@pytest.mark.parametrize("method", [AuthMethod.LOGIN, AuthMethod.CRAM_MD5])
def test_a_server_that_says_yes_before_it_has_seen_credentials_is_not_believed(method: AuthMethod) -> None:
    offered = f"AUTH {method.value}"
    error = failed(offered, b"235 welcome\r\n", offers=offered, credentials=ANN)
    assert error.kind is ErrorKind.UNEXPECTED_RESPONSE
    assert "before it had seen credentials" in str(error)


def test_a_reply_to_something_else_is_no_login() -> None:
    """NF-SEC-01: RFC 4954 section 6 knows one success, 235."""
    opening = f"AUTH PLAIN {said(f'{chr(0)}ann{chr(0)}{SECRET}'.encode())}"
    error = failed(opening, b"250 ok\r\n", offers="AUTH PLAIN", credentials=ANN)
    assert error.kind is ErrorKind.UNEXPECTED_RESPONSE


def test_an_exchange_without_end_is_ended() -> None:
    endless = Hello(*(b"again" for _ in range(100)))
    rounds = [step for _ in range(32) for step in (b"334 \r\n", said(b"again"))]
    error = failed(
        *("AUTH X-HELLO", *rounds, b"334 \r\n", "*", b"501 cancelled\r\n"),
        offers="AUTH X-HELLO",
        credentials=ANN,
        mechanisms=(endless,),
    )
    assert "end" in str(error)


SERVER_LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["334 ", "334 !", "235 ok", "535 no", "421 bye", "250 ok", "334 VXNlcm5hbWU6", "334-a\r\n334 b"]
        ),
        st.binary(max_size=60).map(lambda data: f"334 {said(data)}"),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(lambda text: f"334 {text}"),
    ),
    max_size=40,
)


@given(lines=SERVER_LINES, method=st.sampled_from(AuthMethod))
def test_whatever_a_server_says_an_exchange_ends_in_a_login_or_a_typed_error(
    lines: list[str], method: AuthMethod
) -> None:
    class Noisy(ScriptedStream):
        def write(self, data: bytes, deadline: float) -> None:
            self.written += data

    noise = "".join(f"{line}\r\n" for line in lines).encode(errors="replace")
    stream = Noisy(
        b"220 mx\r\n", f"250-mx\r\n250 AUTH {method.value}\r\n".encode(), *([noise] if noise else []), Fault.EOF, cut=17
    )
    token = method in {AuthMethod.XOAUTH2, AuthMethod.OAUTHBEARER}
    credentials = Credentials.token("tok", "ann") if token else ANN
    with suppress(AuthenticationError, ProtocolError, SmtpConnectionError):
        connection = Connection.over(stream, make_config(credentials=credentials, auth_method=method))
        assert connection.info().authenticated_as == "ann"
    assert stream.written.count(b"\r\n") <= 40


def test_a_cancelled_exchange_tells_why_even_if_the_server_leaves() -> None:
    error = failed(
        "AUTH PLAIN " + said(f"\0ann\0{SECRET}".encode()),
        b"334 !\r\n",
        "*",
        Fault.EOF,
        offers="AUTH PLAIN",
        credentials=ANN,
    )
    assert error.kind is ErrorKind.INVALID_RESPONSE
