"""How a conversation begins, and how it fails closed."""

import base64
import pickle
from collections.abc import Callable

import pytest

from smtp_transport.config import TlsMode
from smtp_transport.connection import Connection
from smtp_transport.errors import AuthenticationError, ErrorKind, ProtocolError, SmtpError, TlsError
from smtp_transport.phase import Phase
from tests.protocol.script import GREETED, Fault, Played, ScriptedStream, Step, make_config

ANN = {"username": "ann@example.com", "secret": "hunter2"}
TLS_OFFERED = b"250-mx\r\n250-STARTTLS\r\n250 AUTH LOGIN PLAIN\r\n"
AUTH_PLAIN = "AUTH PLAIN AGFubkBleGFtcGxlLmNvbQBodW50ZXIy"
CRAM_ANSWER = "YW5uQGV4YW1wbGUuY29tIGRkMmMzYTVlYTVjYmZhYTM5MGVkNGExYmMzNTAwNDM1"
HELLO = "EHLO client.example.com"


def refused(*steps: Step, **fields: object) -> SmtpError:
    """Play a beginning that must fail; the stream must be closed and the script played."""
    stream = ScriptedStream(*steps)
    with pytest.raises(SmtpError) as caught:
        Connection.over(stream, make_config(**fields))
    assert stream.closed
    assert all(isinstance(step, Fault) for step in stream._steps), stream._steps
    assert not stream._unmatched
    error = caught.value
    assert error.phase is not None
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes
    assert "hunter2" not in str(error)
    assert "ann@example.com" not in str(error)
    return error


def test_ehlo_tells_what_the_server_can(play: Callable[..., Played]) -> None:
    """F-CONN-02."""
    connection = play(offers=("PIPELINING", "SIZE 1000")).connection
    assert connection.usable
    assert connection.capabilities.pipelining
    info = connection.info()
    assert (info.host, info.port, info.tls_active, info.tls_version) == ("127.0.0.1", 587, False, None)
    assert (info.banner, info.authenticated_as, info.capabilities.max_size) == ("mx.example.com ESMTP", None, 1000)


def test_a_greeting_of_several_lines_is_read_whole() -> None:
    stream = ScriptedStream(b"220-mx\r\n220-no spam\r\n220 please\r\n", HELLO, b"250 mx\r\n", cut=1)
    assert Connection.over(stream, make_config()).banner == "mx\nno spam\nplease"
    assert stream.done


@pytest.mark.parametrize("code", [500, 502, 504, 550])
def test_a_server_without_ehlo_is_greeted_with_helo(code: int) -> None:
    """F-CONN-03."""
    stream = ScriptedStream(*GREETED, f"{code} what?\r\n".encode(), "HELO client.example.com", b"250 hello\r\n")
    connection = Connection.over(stream, make_config())
    assert connection.usable
    assert connection.capabilities.raw == ()
    assert stream.done


def test_a_server_that_refuses_ehlo_for_now_is_not_asked_again() -> None:
    error = refused(*GREETED, b"451 4.3.0 later\r\n")
    assert (error.phase, error.code, error.enhanced_code, error.is_retryable) == (Phase.EHLO, 451, "4.3.0", True)


def test_why_a_server_closes_before_any_mail_is_told() -> None:
    said = b"421 4.7.0 Too many connections, ask postmaster@mx.example\r\n"
    for error in (
        refused(said),
        refused(*GREETED, said),
        refused(*GREETED, b"250-mx\r\n250 STARTTLS\r\n", "STARTTLS", said, tls="starttls"),
    ):
        assert "closes the connection (Too many connections, ask ***), while" in str(error)
        assert error.kind is ErrorKind.SERVER_SHUTDOWN


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        (b"554 5.7.1 blocked, ask postmaster@mx.example\r\n", ErrorKind.UNEXPECTED_RESPONSE),
        (b"421 4.3.2 too busy\r\n", ErrorKind.SERVER_SHUTDOWN),
        (b"250 hi\r\n", ErrorKind.UNEXPECTED_RESPONSE),
        (b"+OK POP3 ready\r\n", ErrorKind.INVALID_RESPONSE),
    ],
)
def test_a_server_that_does_not_welcome_us_is_left(greeting: bytes, kind: ErrorKind) -> None:
    error = refused(greeting)
    assert isinstance(error, ProtocolError)
    assert (error.kind, error.phase) == (kind, Phase.GREETING)
    assert "postmaster@" not in str(error)


def test_the_servers_reason_is_told() -> None:
    assert "blocked by policy" in str(refused(b"554 5.7.1 blocked by policy\r\n"))


