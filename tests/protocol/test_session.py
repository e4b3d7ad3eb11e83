"""One connection, step by step: each step where it belongs, and nothing on the wire where it does not."""

import base64
from collections.abc import Callable

import pytest

from smtp_transport import Credentials, SessionState, SmtpSession
from smtp_transport.config import AuthMethod
from smtp_transport.errors import AuthenticationError, ErrorKind, MessageError, ProtocolError, SmtpError, TlsError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Command, Data, Noop, Quit, StartTls, Vrfy
from tests.protocol.script import GREETED, Fault, ScriptedStream, Step, make_config

HELLO = "EHLO client.example.com"
TLS_OFFERED = b"250-mx\r\n250-STARTTLS\r\n250 AUTH LOGIN PLAIN XOAUTH2\r\n"
OFFERED = b"250-mx\r\n250 AUTH LOGIN PLAIN XOAUTH2\r\n"
UPGRADE: tuple[Step, ...] = (*GREETED, TLS_OFFERED, "STARTTLS", b"220 go\r\n", Fault.TLS, HELLO, OFFERED)
PLAIN = f"AUTH PLAIN {base64.b64encode(bytes(1) + b'ann' + bytes(1) + b'hunter2').decode()}"
XOAUTH2 = f"AUTH XOAUTH2 {base64.b64encode(b'user=ann' + bytes([1]) + b'auth=Bearer tok' + bytes([1, 1])).decode()}"
WELCOME = b"235 welcome\r\n"
SENT: tuple[Step, ...] = (
    *("MAIL FROM:<ann@example.com>", b"250 ok\r\n", "RCPT TO:<bob@example.com>", b"250 ok\r\n", "DATA", b"354 go\r\n"),
    *("Subject: hi\n\n..hello\n.", b"250 2.0.0 queued as 4F0A1B\r\n"),
)


class Led:
    """A session over a script, and the script's check."""

    def __init__(self, *steps: Step, **fields: object) -> None:
        self.stream = ScriptedStream(*steps)
        self.session = SmtpSession.connect(self.stream, make_config(**fields))

    def says_nothing_and_refuses(self, call: Callable[[SmtpSession], object]) -> None:
        written = self.stream.written
        with pytest.raises(ProtocolError) as caught:
            call(self.session)
        assert caught.value.kind is ErrorKind.COMMAND_SEQUENCE_ERROR
        assert self.stream.written == written


def send(session: SmtpSession) -> object:
    return session.send_mail("ann@example.com", ["bob@example.com"], "Subject: hi\n\n.hello\n")


def login(session: SmtpSession) -> None:
    session.login("ann", "hunter2")


def test_a_session_goes_from_greeting_to_quit() -> None:
    """F-TLS-01, F-AUTH-01, F-SEND-01."""
    stream = ScriptedStream(*UPGRADE, PLAIN, WELCOME, *SENT, *SENT, "QUIT", b"221 bye\r\n")
    session = SmtpSession.connect_starttls(stream, make_config(tls="starttls"))
    assert session.state is SessionState.AUTHENTICATION
    assert session.capabilities.raw == ("AUTH LOGIN PLAIN XOAUTH2",)
    login(session)
    assert (session.state, session.authenticated_as) == (SessionState.TRANSACTION, "ann")
    for _ in range(2):
        receipt = session.send_mail("ann@example.com", ["bob@example.com"], "Subject: hi\n\n.hello\n")
        assert receipt.server_id == "4F0A1B"
    assert session.quit()
    assert (session.state, stream.closed, stream.done) == (SessionState.CLOSED, True, True)


def test_a_mail_needs_no_login() -> None:
    led = Led(*GREETED, b"250 mx\r\n", *SENT)
    send(led.session)
    assert led.session.state is SessionState.TRANSACTION
    assert led.stream.done


@pytest.mark.parametrize("call", [login, lambda s: s.login_xoauth2("ann", "tok"), SmtpSession.starttls])
@pytest.mark.parametrize("before", ["login", "mail", "quit", "close"])
def test_what_belongs_right_after_connecting_belongs_nowhere_else(call: Callable[..., object], before: str) -> None:
    steps = {"login": (PLAIN, WELCOME), "mail": SENT, "quit": ("QUIT", b"221 bye\r\n"), "close": ()}[before]
    led = Led(*GREETED, OFFERED, *steps)
    {"login": login, "mail": send, "quit": SmtpSession.quit, "close": SmtpSession.close}[before](led.session)
    led.says_nothing_and_refuses(call)


