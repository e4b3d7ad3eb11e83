"""A client that was made, and used, before a fork: parent and child each have their own connections after it."""

import subprocess
import sys

import pytest

from smtp_transport.testing import FaultServer, StartTls, behaved

PROGRAM = """
import os, sys
from smtp_transport import Email, PoolConfig, SmtpClient, SmtpConfig, TlsConfig

port, mode, authority = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = SmtpClient(SmtpConfig(host="127.0.0.1", port=port, tls=mode, pool=PoolConfig(health_check_after=0),
                               tls_config=TlsConfig(ca_certs=authority, server_name="localhost")))

def send(to):
    email = Email(from_="me@example.com", to=to, subject="s", text_body="t")
    assert client.send(email).is_complete_success
    assert client.pool_status().total == 1

send("before@example.org")
child = os.fork()
if child == 0:
    assert client.pool_status().total == 0
    send("child@example.org")
    send("child@example.org")
    client.shutdown()
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
send("parent@example.org")
client.shutdown()
"""


@pytest.mark.parametrize("mode", ["none", "implicit"])
def test_a_child_opens_its_own_connections_and_leaves_the_parents_alone(issued, ca_file, mode):
    opening = (StartTls(),) if mode == "implicit" else ()
    with FaultServer([*opening, *behaved()], tls=issued()) as server:
        program = [sys.executable, "-W", "error", "-c", PROGRAM, str(server.port), mode, str(ca_file)]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        server.wait_until(lambda: all(conversation.is_over for conversation in server.conversations))
    said = [[line for line in conversation.commands if "RCPT" in line] for conversation in server.conversations]
    assert said == [
        ["RCPT TO:<before@example.org>", "RCPT TO:<parent@example.org>"],
        ["RCPT TO:<child@example.org>"] * 2,
    ]
    assert [conversation.verbs[-1] for conversation in server.conversations] == ["QUIT", "QUIT"]