def test_a_silent_port_is_suspected_of_implicit_tls() -> None:
    error = refused(Fault.STALL)
    assert (error.kind, error.phase) == (ErrorKind.READ_TIMEOUT, Phase.GREETING)
    assert "implicit TLS" in str(error)


def test_starttls_upgrades_and_forgets_what_was_said_before() -> None:
    """F-TLS-01."""
    offers = (TLS_OFFERED, "STARTTLS", b"220 go\r\n", Fault.TLS, HELLO, b"250-mx\r\n250 SIZE 5\r\n")
    stream = ScriptedStream(*GREETED, *offers)
    connection = Connection.over(stream, make_config(tls="starttls"))
    assert stream.done
    assert connection.info().tls_version == "TLSv1.3"
    assert not connection.capabilities.starttls
    assert connection.capabilities.auth_mechanisms == ()
    assert connection.capabilities.max_size == 5


def test_starttls_fails_closed_when_it_is_not_offered() -> None:
    error = refused(*GREETED, b"250 mx\r\n", tls="starttls")
    assert isinstance(error, TlsError)
    assert (error.kind, error.phase) == (ErrorKind.STARTTLS_NOT_SUPPORTED, Phase.STARTTLS)


@pytest.mark.parametrize(
    ("reply", "kind", "retryable"),
    [
        (b"454 4.7.0 no TLS now\r\n", ErrorKind.TLS, True),
        (b"502 what?\r\n", ErrorKind.STARTTLS_NOT_SUPPORTED, False),
        (b"421 bye\r\n", ErrorKind.SERVER_SHUTDOWN, True),
        (b"250 ok\r\n", ErrorKind.UNEXPECTED_RESPONSE, False),
    ],
)
@pytest.mark.parametrize("mode", [TlsMode.STARTTLS, TlsMode.OPPORTUNISTIC])
def test_starttls_fails_closed_when_it_is_refused(
    *, reply: bytes, kind: ErrorKind, retryable: bool, mode: TlsMode
) -> None:
    error = refused(*GREETED, TLS_OFFERED, "STARTTLS", reply, tls=mode, host="mx.example.com")
    assert (error.kind, error.phase, error.is_retryable) == (kind, Phase.STARTTLS, retryable)


@pytest.mark.parametrize("behind", [b"250 injected\r\n", b"\x16"])
def test_plaintext_behind_the_220_is_never_taken_for_the_servers_word(behind: bytes) -> None:
    error = refused(*GREETED, TLS_OFFERED, "STARTTLS", b"220 go\r\n" + behind, tls="starttls")
    assert (error.kind, error.phase) == (ErrorKind.UNEXPECTED_RESPONSE, Phase.STARTTLS)


def test_a_failed_handshake_leaves_no_plaintext_behind() -> None:
    error = refused(*GREETED, TLS_OFFERED, "STARTTLS", b"220 go\r\n", Fault.NO_TLS, tls="opportunistic")
    assert (error.kind, error.phase) == (ErrorKind.TLS_HANDSHAKE_FAILED, Phase.TLS)


def test_opportunistic_tls_takes_what_is_offered() -> None:
    stream = ScriptedStream(*GREETED, TLS_OFFERED, "STARTTLS", b"220 go\r\n", Fault.TLS, HELLO, b"250 mx\r\n")
    assert Connection.over(stream, make_config(tls="opportunistic", host="mx.example.com")).info().tls_active
    assert stream.done


@pytest.mark.parametrize("fields", [{"host": "127.0.0.1"}, {"host": "mx.example.com", "allow_plaintext": True}])
def test_opportunistic_tls_may_stay_in_clear_text_where_that_is_allowed(fields: dict[str, object]) -> None:
    stream = ScriptedStream(*GREETED, b"250 mx\r\n")
    assert not Connection.over(stream, make_config(tls="opportunistic", **fields)).info().tls_active
    assert stream.done


def test_opportunistic_tls_over_a_network_is_not_clear_text_by_accident() -> None:
    error = refused(*GREETED, b"250 mx\r\n", tls="opportunistic", host="mx.example.com")
    assert error.kind is ErrorKind.STARTTLS_NOT_SUPPORTED


def test_implicit_tls_does_not_run_over_a_stream_in_clear_text() -> None:
    assert refused(tls="implicit").phase is Phase.TLS


def test_a_stream_that_is_encrypted_already_is_not_upgraded_again() -> None:
    stream = ScriptedStream(*GREETED, TLS_OFFERED)
    stream.tls_version = "TLSv1.3"
    assert Connection.over(stream, make_config(tls="starttls")).info().tls_active
    assert stream.done


