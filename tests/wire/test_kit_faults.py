"""Each fault of the kit is what it says: seen by the library, by smtplib, and on the bare socket."""

import smtplib
import socket
import ssl
import threading

import pytest

from smtp_transport import ErrorKind, Phase, SmtpError, SmtpTimeoutError
from smtp_transport.testing import (
    Behave,
    Close,
    Drip,
    FaultPlan,
    FaultServer,
    HoldBack,
    LongLine,
    Pause,
    Raw,
    ReadSome,
    Reset,
    Say,
    Stall,
    StartTls,
    behaved,
)
from tests.wire.test_fault_server import said_to

MAIL = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
CONTENT = "Subject: Hi\r\n\r\nHello.\r\n"
GREETING = "220 fault.test ESMTP"


def by_smtplib(server, *recipients, timeout=10.0):
    """Send with the standard library; give the exception, None if all went well, or the refused recipients."""
    try:
        with smtplib.SMTP(server.host, server.port, local_hostname="t.test", timeout=timeout) as client:
            return client.sendmail("me@example.com", recipients or ("you@example.org",), CONTENT) or None
    except (smtplib.SMTPException, OSError) as error:
        return error


def by_us(client_for, email, server, **fields):
    (result,) = client_for(server, **fields).send_batch([email()]).results
    return result


@pytest.mark.parametrize("code", [421, 450, 550])
@pytest.mark.parametrize("occasion", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
def test_a_refusal_at_any_step_is_the_same_for_every_client(client_for, email, occasion, code):
    script = behaved("PIPELINING", faults=FaultPlan().always(occasion, f"{code} 4.0.0 not so"))
    with FaultServer(script) as server:
        ours = by_us(client_for, email, server)
        theirs = by_smtplib(server)
    assert isinstance(ours, SmtpError)
    assert ours.code == code
    codes = {code} | {refused[0] for refused in getattr(theirs, "recipients", {}).values()}
    assert getattr(theirs, "smtp_code", code) in codes | {503}  # smtplib goes on with HELO, and tells the last reply
    assert isinstance(theirs, smtplib.SMTPException)


@pytest.mark.parametrize("occasion", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "DOT"])
@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
def test_an_end_at_any_step_is_the_end_for_every_client(client_for, email, occasion, end):
    plan = FaultPlan().always(occasion, end)
    with FaultServer(behaved("PIPELINING", faults=plan), strict=False) as server:
        ours = by_us(client_for, email, server)
        theirs = by_smtplib(server)
    assert isinstance(ours, SmtpError)
    assert ours.kind is ErrorKind.CONNECTION_RESET
    assert isinstance(theirs, smtplib.SMTPServerDisconnected | ConnectionError)
    assert len(plan.played) >= 2


@pytest.mark.parametrize("steps", [(), (Stall(),), (Drip(b"250 ok\r\n", 0.2),)], ids=["no reply", "stall", "drip"])
def test_what_does_not_come_in_time_is_a_timeout(client_for, email, steps):
    with FaultServer(behaved("PIPELINING", faults=FaultPlan().always("DOT", *steps)), strict=False) as server:
        ours = by_us(client_for, email, server, io_timeout=0.5)
        theirs = by_smtplib(server, timeout=0.1)
    assert isinstance(ours, SmtpTimeoutError)
    assert ours.phase is Phase.DOT
    assert isinstance(theirs, smtplib.SMTPServerDisconnected | TimeoutError)


def test_a_server_that_forgets_what_was_pipelined_is_told_from_one_that_does_not(client_for, email):
    """Who waits for each reply meets nothing; who does not waits for replies that never come."""
    plan = FaultPlan().always("MAIL", ReadSome(0), "250 ok")
    with FaultServer(behaved("PIPELINING", faults=plan), strict=False) as server:
        ours = by_us(client_for, email, server, io_timeout=0.5)
        assert by_smtplib(server) is None
        patient = by_us(client_for, email, server, mode="lockstep")
    assert isinstance(ours, SmtpTimeoutError)
    assert ours.phase is Phase.RCPT
    assert patient.is_complete_success