@pytest.mark.parametrize("call", [send, login, SmtpSession.starttls])
def test_a_closed_session_fails_fast(call: Callable[..., object]) -> None:
    led = Led(*GREETED, OFFERED)
    led.session.close()
    led.says_nothing_and_refuses(call)
    assert not led.session.quit()


def test_tls_is_not_started_twice() -> None:
    led = Led(*UPGRADE, tls="starttls")
    led.session.starttls()
    led.says_nothing_and_refuses(SmtpSession.starttls)


def test_no_mail_goes_in_clear_text_where_tls_was_asked_for() -> None:
    led = Led(*GREETED, TLS_OFFERED, tls="starttls", host="mx.example.com")
    led.says_nothing_and_refuses(send)
    with pytest.raises(AuthenticationError) as caught:
        login(led.session)
    assert caught.value.kind is ErrorKind.AUTH_METHOD_NOT_SUPPORTED
    assert led.stream.written == b"EHLO client.example.com\r\n"


@pytest.mark.parametrize(
    "steps",
    [
        (*GREETED, b"250 mx\r\n"),
        (*GREETED, TLS_OFFERED, "STARTTLS", b"454 no\r\n"),
        (*GREETED, TLS_OFFERED, "STARTTLS", b"220 go\r\n", Fault.NO_TLS),
    ],
    ids=["not offered", "refused", "broken off"],
)
@pytest.mark.parametrize("tls", ["none", "opportunistic", "starttls"])
def test_starttls_fails_closed(steps: tuple[Step, ...], tls: str) -> None:
    """F-TLS-01: whatever the configuration would put up with, this call asked for TLS."""
    led = Led(*steps, tls=tls)
    with pytest.raises(TlsError) as caught:
        led.session.starttls()
    assert caught.value.phase in {Phase.STARTTLS, Phase.TLS}
    assert led.stream.closed
    led.says_nothing_and_refuses(send)
    led.says_nothing_and_refuses(login)


def test_login_never_takes_a_password_for_a_token() -> None:
    led = Led(*GREETED, b"250-mx\r\n250 AUTH XOAUTH2 OAUTHBEARER\r\n")
    with pytest.raises(AuthenticationError) as caught:
        login(led.session)
    assert caught.value.kind is ErrorKind.AUTH_METHOD_NOT_SUPPORTED
    assert led.session.state is SessionState.AUTHENTICATION


def test_a_mechanism_that_is_not_offered_is_told_from_a_refusal_and_leaves_the_session_open() -> None:
    led = Led(*GREETED, b"250-mx\r\n250 AUTH PLAIN\r\n", PLAIN, b"535 5.7.8 no\r\n")
    with pytest.raises(AuthenticationError) as caught:
        led.session.login_with(AuthMethod.LOGIN, "ann", "hunter2")
    assert (caught.value.kind, caught.value.code) == (ErrorKind.AUTH_METHOD_NOT_SUPPORTED, None)
    with pytest.raises(AuthenticationError) as caught:
        login(led.session)
    assert (caught.value.kind, caught.value.code) == (ErrorKind.CREDENTIALS_INVALID, 535)
    assert (led.session.state, led.stream.closed) == (SessionState.CLOSED, True)
    led.says_nothing_and_refuses(send)


def test_a_token_logs_in_by_xoauth2() -> None:
    """F-AUTH-04."""
    led = Led(*GREETED, OFFERED, XOAUTH2, WELCOME)
    led.session.login_xoauth2("ann", "tok")
    assert led.stream.done


def test_a_mechanism_and_credentials_of_any_kind_can_be_named() -> None:
    led = Led(*GREETED, b"250-mx\r\n250 AUTH EXTERNAL\r\n", "AUTH EXTERNAL =", WELCOME)
    led.session.login_with(AuthMethod.EXTERNAL)
    assert led.session.authenticated_as is None
    led = Led(*GREETED, OFFERED, PLAIN, WELCOME)
    led.session.login_as(Credentials.password("ann", "hunter2"))
    assert led.stream.done


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.login("an\0n", "hunter2"),
        lambda s: s.login("ann", "hunter2\0"),
        lambda s: s.login("ann", ""),
        lambda s: s.login_xoauth2("a\x01nn", "hunter2"),
        lambda s: s.login_xoauth2("ann", "hunter2\x01"),
        lambda s: s.login_with(AuthMethod.EXTERNAL, "a\0"),
    ],
)
def test_what_cannot_be_said_is_not_said(call: Callable[[SmtpSession], object]) -> None:
    """NF-SEC-01."""
    led = Led(*GREETED, OFFERED)
    with pytest.raises(AuthenticationError) as caught:
        call(led.session)
    assert caught.value.kind is ErrorKind.CREDENTIALS_INVALID
    assert "hunter2" not in str(caught.value)
    assert led.session.state is SessionState.AUTHENTICATION
    assert led.stream.written == b"EHLO client.example.com\r\n"


