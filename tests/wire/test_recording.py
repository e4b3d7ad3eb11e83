"""A recorded conversation: all that was said, nothing that is secret, and the same again when it is played."""

import smtplib
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import trustme

from smtp_transport import SmtpError, TlsConfig
from smtp_transport.testing import (
    Behave,
    Expect,
    FaultServer,
    Recorder,
    RecordingFailed,
    Say,
    Stall,
    StartTls,
    behaved,
    greeted,
    relay,
    replayed,
)
from smtp_transport.testing.relay import Scribe

CONTENT = "Subject: secret plans\r\n\r\nHello.\r\n..dots\r\n"
LOGIN = {"username": "me@example.com", "secret": "right-password"}


@pytest.fixture
def recording(tmp_path):
    return tmp_path / "talk.txt"


@pytest.fixture
def trusting(ca):
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def send(server, *recipients):
    with smtplib.SMTP(server.host, server.port, local_hostname="t.test", timeout=10) as client:
        return client.sendmail("me@example.com", recipients or ("you@example.org",), CONTENT)


def test_a_conversation_is_written_down_line_by_line(recording):
    with FaultServer(behaved("SIZE 1000")) as real, Recorder((real.host, real.port), recording) as recorder:
        send(recorder)
    lines = [
        line if line[0] != "C" else f"C: {line[3:].upper()}" for line in recording.read_text().splitlines() if line
    ]
    # After 221 both hang up, and either may be seen first.
    assert lines.pop() in {"X: server", "X: client"}
    assert lines == [
        "S: 220 fault.test ESMTP",
        "C: EHLO ***",
        "S: 250-fault.test",
        "S: 250 SIZE 1000",
        "C: MAIL FROM:<***> SIZE=***",
        "S: 250 2.0.0 ok",
        "C: RCPT TO:<***>",
        "S: 250 2.0.0 ok",
        "C: DATA",
        "S: 354 go on",
        f"D: {len(real.conversations[0].contents[0])} octets",
        "S: 250 2.0.0 ok",
        "C: QUIT",
        "S: 221 bye",
    ]


def test_what_was_recorded_can_be_played_and_is_strict(recording):
    with FaultServer(behaved("SIZE 1000")) as real, Recorder((real.host, real.port), recording) as recorder:
        send(recorder)
        send(recorder, "a@example.org", "b@example.org")
    with FaultServer(*replayed(recording)) as server:
        send(server)
        send(server, "c@example.org", "d@example.org")
    with FaultServer(*replayed(recording), strict=False) as server, pytest.raises(smtplib.SMTPException):
        send(server, "a@example.org", "b@example.org")
    assert len(server.problems) == 1


def test_nothing_secret_is_written(recording, client_for, email, trusting, issued, ca_file):
    """NF-SEC-01."""
    script = [Behave(("STARTTLS", "AUTH PLAIN LOGIN", "SIZE 1000", "PIPELINING"), greeting="220 hi")]
    with (
        FaultServer(script, tls=issued("127.0.0.1")) as real,
        Recorder((real.host, real.port), recording, issued("127.0.0.1"), trusting) as recorder,
    ):
        for method in ("PLAIN", "LOGIN"):
            fields = {
                "tls": "starttls",
                "tls_config": {"ca_certs": ca_file},
                "credentials": LOGIN,
                "auth_method": method,
            }
            client = client_for(recorder, **fields)
            assert client.send(email(subject="secret plans")).is_complete_success
            client.shutdown()
    text = recording.read_text()
    assert text.count("T: TLSv1.") == 2
    assert "C: AUTH PLAIN ***" in text.splitlines()
    for secret in ("right-password", "cmlnaHQ", "example", "plans", "bWVA"):
        assert secret not in text, secret
    with FaultServer(*replayed(recording), tls=issued("127.0.0.1")) as server:
        for method in ("PLAIN", "LOGIN"):
            fields = {
                "tls": "starttls",
                "tls_config": {"ca_certs": ca_file},
                "credentials": LOGIN,
                "auth_method": method,
            }
            client = client_for(server, **fields)
            assert client.send(email()).is_complete_success
            client.shutdown()


