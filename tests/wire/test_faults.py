"""A server that fails at every step, in every way: the client says where, in time, and leaves the link."""

import pytest

from smtp_transport import (
    Credentials,
    ErrorKind,
    Phase,
    ProtocolError,
    SmtpConnectionError,
    SmtpError,
    SmtpTimeoutError,
)
from smtp_transport.testing import (
    Close,
    Drip,
    Expect,
    ExpectContent,
    FaultServer,
    Raw,
    ReadSome,
    Reset,
    Say,
    Stall,
    greeted,
)

ENOUGH = 20.0
SHORT = 0.4
"""Seconds: what a test waits for a stalled server; all steps before must be done in it."""
BIG = "x" * 70 + "\n"


def way_to(phase: Phase, *capabilities: str):
    """Give the steps of a server that does all right until the client waits in this phase."""
    if phase is Phase.GREETING:
        return []
    if phase is Phase.EHLO:
        return [Say("220 fault.test"), Expect("EHLO")]
    way = [*greeted("AUTH PLAIN", *capabilities), Expect("AUTH PLAIN")]
    for passed, steps in (
        (Phase.AUTH, [Say("235 2.7.0 ok"), Expect("MAIL FROM:")]),
        (Phase.MAIL, [Say("250 2.1.0 ok"), Expect("RCPT TO:")]),
        (Phase.RCPT, [Say("250 2.1.5 ok"), Expect("DATA")]),
        (Phase.DATA, [Say("354 go on"), ReadSome(1) if phase is Phase.BODY else ExpectContent()]),
    ):
        if phase > passed:
            way += steps
    return way


PHASES = [p for p in Phase if p not in {Phase.CONNECT, Phase.STARTTLS, Phase.TLS}]
everywhere = pytest.mark.parametrize("phase", PHASES, ids=lambda p: p.name)
both_modes = pytest.mark.parametrize("capabilities", [(), ("PIPELINING",)], ids=["lockstep", "pipelined"])


@pytest.fixture
def failure_of(client_for, email):
    """Send one mail, whose content is big if it is to get stuck, and give the error and the server."""

    def fail(script, phase, patience=ENOUGH):
        text = BIG * (600_000 if phase is Phase.BODY else 1)
        with FaultServer(script) as server:
            client = client_for(server, credentials=Credentials.password("user", "s3cret"), io_timeout=patience)
            with pytest.raises(SmtpError) as failed:
                client.send(email("someone@example.org", text_body=text))
            status = client.pool_status()
        assert (status.total, status.in_use) == (0, 0)
        # Never a second one; and none at all if the client had given up before a busy server came to accept it.
        assert len(server.conversations) <= 1
        for secret in ("s3cret", "someone", "example.org", "xxxx"):
            assert secret not in f"{failed.value} {failed.value!r}"
        return failed.value

    return fail


@everywhere
@both_modes
@pytest.mark.parametrize("end", [Close(), Reset()], ids=["closed", "reset"])
def test_a_lost_link_is_told_with_the_step_it_was_lost_at(failure_of, phase, capabilities, end):
    """NF-REL-03."""
    error = failure_of([*way_to(phase, *capabilities), end], phase)
    assert isinstance(error, SmtpConnectionError)
    # A reset may be quicker than the news that the connection was made.
    assert error.phase is phase or (phase, error.phase) == (Phase.GREETING, Phase.CONNECT)
    assert error.is_retryable


@everywhere
@both_modes
def test_silence_ends_at_the_deadline_and_is_told_with_its_step(failure_of, phase, capabilities):
    error = failure_of([*way_to(phase, *capabilities), Stall()], phase, SHORT)
    assert isinstance(error, SmtpTimeoutError)
    assert error.kind is (ErrorKind.WRITE_TIMEOUT if phase is Phase.BODY else ErrorKind.READ_TIMEOUT)
    assert error.phase is phase
    assert error.is_retryable


@pytest.mark.parametrize("phase", [p for p in PHASES if p is not Phase.BODY], ids=lambda p: p.name)
def test_a_reply_that_never_ends_is_not_waited_for(failure_of, phase):
    error = failure_of([*way_to(phase), Drip(b"250-" + b"x" * 400, 0.01)], phase, SHORT)
    assert isinstance(error, SmtpTimeoutError)
    assert error.phase is phase


@everywhere
@both_modes
def test_a_421_closes_the_link_wherever_it_comes(failure_of, phase, capabilities):
    error = failure_of(
        [*way_to(phase, *capabilities), Say("421 4.3.2 going down for someone@example.org"), Close()], phase
    )
    assert error.kind is ErrorKind.SERVER_SHUTDOWN
    assert (error.code, error.phase) == (421, phase)
    assert error.is_retryable


@pytest.mark.parametrize("phase", [p for p in PHASES if p is not Phase.BODY], ids=lambda p: p.name)
@pytest.mark.parametrize(
    "garbage", [b"\xff\xfe\0\0\r\n", b"hello\r\n", b"25\r\n", b"250-a\r\n550 b\r\n", b"250-" + b"a" * 9_000]
)
def test_garbage_breaks_the_conversation_and_not_the_client(failure_of, phase, garbage):
    error = failure_of([*way_to(phase), Raw(garbage), Stall()], phase)
    assert isinstance(error, ProtocolError)
    assert error.phase is phase


def test_a_link_that_timed_out_is_not_used_again_and_not_bidden_farewell(client_for, email):
    slow = [*greeted(), Expect("MAIL FROM:"), Stall()]
    with FaultServer(slow) as server:
        client = client_for(server, io_timeout=SHORT)
        for _ in range(2):
            with pytest.raises(SmtpTimeoutError):
                client.send(email())
    assert [conversation.verbs for conversation in server.conversations] == [["EHLO", "MAIL"]] * 2


def test_a_mail_that_broke_at_its_dot_is_in_doubt_and_not_sent_again(client_for, email):
    """NF-REL-04."""
    with FaultServer([*way_to(Phase.DOT), Close()]) as server:
        client = client_for(server, credentials=Credentials.password("u", "p"))
        with pytest.raises(SmtpConnectionError) as failed:
            client.send(email())
    assert failed.value.phase is Phase.DOT
    assert len(server.conversations) == 1


def test_a_refusal_in_the_middle_of_the_content_is_heard(failure_of):
    error = failure_of([*way_to(Phase.BODY), Say("552 5.3.4 too big"), Close()], Phase.BODY)
    assert (error.code, error.enhanced_code, error.kind) == (552, "5.3.4", ErrorKind.MESSAGE_TOO_LARGE)
