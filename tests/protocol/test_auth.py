"""Mechanisms say what their RFCs say, the best one is chosen, and no secret leaks."""

import base64

import pytest

from smtp_transport.auth import MECHANISMS, choose, decode_challenge, refusal
from smtp_transport.auth.password import login, plain
from smtp_transport.config import AuthMethod, CredentialKind, Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind, ProtocolError
from smtp_transport.reply import Reply
from smtp_transport.sasl import ChannelBinding, SaslContext

ANN = Credentials.password("ann", "hunter2")
CONTEXT = SaslContext("mx.example.com", 587, "nonce")
OF_SECRETS = [m for m in MECHANISMS if m.takes is not CredentialKind.EXTERNAL]


def test_plain_says_name_and_password_at_once() -> None:
    """F-AUTH-01."""
    assert list(plain(Credentials.password("jörg", "pä ss"), CONTEXT)) == ["\0jörg\0pä ss".encode()]


def test_login_answers_two_questions_in_order() -> None:
    """F-AUTH-02."""
    exchange = login(ANN, CONTEXT)
    assert next(exchange) is None
    assert exchange.send(b"Username:") == b"ann"
    assert exchange.send(b"whatever") == b"hunter2"
    with pytest.raises(StopIteration):
        exchange.send(b"and now?")


@pytest.mark.parametrize("mechanism", OF_SECRETS, ids=lambda m: m.name)
@pytest.mark.parametrize(("username", "secret"), [("a\0b", "hunter2"), ("ann", "hunter2\0x"), ("ann", "hunter2\ud800")])
def test_what_cannot_be_said_is_refused_and_not_repeated(mechanism, username: str, secret: str) -> None:
    """NF-SEC-01."""
    unchecked = Credentials.model_construct(
        kind=ANN.kind, username=username, secret=type(ANN.secret)(secret)
    )  # past the configuration's own check
    binding = ChannelBinding("tls-server-end-point", b"digest")

    def run() -> None:
        exchange = mechanism.start(unchecked, SaslContext("mx.example.com", 587, "nonce", binding=binding))
        if next(exchange) is None:
            exchange.send(b"")
        exchange.send(b"r=nonce2,s=c2FsdA==,i=4096")

    with pytest.raises(AuthenticationError) as caught:
        run()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("PLAIN", "LOGIN"), AuthMethod.PLAIN),
        (("LOGIN", "PLAIN"), AuthMethod.PLAIN),
        (("LOGIN",), AuthMethod.LOGIN),
        (("XOAUTH2", "GSSAPI", "LOGIN"), AuthMethod.LOGIN),
        (("PLAIN", "CRAM-MD5"), AuthMethod.CRAM_MD5),
        (("CRAM-MD5", "SCRAM-SHA-1"), AuthMethod.SCRAM_SHA_1),
        (("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256"), AuthMethod.SCRAM_SHA_256),
    ],
)
def test_the_best_mechanism_that_is_offered_is_chosen(offered: tuple[str, ...], chosen: AuthMethod) -> None:
    """F-AUTH-06."""
    assert choose(ANN, offered, may_reveal_secret=True).method is chosen


def test_one_mechanism_can_be_insisted_on() -> None:
    assert choose(ANN, ("PLAIN", "LOGIN"), may_reveal_secret=True, insist=AuthMethod.LOGIN).method is AuthMethod.LOGIN
    with pytest.raises(AuthenticationError):
        choose(ANN, ("PLAIN",), may_reveal_secret=True, insist=AuthMethod.LOGIN)


@pytest.mark.parametrize(
    ("offered", "may_reveal", "told"),
    [
        (("PLAIN", "LOGIN"), False, "TLS"),
        (("GSSAPI",), True, "GSSAPI"),
        ((), True, "no authentication"),
    ],
)
def test_without_a_fitting_mechanism_the_error_tells_what_would_help(
    *, offered: tuple[str, ...], may_reveal: bool, told: str
) -> None:
    """F-AUTH-06."""
    with pytest.raises(AuthenticationError, match=told) as caught:
        choose(ANN, offered, may_reveal_secret=may_reveal)
    assert caught.value.kind is ErrorKind.AUTH_METHOD_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        (432, ErrorKind.CREDENTIALS_EXPIRED, True),
        (454, ErrorKind.AUTHENTICATION, True),
        (504, ErrorKind.AUTH_METHOD_NOT_SUPPORTED, False),
        (530, ErrorKind.AUTHENTICATION_REQUIRED, False),
        (534, ErrorKind.AUTH_METHOD_NOT_SUPPORTED, False),
        (535, ErrorKind.CREDENTIALS_INVALID, False),
        (538, ErrorKind.AUTH_METHOD_NOT_SUPPORTED, False),
        (550, ErrorKind.AUTHENTICATION, False),
        (421, ErrorKind.SERVER_SHUTDOWN, True),
    ],
)
def test_a_refusal_has_its_kind_and_its_hope(*, code: int, kind: ErrorKind, retryable: bool) -> None:
    error = refusal(Reply(code, "5.7.8", ("hunter2 is not your password",)))
    assert (error.kind, error.code, error.enhanced_code) == (kind, code, "5.7.8")
    assert error.is_retryable is retryable
    assert "hunter2" not in str(error)


def test_challenges_are_base64() -> None:
    assert decode_challenge(Reply(334, None, ("VXNlcm5hbWU6",))) == b"Username:"
    assert decode_challenge(Reply(334, None, ("",))) == b""
    for noise in ("Username:", "VXN lcm5", "====", "é"):
        with pytest.raises(ProtocolError):
            decode_challenge(Reply(334, None, (noise,)))


def test_a_secret_is_in_no_repr() -> None:
    """NF-SEC-01."""
    shown = repr(ANN) + repr(MECHANISMS) + repr(plain(ANN, CONTEXT))
    assert "hunter2" not in shown
    assert base64.b64encode(b"hunter2").decode() not in shown