def test_all_is_written_where_it_is_asked_for(recording):
    with FaultServer(behaved()) as real, Recorder((real.host, real.port), recording, mask=False) as recorder:
        send(recorder)
    assert "<me@example.com>" in recording.read_text()
    assert "secret plans" not in recording.read_text()


def test_encrypted_words_are_passed_on_unread_without_contexts(recording, client_for, email, issued, ca_file):
    real = FaultServer(behaved("STARTTLS"), tls=issued("127.0.0.1"))
    with real, Recorder((real.host, real.port), recording) as recorder:
        client = client_for(recorder, tls="starttls", tls_config={"ca_certs": ca_file})
        assert client.send(email()).is_complete_success
        client.shutdown()
    assert "# what follows is encrypted, and was passed on unread" in recording.read_text().splitlines()
    assert "MAIL" not in recording.read_text()


def test_chunks_are_recorded_and_played_by_their_counts(recording):
    said = (
        b"EHLO me\r\n",
        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 4\r\n.\r\n.BDAT 0 LAST\r\nQUIT\r\n",
    )

    def talk(server):
        with socket.create_connection((server.host, server.port), timeout=10) as connected:
            connected.sendall(b"".join(said))
            received = b""
            while data := connected.recv(4096):
                received += data
            return received

    with FaultServer(behaved("CHUNKING")) as real, Recorder((real.host, real.port), recording) as recorder:
        first = talk(recorder)
    assert "C: BDAT *** LAST" in recording.read_text().splitlines()
    with FaultServer(*replayed(recording)) as server:
        assert talk(server) == first
    assert server.conversations[0].contents == [b".\r\n.", b""]


def test_who_hung_up_is_written(recording):
    real = FaultServer([Say("220 hi"), Expect("never")], strict=False)
    with real, Recorder((real.host, real.port), recording) as recorder:
        with socket.create_connection((recorder.host, recorder.port), timeout=10) as client:
            assert client.recv(100) == b"220 hi\r\n"
        real.wait_until(lambda: bool(real.conversations) and real.conversations[0].is_over)
    assert recording.read_text().split("\n") == ["S: 220 hi", "X: client", "", ""]
    with FaultServer(*replayed(recording)) as server, socket.create_connection((server.host, server.port)) as client:
        assert client.recv(100) == b"220 hi\r\n"


def test_leaving_the_block_ends_everything(recording):
    with FaultServer([Say("220 hi"), Stall()]) as real, Recorder((real.host, real.port), recording) as recorder:
        client = socket.create_connection((recorder.host, recorder.port), timeout=10)
        assert client.recv(100) == b"220 hi\r\n"
    with client:
        assert client.recv(100) == b""


@pytest.mark.parametrize("silent", ["server", "client"])
def test_leaving_the_block_ends_a_handshake_that_does_not_go_on(recording, trusting, issued, silent):
    tls = issued("localhost")
    script = [*greeted("STARTTLS"), Expect("STARTTLS"), Say("220 go"), Stall() if silent == "server" else StartTls()]
    with (
        FaultServer(script, tls=tls, strict=False) as real,
        Recorder(("localhost", real.port), recording, tls=tls, upstream_tls=trusting) as recorder,
    ):
        client = smtplib.SMTP(recorder.host, recorder.port, local_hostname="t.test", timeout=10)
        client.ehlo()
        assert client.docmd("STARTTLS") == (220, b"go")
        if silent == "client":
            real.wait_until(lambda: real.conversations[0].tls_version is not None)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("recorder")]
    client.close()


def test_who_stops_waits_for_no_server_that_takes_no_connection(monkeypatch):
    monkeypatch.setattr(relay, "_PATIENCE", 1e6)
    stopping = threading.Event()
    with ExitStack() as held:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        reaching = held.enter_context(ThreadPoolExecutor()).submit(relay.reach, full.getsockname(), stopping)
        stopping.set()
        with pytest.raises(OSError, match="no answer"):
            reaching.result(timeout=30)


def test_a_server_that_is_not_there_is_an_end_for_the_client_and_told(recording):
    with FaultServer(behaved()) as gone:
        pass
    with (
        pytest.raises(RecordingFailed, match=f"cannot reach {gone.host}:{gone.port}"),
        Recorder((gone.host, gone.port), recording) as recorder,
        socket.create_connection((recorder.host, recorder.port), timeout=10) as client,
    ):
        assert client.recv(100) == b""
    assert recording.read_text() == ""


