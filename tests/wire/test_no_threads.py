"""Where no thread can be started: while the interpreter ends, and where the machine grants no more of them."""

import subprocess
import sys
import threading

import pytest

from smtp_transport import PoolConfig
from smtp_transport.testing import FaultServer, behaved

AT_EXIT = """
import atexit, sys
from smtp_transport import Email, PoolConfig, SmtpClient, SmtpConfig

config = SmtpConfig(host="localhost", port=int(sys.argv[1]), tls="none", pool=PoolConfig(min_idle=1))
client = SmtpClient(config)

def last_words():
    emails = [Email(from_="me@example.com", to=f"{name}@example.org", text_body="Bye.") for name in "abc"]
    print(client.send(emails[0]).is_complete_success, client.send_batch(emails[1:], connections=2).succeeded)
    client.shutdown()

atexit.register(last_words)
"""


@pytest.fixture
def no_threads(monkeypatch):
    """Let nobody but a server start one."""
    start = threading.Thread.start

    def refuse(thread):
        if not thread.name.startswith("fault server"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.fixture
def server():
    with FaultServer(behaved("PIPELINING")) as running:
        yield running


def test_a_program_that_ends_can_still_send(server):
    program = [sys.executable, "-W", "error", "-c", AT_EXIT, str(server.port)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, done.stdout) == ("", "True 2\n")
    said = sorted(line for conversation in server.conversations for line in conversation.commands if "RCPT" in line)
    assert said == [f"RCPT TO:<{name}@example.org>" for name in "abc"]


def test_a_name_is_resolved_all_the_same(no_threads, server, client_for, email):
    assert client_for(server, host="localhost").send(email()).is_complete_success


def test_a_pool_that_nobody_tends_lends_all_the_same(no_threads, server, client_for, email):
    client = client_for(server, pool=PoolConfig(min_idle=2))
    assert client.send(email()).is_complete_success
    assert client.pool_status().idle == 1


def test_a_batch_goes_over_as_many_connections_as_there_are_threads(no_threads, server, client_for, email):
    emails = [email(f"{number}@example.org") for number in range(7)]
    batch = client_for(server).send_batch(emails, connections=3)
    assert [result.accepted for result in batch.results] == [(f"{number}@example.org",) for number in range(7)]
    assert [len(conversation.contents) for conversation in server.conversations] == [7]


def test_a_batch_is_sent_once_if_threads_run_out_in_between(monkeypatch, server, client_for, email):
    start, granted = threading.Thread.start, []

    def refuse(thread):
        if thread.name.startswith("send_batch"):
            granted.append(thread)
            if len(granted) > 1:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    emails = [email(f"{number}@example.org") for number in range(40)]
    batch = client_for(server).send_batch(emails, connections=4)
    assert [result.accepted for result in batch.results] == [(f"{number}@example.org",) for number in range(40)]
    assert sum(len(conversation.contents) for conversation in server.conversations) == 40
