"""The kit itself: it keeps to its script, it tells who did not, and it never hangs."""

import socket
import struct
from contextlib import suppress

import pytest

from smtp_transport import SmtpClient, SmtpError
from smtp_transport.testing import (
    Close,
    Drip,
    Expect,
    ExpectContent,
    ExpectEnd,
    FaultPlan,
    FaultServer,
    Raw,
    ReadSome,
    Reset,
    Say,
    ScriptBroken,
    Stall,
    StartTls,
    behaved,
    greeted,
    mail_taken,
)


def said_to(server, *sent: bytes) -> bytes:
    """Send all this, say no more, and give all that comes back."""
    with socket.create_connection((server.host, server.port), timeout=10) as connected:
        for data in sent:
            connected.sendall(data)
        connected.shutdown(socket.SHUT_WR)
        received = b""
        while data := connected.recv(4096):
            received += data
        return received


def test_a_script_is_played_and_recorded():
    script = [
        Say("220 hi", "220 there"),
        Expect("ehlo"),
        Raw(b"250 ok\n"),
        ExpectContent(b"two"),
        Drip(b"end", 0),
        Close(),
    ]
    with FaultServer(script) as server:
        assert said_to(server, b"EHLO me\r\none\r\n..\r\ntwo\r\n.\r\n") == b"220 hi\r\n220 there\r\n250 ok\nend"
    (conversation,) = server.conversations
    assert conversation.commands == ["EHLO me"]
    assert conversation.contents == [b"one\r\n..\r\ntwo\r\n"]
    assert conversation.is_over


def test_empty_content_is_a_lone_dot():
    with FaultServer([ExpectContent(), Say("250 ok")]) as server:
        assert said_to(server, b".\r\n") == b"250 ok\r\n"
    assert server.conversations[0].contents == [b""]


@pytest.mark.parametrize(
    ("script", "sent", "told"),
    [
        ([Expect("EHLO")], b"HELO me\r\n", "step 1: expected 'EHLO', got 'HELO me'"),
        ([Say("220 hi"), Expect("EHLO")], b"", "step 2"),
        ([ExpectContent(b"secret")], b"other\r\n.\r\n", "step 1: expected content"),
        ([ExpectEnd()], b"QUIT\r\n", "hang up"),
        ([StartTls()], b"", "TLS context"),
    ],
)
def test_a_client_that_breaks_the_script_is_told_on(script, sent, told):
    with pytest.raises(ScriptBroken, match=told), FaultServer(script) as server:
        said_to(server, sent)
    with FaultServer(script, strict=False) as server:
        said_to(server, sent)
    assert len(server.problems) == 1


def test_an_error_of_the_test_is_not_covered_by_one_of_the_script():
    def fail_after_breaking_the_script():
        with FaultServer([Expect("EHLO")]) as server:
            said_to(server, b"HELO\r\n")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail_after_breaking_the_script()


def test_the_last_script_serves_all_further_connections():
    with FaultServer([Say("220 one")], [Say("220 more")]) as server:
        assert [said_to(server) for _ in range(3)] == [b"220 one\r\n", b"220 more\r\n", b"220 more\r\n"]
    assert [conversation.number for conversation in server.conversations] == [1, 2, 3]


def test_a_reset_is_a_reset():
    with FaultServer([ReadSome(3), Reset()]) as server, socket.create_connection((server.host, server.port)) as client:
        client.sendall(b"abc")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@pytest.mark.parametrize("script", [[Stall()], [Expect("never")], [Drip(b"x" * 1000, 1)], behaved()])
def test_leaving_the_block_ends_everything(script):
    with FaultServer(script) as server:
        client = socket.create_connection((server.host, server.port))
        server.wait_until(lambda: bool(server.conversations))
    with client:
        client.settimeout(10)
        with suppress(ConnectionError):
            while client.recv(100):
                pass


def test_a_client_may_leave_a_well_behaved_server_at_any_time():
    with FaultServer(behaved()) as server:
        said_to(server, b"EHLO me\r\n")
        with socket.create_connection((server.host, server.port)) as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_what_cannot_follow_is_refused_by_a_well_behaved_server():
    commands = b"RCPT TO:<a@b>\r\nMAIL FROM:<>\r\nDATA\r\nRCPT TO:<a@b>\r\nRSET\r\nRCPT TO:<a@b>\r\nNOOP\r\nQUIT\r\n"
    with FaultServer(behaved()) as server:
        codes = [line[:3] for line in said_to(server, commands).split(b"\r\n")[:-1]]
    assert codes == [b"220", b"503", b"250", b"503", b"250", b"250", b"503", b"250", b"221"]


def test_a_state_that_does_not_come_is_told():
    with FaultServer([Stall()]) as server, pytest.raises(TimeoutError):
        server.wait_until(lambda: False, seconds=0.01)


def test_a_server_without_a_script_is_a_mistake():
    with pytest.raises(ValueError, match="at least one script"):
        FaultServer()


def test_two_scripts_are_two_connections(client_for, email):
    with FaultServer([Say("421 busy")], [*greeted(), *mail_taken("you@example.org")]) as server:
        client: SmtpClient = client_for(server)
        with pytest.raises(SmtpError):
            client.send(email())
        assert client.send(email()).is_complete_success


class Stumble:
    def play(self, peer):
        raise ZeroDivisionError(peer.read_line())


def test_whatever_a_step_raises_is_told_and_ends_the_conversation():
    with FaultServer([Say("220 hi"), Stumble(), Say("250 never")], strict=False) as server:
        assert said_to(server, b"EHLO me\r\n") == b"220 hi\r\n"
        server.wait_until(lambda: server.conversations[0].is_over)
    (problem,) = server.problems
    assert "connection 1, step 2" in problem
    assert problem.endswith("ZeroDivisionError: EHLO me")


def test_text_in_a_script_is_said():
    with FaultServer(["220 hi", Expect("EHLO"), "250 ok"]) as server:
        assert said_to(server, b"EHLO me\r\n") == b"220 hi\r\n250 ok\r\n"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("220 hi", "a script is a list of steps"),
        ([Say("220 hi"), Close], "step 2 is no object with a method `play`"),
        ([Say("220 hi"), None], "step 2"),
    ],
)
def test_what_is_no_script_is_told_before_anybody_comes(script, told):
    with pytest.raises(TypeError, match=told):
        FaultServer(script)
    if script != "220 hi":
        with pytest.raises(TypeError, match=told):
            FaultPlan().at("RCPT", 1, *script)


def test_an_error_of_the_test_has_what_the_server_found_in_a_note():
    def fail_for_want_of_a_context():
        with FaultServer(["220 hi", StartTls()]) as server:
            assert said_to(server) == b"never"

    with pytest.raises(AssertionError) as failed:
        fail_for_want_of_a_context()
    assert failed.value.__notes__ == [
        "of the fault server: connection 1, step 2: StartTls needs a server with a TLS context"
    ]


def test_a_plan_shows_what_it_has():
    assert repr(FaultPlan().at("DOT", 2, Reset()).always("NOOP", "502 no")) == "<FaultPlan: DOT 2, NOOP always>"
