"""Servers that say what nobody asked for, over real sockets."""

import select
import threading
import time
from dataclasses import dataclass

import pytest

from smtp_transport import Connection, Envelope, ErrorKind, Phase, SmtpClient, Transaction
from smtp_transport.envelope import Content
from smtp_transport.stream import open_stream
from smtp_transport.testing import Behave, Expect, FaultServer, Raw, ReadSome, Say, Stall, StartTls, greeted, mail_taken

LONG = 10.0
PROTECTED = pytest.mark.parametrize("protected", [False, True], ids=["plain", "tls"])


@pytest.fixture
def client_that_sees(config_for):
    """Give a client, and a way to wait until the server has said something that nobody has read."""
    streams, clients = [], []

    def opened(config):
        streams.append(open_stream(config, time.monotonic() + LONG))
        return Connection.over(streams[-1], config)

    def wait():
        assert select.select([streams[-1]._socket], [], [], LONG)[0]

    def client(server, **fields):
        clients.append(SmtpClient(config_for(server, **fields), opened))
        return clients[-1], wait

    yield client
    for each in clients:
        each.shutdown()


@pytest.fixture
def road(issued, ca_file):
    """Give what a server and a configuration need to speak in clear text, or with implicit TLS."""

    def make(protected):
        if not protected:
            return {}, {}, ()
        return {"tls": issued("127.0.0.1")}, {"tls": "implicit", "tls_config": {"ca_certs": [ca_file]}}, (StartTls(),)

    return make


@dataclass(frozen=True)
class SayOnceAsked:
    """Wait for a sign by another road than the connection, then say a line."""

    asked: threading.Event
    line: str

    def play(self, peer):
        assert self.asked.wait(LONG)
        peer.send(f"{self.line}\r\n".encode())


@PROTECTED
@pytest.mark.parametrize("stray", ["250 2.0.0 stray", "554 5.6.0 filtered"])
def test_an_unasked_reply_between_two_mails_costs_a_fresh_link_and_not_the_mail(
    client_that_sees, email, road, protected, stray
):
    """F-CONN-05, NF-REL-04."""
    server_side, client_side, shake = road(protected)
    asked = threading.Event()
    first = [*shake, *greeted(), *mail_taken("a@example.org"), SayOnceAsked(asked, stray), Stall()]
    second = [*shake, *greeted(), *mail_taken("b@example.org")]
    with FaultServer(first, second, **server_side) as server:
        client, wait_for_words = client_that_sees(server, **client_side)
        assert client.send(email("a@example.org")).is_complete_success
        asked.set()
        wait_for_words()
        assert client.send(email("b@example.org")).is_complete_success
    assert server.conversations[0].verbs.count("MAIL") == 1


@PROTECTED
def test_a_link_that_speaks_out_of_turn_each_time_defers_the_mail(client_that_sees, email, road, protected):
    server_side, client_side, shake = road(protected)
    wrong = [*shake, *greeted(), Expect("MAIL"), Say("250 ok"), Expect("RCPT"), Say("250 ok"), Expect("DATA")]
    with FaultServer([*wrong, Say("250 what"), Stall()], **server_side) as server:
        client, _ = client_that_sees(server, **client_side)
        (result,) = client.send_batch([email()]).results
    assert result.kind is ErrorKind.UNEXPECTED_RESPONSE
    assert len(server.conversations) == 1


@PROTECTED
@pytest.mark.parametrize("reply", ["552 5.3.4 too big", "421 4.3.2 bye"])
def test_a_refusal_of_a_server_that_reads_no_further_is_heard_at_once(client_that_sees, road, protected, reply):
    """F-SEND-07."""
    server_side, client_side, shake = road(protected)
    taken = [Expect("MAIL"), Say("250 ok"), Expect("RCPT"), Say("250 ok"), Expect("DATA"), Say("354 go")]
    script = [*shake, *greeted(), *taken, ReadSome(1), Raw(f"{reply}\r\n".encode()), Stall()]
    content = Content(b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 4_000_000)
    mail = Transaction(Envelope("a@example.com", ("b@example.org",)), lambda _: content)
    with FaultServer(script, **server_side) as server:
        client, _ = client_that_sees(server, io_timeout=LONG * 60, **client_side)
        ((_, receipt),) = client.deliver([mail])
    (recipient,) = receipt.recipients
    assert (recipient.phase, recipient.reply.code) == (Phase.BODY, int(reply[:3]))


@PROTECTED
def test_the_session_tickets_of_a_server_are_nothing_it_says(client_that_sees, email, road, protected):
    server_side, client_side, shake = road(protected)
    with FaultServer([*shake, Say("220 hi"), Behave()], **server_side) as server:
        client, _ = client_that_sees(server, **client_side)
        for _ in range(3):
            assert client.send(email()).is_complete_success
    assert len(server.conversations) == 1