def test_plain_authenticates_in_one_round_trip(play: Callable[..., Played]) -> None:
    """F-AUTH-01."""
    connection = play(AUTH_PLAIN, b"235 welcome\r\n", offers=("AUTH LOGIN PLAIN",), credentials=ANN).connection
    assert connection.info().authenticated_as == "ann@example.com"
    assert "ann@example.com" not in repr(connection.info())


def test_login_authenticates_by_question_and_answer(play: Callable[..., Played]) -> None:
    """F-AUTH-02."""
    played = play(
        *("AUTH LOGIN", b"334 VXNlcm5hbWU6\r\n", "YW5uQGV4YW1wbGUuY29t"),
        *(b"334 UGFzc3dvcmQ6\r\n", "aHVudGVyMg==", b"235 welcome\r\n"),
        offers=("AUTH=LOGIN",),
        credentials=ANN,
    )
    assert played.connection.usable


def test_an_initial_response_too_long_for_its_line_is_given_when_asked_for(play: Callable[..., Played]) -> None:
    secret = "x" * 600
    response = base64.b64encode(f"\0ann\0{secret}".encode()).decode()
    played = play(
        *("AUTH PLAIN", b"334 \r\n", response, b"235 welcome\r\n"),
        offers=("AUTH PLAIN",),
        credentials={"username": "ann", "secret": secret},
    )
    assert played.connection.usable


def test_no_password_goes_over_a_link_in_clear_text() -> None:
    error = refused(
        *(*GREETED, b"250-mx\r\n250 AUTH LOGIN PLAIN\r\n"),
        host="mx.example.com",
        allow_plaintext=True,
        credentials=ANN,
    )
    assert (error.kind, error.phase) == (ErrorKind.AUTH_METHOD_NOT_SUPPORTED, Phase.AUTH)


@pytest.mark.parametrize(
    ("reply", "kind", "retryable"),
    [
        (b"535 5.7.8 no, ann@example.com/hunter2 is wrong\r\n", ErrorKind.CREDENTIALS_INVALID, False),
        (b"454 4.7.0 try later\r\n", ErrorKind.AUTHENTICATION, True),
        (b"504 unknown\r\n", ErrorKind.AUTH_METHOD_NOT_SUPPORTED, False),
        (b"421 too many\r\n", ErrorKind.SERVER_SHUTDOWN, True),
        (b"354 go\r\n", ErrorKind.UNEXPECTED_RESPONSE, False),
    ],
)
def test_refused_credentials_have_their_kind(*, reply: bytes, kind: ErrorKind, retryable: bool) -> None:
    error = refused(*GREETED, b"250-mx\r\n250 AUTH PLAIN\r\n", AUTH_PLAIN, reply, credentials=ANN)
    assert (error.kind, error.phase, error.is_retryable) == (kind, Phase.AUTH, retryable)


def test_a_server_without_authentication_is_told_apart_from_wrong_credentials() -> None:
    error = refused(*GREETED, b"250 mx\r\n", credentials=ANN)
    assert isinstance(error, AuthenticationError)
    assert error.kind is ErrorKind.AUTH_METHOD_NOT_SUPPORTED


@pytest.mark.parametrize("challenge", [b"334 more?\r\n", b"334 bW9yZQ==\r\n"])
def test_an_exchange_that_got_lost_is_cancelled(challenge: bytes) -> None:
    error = refused(
        *(*GREETED, b"250-mx\r\n250 AUTH PLAIN\r\n", AUTH_PLAIN, challenge, "*", b"501 cancelled\r\n"),
        credentials=ANN,
    )
    assert error.phase is Phase.AUTH