def test_tls_from_the_first_byte_is_looked_into(recording, client_for, email, trusting, issued, ca_file):
    tls = issued()
    implicit = {"host": "localhost", "tls": "implicit", "tls_config": TlsConfig(ca_certs=ca_file)}
    with (
        FaultServer([StartTls(), *behaved("PIPELINING")], tls=tls) as real,
        Recorder(("localhost", real.port), recording, tls, trusting) as recorder,
        client_for(recorder, **implicit) as client,
    ):
        client.send(email())
    lines = recording.read_text().splitlines()
    assert lines[0].startswith("T: TLSv1.")
    assert lines[1:3] == ["S: 220 fault.test ESMTP", "C: EHLO ***"]
    with FaultServer(*replayed(recording), tls=tls) as server, client_for(server, **implicit) as client:
        assert client.send(email()).is_complete_success


def test_tls_from_the_first_byte_is_passed_on_unread_without_contexts(recording, client_for, email, issued, ca_file):
    implicit = {"host": "localhost", "tls": "implicit", "tls_config": TlsConfig(ca_certs=ca_file)}
    with (
        FaultServer([StartTls(), *behaved("PIPELINING")], tls=issued()) as real,
        Recorder((real.host, real.port), recording) as recorder,
        client_for(recorder, **implicit) as client,
    ):
        client.send(email())
    first, last, *_ = recording.read_text().splitlines()
    assert first == "# what follows is encrypted, and was passed on unread"
    assert last.startswith("X: ")


@pytest.mark.parametrize(
    "case", [("127.0.0.1", "server", "IP address mismatch"), ("localhost", "client", "TLSV1_ALERT_UNKNOWN_CA")]
)
def test_tls_that_cannot_be_had_is_told(recording, client_for, trusting, issued, ca_file, case):
    name, whom, cause = case
    # In the second case it is the client that does not know the recorder's authority.
    strangers = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(strangers)
    with FaultServer(behaved("STARTTLS"), tls=issued(), strict=False) as real:
        told = pytest.raises(RecordingFailed, match=f"no TLS with the {whom} .*{cause}")
        with told, Recorder((name, real.port), recording, strangers, trusting) as recorder:
            client = client_for(recorder, host="localhost", tls="starttls", tls_config=TlsConfig(ca_certs=ca_file))
            with client, pytest.raises(SmtpError):
                client.test_connection()
    assert f"# no TLS with the {whom}" in recording.read_text()


def test_a_line_that_is_of_no_recording_is_told(recording):
    recording.write_text("S: 220 hi\nwhat?\n")
    with pytest.raises(ValueError, match="line 2"):
        replayed(recording)


def test_half_a_view_into_tls_is_a_mistake(recording, trusting):
    with pytest.raises(ValueError, match="both"):
        Recorder(("localhost", 25), recording, tls=trusting)


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
def test_any_cut_of_the_bytes_gives_the_same_lines(cut):
    scribe = Scribe(mask=True)

    def fed(feed, data):
        for start in range(0, len(data), cut):
            feed(data[start : start + cut])

    fed(scribe.client, b"MAIL FROM:<a@b>\r\nDATA\r\n")
    fed(scribe.server, b"250 ok\r\n354 go\r\n")
    fed(scribe.client, b".dot\r\n.\r\nAUTH PLAIN c2VjcmV0\r\n")
    fed(scribe.server, b"250 ok\r\n334 \r\n334 VXNlcm5hbWU6\r\n334 VXNlcg==\r\n")
    fed(scribe.client, b"c2VjcmV0\r\n")
    assert scribe.lines == [
        "C: MAIL FROM:<***>",
        "C: DATA",
        "S: 250 ok",
        "S: 354 go",
        "D: 6 octets",
        "C: AUTH PLAIN ***",
        "S: 250 ok",
        "S: 334 ",
        "S: 334 VXNlcm5hbWU6",
        "S: 334 ***",
        "C: ***",
    ]
