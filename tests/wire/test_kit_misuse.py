"""Who uses the kit in a wrong way is told so, at once and in words that help."""

import re
import smtplib
import ssl

import pytest

from smtp_transport import SmtpTimeoutError
from smtp_transport.testing import (
    Behave,
    Drip,
    ExpectationFailed,
    FaultPlan,
    FaultServer,
    HoldBack,
    MockSmtpClient,
    Raw,
    Recorder,
    Reset,
    Say,
    StartTls,
    behaved,
    replayed,
)


def hello(server):
    with smtplib.SMTP(server.host, server.port, timeout=5) as client:
        client.sendmail("a@example.com", ["b@example.org"], "x")


def noop(server):
    with smtplib.SMTP(server.host, server.port, timeout=5) as client:
        return client.noop()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FaultServer(Reset()), "a script is a list of steps: \\[Reset"),
        (lambda: FaultServer(behaved(), tls=ssl.create_default_context()), "tls: give a server's context"),
        (lambda: FaultServer(behaved(), tls=True), "tls: give a server's context"),
        (lambda: Behave("PIPELINING"), "capabilities: give a tuple"),
        (lambda: behaved(["PIPELINING"]), "capabilities: give a tuple"),
        (lambda: Behave(after_tls="AUTH PLAIN"), "after_tls: give a tuple"),
        (lambda: behaved(replies={"RCPT": 550}), "replies: give starts"),
        (lambda: behaved(faults="RCPT"), "faults: give a FaultPlan"),
        (lambda: Say(b"220 hello"), "a line is text"),
        (lambda: Say(["220 hello"]), "a line is text"),
        (lambda: Say("220 hello\r\n"), "without its line end"),
        (lambda: HoldBack("250 ok\n"), "without its line end"),
        (lambda: Raw("220 hello"), "give bytes"),
        (lambda: Drip("220 hello", 1.0), "give bytes"),
        (lambda: FaultPlan().at("RCPT", "450 4.2.1 busy"), "wants such a number"),
        (lambda: FaultPlan().at(1, "RCPT"), "wants such a number"),
        (lambda: FaultPlan().at("RCPT", 1).at("RCPT", 1, "450 busy"), "RCPT 1 is planned already"),
        (lambda: FaultPlan().always("RCPT").always("RCPT"), "RCPT always is planned already"),
        (lambda: Recorder(FaultServer(behaved()), "talk.txt"), "upstream: give the server's host and port"),
        (lambda: Recorder(("localhost", "25"), "talk.txt"), "upstream: give the server's host and port"),
        (lambda: MockSmtpClient().expect_send(to=["b@example.org"]), "to: give one address"),
        (lambda: MockSmtpClient().expect_send(subject=5), "give text, or a pattern"),
        (lambda: MockSmtpClient().expect_send(where=True), "where: give a function"),
        (lambda: MockSmtpClient().expect_send().times(-1), "0 or more"),
        (lambda: MockSmtpClient().expect_send().at_least("1"), "0 or more"),
        (lambda: MockSmtpClient().expect_send().raises(ValueError("x")), "give an SmtpError"),
        (lambda: MockSmtpClient().expect_send().raises(SmtpTimeoutError), "give an SmtpError"),
        (lambda: MockSmtpClient().expect_send().returns(refused={"b@example.org": 550}), "give code and text"),
        (lambda: MockSmtpClient().expect_send().returns(refused={"b@example.org": "550 no"}), "give code and text"),
        (lambda: MockSmtpClient().expect_send().returns(refused={"b@example.org": (250, "ok")}), "give code and text"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(make, told):
    with pytest.raises((TypeError, ValueError), match=told):
        make()


@pytest.mark.parametrize(
    "make",
    [lambda path: FaultServer(behaved()), lambda path: Recorder(("127.0.0.1", 1), path)],
    ids=["server", "recorder"],
)
def test_who_does_not_listen_has_no_port_and_none_listens_twice(make, tmp_path):
    """Of port 0 smtplib makes 25: the mail of a test would go to a real server."""
    one = make(tmp_path / "talk.txt")
    with pytest.raises(RuntimeError, match="inside its `with` block only"):
        smtplib.SMTP(one.host, one.port)
    with one:
        assert one.port
    with pytest.raises(RuntimeError, match="serves one `with` block"), one:
        pass


def test_a_behaved_server_greets_unless_something_was_said(issued, ca):
    with FaultServer([Behave()]) as server:
        hello(server)
    with FaultServer([Say("220 hello"), Behave()]) as server:
        assert noop(server)[0] == 250
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    with (
        FaultServer([StartTls(), Behave()], tls=issued("localhost")) as server,
        smtplib.SMTP_SSL("localhost", server.port, timeout=5, context=trusting) as client,
    ):
        assert client.noop()[0] == 250


def test_why_a_recording_failed_is_a_note_of_the_error_that_came_of_it(tmp_path):
    recorder = Recorder(("127.0.0.1", 1), tmp_path / "talk.txt")
    with pytest.raises(smtplib.SMTPServerDisconnected) as caught, recorder:
        hello(recorder)
    assert "cannot reach 127.0.0.1:1" in caught.value.__notes__[0]


def test_a_path_may_be_text(tmp_path):
    path = str(tmp_path / "talk.txt")
    with FaultServer(behaved()) as real, Recorder((real.host, real.port), path) as recorder:
        hello(recorder)
    with FaultServer(*replayed(path)) as server:
        hello(server)


@pytest.mark.parametrize("said", ["250 a\u2028b", "250 a\x85b", "250 a\x0cb\x1cc", "250 a\rb"])
def test_whatever_a_reply_holds_is_played_as_it_was_recorded(tmp_path, said):
    path = tmp_path / "talk.txt"
    script = behaved(replies={"NOOP": said})
    with FaultServer(script) as real, Recorder((real.host, real.port), path, mask=False) as recorder:
        told = noop(recorder)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as an editor may leave it
    with FaultServer(*replayed(path)) as server:
        assert noop(server) == told == (250, said[4:].encode())


def test_a_refusal_that_meets_nobody_is_told_and_case_is_none_of_its_matters(email):
    mock, mail = MockSmtpClient(), email()
    refused = {mail.recipients[0].upper(): (550, "no"), "nobody@example.org": (550, "no")}
    mock.expect_send().returns(refused=refused)
    (result,) = mock.send_batch([mail]).results
    assert result.code == 550
    with pytest.raises(ExpectationFailed, match=re.escape("to be refused were nobody@example.org")):
        mock.verify()