@pytest.mark.parametrize("recipients", [[], "bob@example.com"])
def test_a_mail_needs_a_list_of_recipients(recipients: object) -> None:
    led = Led(*GREETED, OFFERED)
    with pytest.raises(MessageError):
        led.session.send_mail("ann@example.com", recipients, b"")  # type: ignore[arg-type]
    assert led.session.state is SessionState.AUTHENTICATION


def test_a_mail_that_nobody_takes_is_an_error_and_the_next_may_follow() -> None:
    refused = ("MAIL FROM:<ann@example.com>", b"250 ok\r\n", "RCPT TO:<bob@example.com>", b"550 5.1.1 who?\r\n")
    led = Led(*GREETED, b"250 mx\r\n", *refused, "RSET", b"250 ok\r\n", *SENT)
    with pytest.raises(MessageError) as caught:
        send(led.session)
    assert (caught.value.code, caught.value.phase) == (550, Phase.RCPT)
    send(led.session)
    assert led.stream.done


def test_a_link_that_breaks_closes_the_session() -> None:
    led = Led(*GREETED, b"250 mx\r\n", "MAIL FROM:<ann@example.com>", Fault.EOF)
    with pytest.raises(SmtpError):
        send(led.session)
    assert led.session.state is SessionState.CLOSED
    led.says_nothing_and_refuses(send)


def test_text_beyond_ascii_is_declared() -> None:
    steps = ("MAIL FROM:<ann@example.com> BODY=8BITMIME", b"550 no\r\n")
    led = Led(*GREETED, b"250-mx\r\n250 8BITMIME\r\n", *steps)
    with pytest.raises(SmtpError):
        led.session.send_mail("ann@example.com", ["bob@example.com"], "Subject: hi\n\nhällo\n")
    assert led.stream.done


@pytest.mark.parametrize("broken", [(Fault.EOF,), (b"500 what\r\n",)])
def test_quit_tells_whether_the_server_answered(broken: tuple[Step, ...]) -> None:
    with Led(*GREETED, OFFERED, "QUIT", *broken).session as session:
        assert not session.quit()
    assert session.state is SessionState.CLOSED


@pytest.mark.parametrize("steps", [(Fault.EOF,), (b"554 no\r\n",), (*GREETED, Fault.RESET)])
def test_a_server_that_does_not_welcome_us_leaves_nothing_open(steps: tuple[Step, ...]) -> None:
    stream = ScriptedStream(*steps)
    with pytest.raises(SmtpError):
        SmtpSession.connect(stream, make_config())
    assert stream.closed


def test_a_command_beside_the_mail_may_be_said_at_any_step() -> None:
    noop: tuple[Step, ...] = ("NOOP", b"250 2.0.0 fine\r\n")
    led = Led(*GREETED, OFFERED, *noop, PLAIN, WELCOME, *noop, *SENT, "VRFY bob", b"252 perhaps\r\n")
    assert led.session.command(Noop()).text == "fine"
    login(led.session)
    assert led.session.command(Noop()).enhanced == "2.0.0"
    send(led.session)
    assert led.session.command(Vrfy("bob")).code == 252
    assert led.stream.done


@pytest.mark.parametrize("command", [Data(), StartTls(), Quit()])
def test_a_command_that_has_a_method_of_its_own_is_refused(command: Command) -> None:
    led = Led(*GREETED, OFFERED)
    led.says_nothing_and_refuses(lambda session: session.command(command))


def test_no_command_goes_in_clear_text_where_tls_was_asked_for() -> None:
    led = Led(*GREETED, TLS_OFFERED, tls="starttls", host="mx.example.com")
    led.says_nothing_and_refuses(lambda session: session.command(Vrfy("bob")))


def test_credentials_that_cannot_be_sent_are_refused_in_plain_words() -> None:
    led = Led(*GREETED, OFFERED)
    with pytest.raises(AuthenticationError, match="these credentials cannot be sent: NUL, CR and LF"):
        led.session.login("ann", "hunter2\n")