BEGINNING: tuple[tuple[Phase, tuple[Step, ...]], ...] = (
    (Phase.GREETING, ()),
    (Phase.EHLO, (b"220 mx\r\n", HELLO)),
    (Phase.EHLO, (b"220 mx\r\n", HELLO, b"500 what\r\n", "HELO client.example.com")),
    (Phase.STARTTLS, (*GREETED, TLS_OFFERED, "STARTTLS")),
    (Phase.EHLO, (*GREETED, TLS_OFFERED, "STARTTLS", b"220 go\r\n", Fault.TLS, HELLO)),
    (
        Phase.AUTH,
        (
            *GREETED,
            TLS_OFFERED,
            "STARTTLS",
            b"220 go\r\n",
            Fault.TLS,
            HELLO,
            b"250-mx\r\n250 AUTH PLAIN\r\n",
            AUTH_PLAIN,
        ),
    ),
)
FAULTS = (
    (Fault.STALL, ErrorKind.READ_TIMEOUT),
    (Fault.EOF, ErrorKind.CONNECTION_RESET),
    (Fault.RESET, ErrorKind.CONNECTION_RESET),
    (b"421 4.3.2 bye\r\n", ErrorKind.SERVER_SHUTDOWN),
    (b"noise\r\n", ErrorKind.INVALID_RESPONSE),
)


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
@pytest.mark.parametrize(("phase", "steps"), BEGINNING)
def test_a_fault_at_each_step_of_the_beginning_tells_its_phase(
    phase: Phase, steps: tuple[Step, ...], fault: Step, kind: ErrorKind
) -> None:
    error = refused(*steps, fault, tls="starttls", credentials=ANN)
    assert (error.phase, error.kind) == (phase, kind)
    assert error.is_retryable


@pytest.mark.parametrize(("phase", "steps"), [step for step in BEGINNING if step[0] > Phase.GREETING])
def test_a_reason_that_came_before_the_write_failed_is_found(phase: Phase, steps: tuple[Step, ...]) -> None:
    *before, _ = steps
    error = refused(*before, Fault.DEAF, b"421 4.3.2 bye\r\n", tls="starttls", credentials=ANN)
    assert (error.phase, error.kind, error.code) == (phase, ErrorKind.SERVER_SHUTDOWN, 421)


@pytest.mark.parametrize(("phase", "steps"), [step for step in BEGINNING if step[0] > Phase.GREETING])
def test_a_write_that_failed_without_a_reason_tells_its_phase(phase: Phase, steps: tuple[Step, ...]) -> None:
    *before, _ = steps
    error = refused(*before, Fault.DEAF, Fault.EOF, tls="starttls", credentials=ANN)
    assert (error.phase, error.kind) == (phase, ErrorKind.CONNECTION_RESET)
    assert "reset" in str(error)


def test_a_server_that_wants_authentication_first_is_told_apart() -> None:
    error = refused(*GREETED, b"530 5.7.0 who are you?\r\n", "HELO client.example.com", b"530 5.7.0 who are you?\r\n")
    assert isinstance(error, AuthenticationError)
    assert (error.kind, error.phase) == (ErrorKind.AUTHENTICATION_REQUIRED, Phase.EHLO)


def test_an_interrupt_while_a_link_is_opened_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ScriptedStream()

    def interrupted(_: float) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(stream, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Connection.over(stream, make_config())
    assert stream.closed


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"\r\n", ErrorKind.INVALID_RESPONSE),
        (b"250 again\r\n", ErrorKind.UNEXPECTED_RESPONSE),
        (b"421 going down\r\n", ErrorKind.SERVER_SHUTDOWN),
        (b"25", ErrorKind.UNEXPECTED_RESPONSE),
    ],
)
def test_a_server_that_says_more_than_it_was_asked_is_told_at_once(said: bytes, kind: ErrorKind) -> None:
    error = refused(*GREETED, b"250 mx\r\n" + said)
    assert (error.kind, error.phase) == (kind, Phase.EHLO)
    steps = (*GREETED, b"250-mx\r\n250 AUTH PLAIN\r\n", AUTH_PLAIN, b"235 welcome\r\n" + said)
    error = refused(*steps, credentials=ANN)
    assert (error.kind, error.phase) == (kind, Phase.AUTH)


@pytest.mark.parametrize(("code", "is_told"), [(535, True), (504, True), (534, True), (454, False)])
def test_a_mechanism_that_the_server_cannot_check_is_named(code: int, is_told: bool) -> None:  # noqa: FBT001 - a row
    """A server that keeps passwords hashed may offer CRAM-MD5 all the same, and say no to everybody."""
    challenge, reply = b"334 PDEyM0BteD4=\r\n", f"{code} no\r\n".encode()
    for offer, is_shown in ((b"CRAM-MD5 PLAIN", is_told), (b"CRAM-MD5", False)):
        stream = ScriptedStream(
            *GREETED, b"250-mx\r\n250 AUTH " + offer + b"\r\n", "AUTH CRAM-MD5", challenge, CRAM_ANSWER, reply
        )
        with pytest.raises(AuthenticationError) as failed:
            Connection.over(stream, make_config(credentials=ANN))
        assert ("by CRAM-MD5; auth_method can name another" in failed.value.message) is is_shown
        assert failed.value.code == code