def test_a_late_reply_is_a_reply(client_for, email):
    with FaultServer(behaved(faults=FaultPlan().always("DOT", Pause(0.05), "250 late"))) as server:
        assert by_us(client_for, email, server).response == "late"
        assert by_smtplib(server) is None


def test_a_line_too_long_and_garbage_are_violations(client_for, email):
    plan = (
        FaultPlan()
        .at("MAIL", 1, LongLine(100_000))
        .at("MAIL", 2, Raw(b"\xff\x00\r\n"))
        .always("MAIL", LongLine(20_000))
    )
    with FaultServer(behaved(faults=plan), strict=False) as server:
        assert by_us(client_for, email, server).kind is ErrorKind.INVALID_RESPONSE
        assert by_us(client_for, email, server).kind is ErrorKind.INVALID_RESPONSE
        assert isinstance(by_smtplib(server), smtplib.SMTPResponseException)


def test_a_long_line_has_the_length_that_was_told():
    with FaultServer([LongLine(1_000)]) as server:
        line = said_to(server)
    assert len(line) == 1_000
    assert line.startswith(b"250 x")
    assert line.endswith(b"x\r\n")


def test_a_reply_held_back_follows_the_next_one(client_for, email):
    plan = FaultPlan().at("MAIL", 1, HoldBack("250 of MAIL"))
    with FaultServer(behaved(faults=plan)) as server:
        assert said_to(server, MAIL).splitlines() == [GREETING.encode(), b"250 2.0.0 ok", b"250 of MAIL"]
    plan = FaultPlan().always("RCPT", HoldBack("250 of RCPT"))
    with FaultServer(behaved("PIPELINING", faults=plan), strict=False) as server:
        assert isinstance(by_us(client_for, email, server, io_timeout=1), SmtpError)


def test_a_reply_too_many_puts_a_client_out_of_step(client_for, email):
    plan = FaultPlan().always("DATA", Say("250 one"), Say("354 two"))
    with FaultServer(behaved("PIPELINING", faults=plan), strict=False) as server:
        assert by_us(client_for, email, server).kind is ErrorKind.UNEXPECTED_RESPONSE
        assert isinstance(by_smtplib(server), smtplib.SMTPResponseException)


def test_a_reset_in_the_middle_of_content_leaves_no_content(client_for, email):
    plan = FaultPlan().always("BODY", ReadSome(10), Reset())
    with FaultServer(behaved("PIPELINING", faults=plan), strict=False) as server:
        assert by_us(client_for, email, server).kind is ErrorKind.CONNECTION_RESET
        assert isinstance(by_smtplib(server), smtplib.SMTPServerDisconnected | ConnectionError)
    assert [conversation.contents for conversation in server.conversations] == [[], []]


def test_words_slipped_in_before_tls_are_noticed(client_for, issued, ca_file):
    plan = FaultPlan().always("STARTTLS", Say("220 go", "250 slipped in"), StartTls())
    with FaultServer(behaved("STARTTLS", faults=plan), tls=issued("127.0.0.1"), strict=False) as server:
        client = client_for(server, tls="starttls", tls_config={"ca_certs": ca_file})
        with pytest.raises(SmtpError) as noticed:
            client.test_connection()
    assert noticed.value.kind is ErrorKind.UNEXPECTED_RESPONSE
    assert server.conversations[0].tls_version is None


def test_capabilities_may_change_under_tls(client_for, issued, ca_file):
    script = [Behave(("STARTTLS", "SIZE 1"), after_tls=("SIZE 2",), greeting=GREETING)]
    with FaultServer(script, tls=issued("127.0.0.1")) as server:
        client = client_for(server, tls="starttls", tls_config={"ca_certs": ca_file})
        assert client.test_connection().capabilities.max_size == 2


def test_a_server_may_go_down_at_any_moment(client_for, email):
    with FaultServer(behaved("PIPELINING")) as server:
        client = client_for(server)
        client.send(email())
        with smtplib.SMTP(server.host, server.port) as other:
            other.ehlo()
            server.announce("421 4.3.2 going down")
            server.wait_until(lambda: all(conversation.is_over for conversation in server.conversations))
            with pytest.raises((smtplib.SMTPException, ConnectionError)):
                other.sendmail("me@example.com", ["you@example.org"], CONTENT)
        assert client.send(email()).is_complete_success
    assert len(server.conversations) == 3


def test_an_announcement_reaches_a_server_that_stalls_under_tls(issued, ca):
    context = ssl.create_default_context()
    ca.configure_trust(context)
    with FaultServer([StartTls(), Say("220 hi"), Stall()], tls=issued("127.0.0.1")) as server:
        plain = socket.create_connection((server.host, server.port), timeout=10)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as client:
            assert client.recv(100) == b"220 hi\r\n"
            server.announce("250 still here", leave=False)
            assert client.recv(100) == b"250 still here\r\n"


def test_bdat_is_taken_by_its_count():
    sent = MAIL + b"BDAT 3\r\nab\nBDAT 4 LAST\r\n.\r\nQBDAT 1\r\nxQUIT\r\n"
    with FaultServer(behaved("CHUNKING")) as server:
        codes = [line[:3] for line in said_to(server, sent).splitlines()]
    assert codes == [b"220", b"250", b"250", b"250", b"250", b"503", b"221"]
    assert server.conversations[0].contents == [b"ab\n.\r\nQ"]


def test_lmtp_answers_for_each_recipient():
    plan = FaultPlan().at("DOT", 2, "452 4.2.2 full")
    script = [Behave(("PIPELINING",), lmtp=True, faults=plan, greeting="220 LMTP")]
    with FaultServer(script) as server, smtplib.LMTP(server.host, server.port, timeout=10) as client:
        client.mail("me@example.com")
        client.rcpt("a@example.org")
        client.rcpt("b@example.org")
        assert client.data(CONTENT)[0] == 250
        assert client.getreply()[0] == 452


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_passwords_are_checked_where_they_are_told(client_for, mechanism):
    script = [Behave((f"AUTH {mechanism}",), logins={"me": "right"}, greeting=GREETING)]
    with FaultServer(script) as server:
        with smtplib.SMTP(server.host, server.port) as client:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("me", "wrong")
            assert client.login("me", "right")[0] == 235
        assert client_for(server, credentials={"username": "me", "secret": "right"}).test_connection()
        with pytest.raises(SmtpError) as refused:
            client_for(server, credentials={"username": "me", "secret": "wrong"}).test_connection()
    assert refused.value.kind is ErrorKind.CREDENTIALS_INVALID


def test_a_login_that_is_no_base64_is_a_refusal_and_no_accident():
    with FaultServer(behaved("AUTH PLAIN LOGIN")) as server:
        sent = b"AUTH PLAIN ===\r\nAUTH LOGIN\r\n\xff\r\n!\r\nAUTH NONSENSE\r\nQUIT\r\n"
        assert said_to(server, sent).splitlines()[-1] == b"221 bye"
    assert server.problems == []


class TestThePlan:
    def test_faults_are_counted_over_all_connections(self, client_for, email):
        plan = FaultPlan().at("RCPT", 2, "450 no").at("RCPT", 9, "450 no")
        with FaultServer(behaved(faults=plan)) as server:
            results = [by_us(client_for, email, server) for _ in range(3)]
        assert [isinstance(result, SmtpError) for result in results] == [False, True, False]
        assert plan.played == ["RCPT 2"]
        assert plan.outstanding == ["RCPT 9"]

    def test_a_number_goes_before_always(self):
        plan = FaultPlan().always("NOOP", "502 never").at("NOOP", 2, "250 but now")
        with FaultServer(behaved(faults=plan)) as server:
            codes = [line[:3] for line in said_to(server, b"NOOP\r\n" * 3).splitlines()]
        assert codes == [b"220", b"502", b"250", b"502"]

    def test_every_occasion_is_counted_once_by_many_threads(self):
        plan = FaultPlan().at("MAIL", 500, "450 no")
        threads = [threading.Thread(target=lambda: [plan.happen("MAIL") for _ in range(250)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert plan.played == ["MAIL 500"]

    @pytest.mark.parametrize(("occasion", "number"), [("LUNCH", 1), ("MAIL", 0)])
    def test_what_never_comes_cannot_be_planned(self, occasion, number):
        with pytest.raises(ValueError, match="occasion"):
            FaultPlan().at(occasion, number, "450 no")
