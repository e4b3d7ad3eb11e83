"""Other ways to a server than a TCP connection of our own: Unix sockets, proxies, dialers, pairs."""

import base64
import contextlib
import pickle
import select
import signal
import socket
import threading
import time
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from smtp_transport import (
    Connection,
    ErrorKind,
    Phase,
    SmtpConfig,
    SmtpConnectionError,
    SmtpError,
    SmtpTimeoutError,
    TlsConfig,
)
from smtp_transport.proxy_config import Proxy, ProxyKind
from smtp_transport.stream import connect, stream_pair
from smtp_transport.stream.proxy import ask_proxy
from smtp_transport.testing import FaultServer, StartTls, behaved


def soon(seconds=10.0):
    return time.monotonic() + seconds


def joined(near, far):
    """Carry bytes between two sockets until one ends."""
    while True:
        for ready in select.select([near, far], [], [])[0]:
            data = ready.recv(65_536)
            if not data:
                return
            (far if ready is near else near).sendall(data)


class Relaying:
    """Listens, lets `meet` speak first, and joins what it answers for with a server behind it."""

    def __init__(self, listener, meet):
        self._listener, self._meet = listener, meet
        self.heard = b""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                with near, contextlib.suppress(OSError, IndexError):  # the client may hang up anywhere
                    behind = self._meet(self, near)
                    if behind is not None:
                        with socket.create_connection(behind) as far:
                            joined(near, far)

    def read(self, near, octets):
        data = b""
        while len(data) < octets and (more := near.recv(octets - len(data))):
            data += more
        self.heard += data
        return data


@pytest.fixture
def relaying():
    """Start a relay on TCP, or on a Unix socket if a path is told."""
    with contextlib.ExitStack() as running:

        def start(meet, path=None):
            family, address = (socket.AF_INET, ("127.0.0.1", 0)) if path is None else (socket.AF_UNIX, str(path))
            listener = running.enter_context(socket.create_server(address, family=family))
            return Relaying(listener, meet), listener.getsockname()

        yield start


def http(answer=b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n", behind=None):
    def meet(relay, near):
        while not relay.heard.endswith(b"\r\n\r\n"):
            relay.read(near, 1)
        near.sendall(answer)
        return behind

    return meet


def socks(method=0, status=0, code=0, behind=None):
    def meet(relay, near):
        relay.read(near, relay.read(near, 2)[1])
        near.sendall(bytes([5, method]))
        if method == 2:
            relay.read(near, relay.read(near, 2)[1])
            relay.read(near, relay.read(near, 1)[0])
            near.sendall(bytes([1, status]))
        kind = relay.read(near, 4)[3]
        relay.read(near, {1: 4, 4: 16}.get(kind) or relay.read(near, 1)[0])
        relay.read(near, 2)
        near.sendall(bytes([5, code, 0, 3, 4]) + b"here" + b"\x00\x19")
        return behind

    return meet


def test_a_unix_socket_leads_to_a_server(relaying, email, client_for, tmp_path):
    path = tmp_path / "smtp"
    with FaultServer(behaved()) as server:
        relaying(lambda *_: (server.host, server.port), path)
        for fields in ({"unix_socket": path}, {"host": f"unix:{path}"}):
            config = SmtpConfig(**fields)
            assert config.is_loopback
            with contextlib.closing(Connection.open(config)) as connection:
                assert connection.usable
                assert connection.info().tls_active is False
        assert config.place == f"unix:{path}"


def test_a_unix_socket_may_be_encrypted_too(relaying, issued, ca_file, tmp_path):
    path = tmp_path / "smtp"
    with FaultServer(behaved("STARTTLS"), tls=issued("mail.example.com")) as server:
        relaying(lambda *_: (server.host, server.port), path)
        tls = {"tls": "starttls", "tls_config": TlsConfig(ca_certs=ca_file)}
        with contextlib.closing(Connection.open(SmtpConfig(unix_socket=path, host="mail.example.com", **tls))) as link:
            assert link.info().tls_active


def test_a_unix_socket_without_a_server_is_told_by_its_path(tmp_path):
    for path in (tmp_path / "nobody", tmp_path):
        with pytest.raises(SmtpConnectionError) as failed:
            Connection.open(SmtpConfig(unix_socket=path))
        assert str(path) in failed.value.message
        assert failed.value.phase is Phase.CONNECT


def test_a_unix_socket_whose_queue_is_full_is_waited_for_no_longer_than_allowed(tmp_path):
    with contextlib.ExitStack() as open_:
        listener = open_.enter_context(socket.create_server(str(tmp_path / "full"), family=socket.AF_UNIX, backlog=0))
        filler = open_.enter_context(socket.socket(socket.AF_UNIX))
        filler.connect(listener.getsockname())
        with pytest.raises(SmtpTimeoutError) as failed:
            Connection.open(SmtpConfig(unix_socket=tmp_path / "full", connect_timeout=0.1))
    assert failed.value.kind is ErrorKind.CONNECT_TIMEOUT


@pytest.mark.parametrize("mode", ["none", "implicit"])
def test_an_http_proxy_connects_and_the_certificate_is_the_servers(relaying, email, client_for, issued, ca_file, mode):
    opening = (StartTls(),) if mode == "implicit" else ()
    with FaultServer([*opening, *behaved()], tls=issued("mail.example.com")) as server:
        relay, (host, port) = relaying(http(behind=(server.host, server.port)))
        fields = {"tls": mode, "allow_plaintext": True, "tls_config": TlsConfig(ca_certs=ca_file)}
        proxied = {"host": "mail.example.com", "port": 2525, "proxy": f"http://{host}:{port}"}
        assert client_for(server, **fields, **proxied).send(email()).is_complete_success
    assert relay.heard.startswith(b"CONNECT mail.example.com:2525 HTTP/1.1\r\nHost: mail.example.com:2525\r\n")
    assert b"Authorization" not in relay.heard


def test_an_http_proxy_is_told_user_and_password(relaying):
    relay, (host, port) = relaying(http())
    config = SmtpConfig(host="192.0.2.1", proxy=f"http://me:s%40cret@{host}:{port}")
    connect(config, soon()).close()
    assert base64.b64encode(b"me:s@cret") in relay.heard


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "HTTP 403"),
        (b"220 mail.example.com ESMTP\r\n\r\n", "is it an HTTP proxy"),
        (b"x" * 20_000, "is it an HTTP proxy"),
        (b"HTTP/1.1 200", "hung up"),
    ],
)
def test_what_an_http_proxy_refuses_is_told(relaying, answer, told):
    _, (host, port) = relaying(http(answer))
    with pytest.raises(SmtpConnectionError) as failed:
        connect(SmtpConfig(host="mail.example.com", proxy=f"http://me:secret@{host}:{port}"), soon())
    assert told in failed.value.message
    assert f"proxy {host}:{port}" in failed.value.message
    assert "secret" not in repr(failed.value)
    assert failed.value.is_retryable


@pytest.mark.parametrize("user", ["", "me:secret@"])
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mail.example.com", b"\x03\x10mail.example.com"),
        ("192.0.2.7", b"\x01\xc0\x00\x02\x07"),
        ("2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
    ],
)
def test_a_socks_proxy_connects_to_names_and_addresses(relaying, email, client_for, user, target, said):
    with FaultServer(behaved()) as server:
        relay, (host, port) = relaying(socks(method=2 if user else 0, behind=(server.host, server.port)))
        proxied = {"host": target, "port": 25, "proxy": f"socks5h://{user}{host}:{port}", "allow_plaintext": True}
        assert client_for(server, **proxied).send(email()).is_complete_success
    assert relay.heard.endswith(b"\x05\x01\x00" + said + b"\x00\x19")
    assert (b"\x01\x02me\x06secret" in relay.heard) is bool(user)


@pytest.mark.parametrize(
    ("behaviour", "user", "kind", "told"),
    [
        ({"code": 5}, "", ErrorKind.CONNECTION_REFUSED, "connection refused"),
        ({"code": 4}, "", ErrorKind.NETWORK_UNREACHABLE, "host unreachable"),
        ({"code": 99}, "", ErrorKind.CONNECTION, "reply 99"),
        ({"method": 255}, "", ErrorKind.CONNECTION, "does it want a user"),
        ({"method": 2}, "", ErrorKind.CONNECTION, "does it want a user"),
        ({"method": 2, "status": 1}, "me:secret@", ErrorKind.CONNECTION, "refused the user"),
    ],
)
def test_what_a_socks_proxy_refuses_is_told(relaying, behaviour, user, kind, told):
    _, (host, port) = relaying(socks(**behaviour))
    with pytest.raises(SmtpConnectionError) as failed:
        connect(SmtpConfig(host="mail.example.com", proxy=f"socks5://{user}{host}:{port}"), soon())
    assert (failed.value.kind, failed.value.phase) == (kind, Phase.CONNECT)
    assert told in failed.value.message
    assert "secret" not in repr(failed.value)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_says_nothing_is_waited_for_no_longer_than_allowed(scheme):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        with pytest.raises(SmtpTimeoutError) as failed:
            connect(SmtpConfig(host="mail.example.com", proxy=f"{scheme}://{host}:{port}"), soon(0.1))
    assert failed.value.kind is ErrorKind.CONNECT_TIMEOUT
    assert "proxy" in failed.value.message


@given(st.binary(max_size=200), st.sampled_from(ProxyKind))
def test_whatever_a_proxy_says_ends_in_an_error_or_a_connection(said, kind):
    near, far = stream_pair()
    far.write(said, soon())
    far._socket.shutdown(socket.SHUT_WR)
    with contextlib.suppress(SmtpError):
        ask_proxy(near, Proxy(kind=kind, host="p.test", port=1, username="u"), ("h.test", 25), soon())
    near.close()
    far.close()


def test_not_a_byte_of_the_greeting_is_taken_by_the_proxys_answer():
    for kind, answer in ((ProxyKind.HTTP, b"HTTP/1.0 200 OK\r\n\r\n"), (ProxyKind.SOCKS5, b"\x05\0\x05\0\0\x01123456")):
        near, far = stream_pair()
        far.write(answer + b"220 hi\r\n", soon())
        ask_proxy(near, Proxy(kind=kind, host="p.test", port=1), ("h.test", 25), soon())
        assert near.read(soon()) == b"220 hi\r\n"
        near.close()
        far.close()


def test_a_proxy_is_read_from_its_url_and_keeps_its_password_to_itself():
    config = SmtpConfig(host="mail.example.com", proxy="socks5://us%3Aer:p%40ss@[2001:db8::1]")
    assert config.proxy == Proxy(kind="socks5", host="2001:db8::1", port=1080, username="us:er", password="p@ss")
    assert "p@ss" not in repr(config)
    assert "us:er" not in repr(config)
    with pytest.raises(TypeError):
        pickle.dumps(config)


@pytest.mark.parametrize(
    "url",
    [
        "https://secret@p.test",
        "http://",
        "p.test:3128",
        "http://me:secret@p.test:port",
        "http://p.test/secret",
        "socks5://a%0d%0a:secret@p.test",
        "http://a%3ab:secret@p.test",
        "http://secret:" + "x" * 300 + "@p.test",
    ],
)
def test_what_is_no_proxys_url_is_refused_without_being_repeated(url):
    with pytest.raises(ValidationError) as refused:
        SmtpConfig(host="mail.example.com", proxy=url)
    assert "secret" not in str(refused.value)


def test_mail_through_a_proxy_is_not_local_though_its_host_looks_so():
    with pytest.raises(ValidationError, match="clear text"):
        SmtpConfig(host="localhost", tls="none", proxy="http://127.0.0.1:3128")
    with pytest.raises(ValidationError, match="unix_socket"):
        SmtpConfig(unix_socket="/run/smtp", proxy="http://127.0.0.1:3128")
    with pytest.raises(ValidationError, match="source_address: a unix_socket"):
        SmtpConfig(unix_socket="/run/smtp", source_address="192.0.2.7")


def test_a_pair_of_streams_carries_bytes_and_ends():
    near, far = stream_pair()
    near.write(b"one", soon())
    assert far.read(soon()) == b"one"
    with pytest.raises(SmtpTimeoutError):
        far.read(soon(0.01))
    near.close()
    assert far.read(soon()) == b""
    far.close()


def test_a_stream_of_the_callers_own_leads_to_the_server(config_for):
    """A dialer is any callable: here one that remembers what it was asked."""
    asked = []

    def dialer(config, deadline):
        asked.append((config, deadline))
        return connect(config, deadline)

    with FaultServer(behaved()) as server:
        config = config_for(server)
        with contextlib.closing(Connection.open(config, dialer)) as connection:
            assert connection.noop()
    assert asked[0][0] is config
    assert asked[0][1] <= time.monotonic() + config.connect_timeout


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux has it")
def test_whoever_waits_for_more_acknowledges_what_came_at_once():
    """A server with Nagle's algorithm keeps the rest of its replies back until then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = connect(SmtpConfig(host="127.0.0.1", port=listener.getsockname()[1], tls="none"), soon())
        server, _ = listener.accept()

        def delays():
            return not stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)

        with server:
            for _ in range(3):
                stream.write(b"NOOP\r\n", soon())
                server.recv(100)
                server.sendall(b"250-o")
                stream.read(soon())
                stream._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
                assert delays()
                with pytest.raises(SmtpTimeoutError):
                    stream.read(soon(0.01))
                assert not delays()
        stream.close()


def test_a_stream_that_is_aborted_ends_for_the_thread_that_waits_on_it():
    near, far = stream_pair()
    heard = []
    waiting = threading.Thread(target=lambda: heard.append(near.read(soon(60))))
    waiting.start()
    near.abort()
    waiting.join()
    assert heard == [b""]
    near.close()
    far.close()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_is_not_there_is_not_taken_for_the_server(scheme):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        config = SmtpConfig(host="smtp.example.com", proxy=f"{scheme}://127.0.0.1:{port}")
        with pytest.raises(
            SmtpConnectionError, match=f"^.connection_refused. proxy: cannot connect to 127.0.0.1:{port}"
        ) as refused:
            connect(config, soon())
    assert refused.value.phase is Phase.CONNECT


@contextlib.contextmanager
def _signals(handle):
    """Have a signal strike every 5 ms."""
    before = signal.signal(signal.SIGALRM, lambda *_: handle())
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _overloaded(path):
    """Listen at a Unix socket whose queue is full."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        waiting = held.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))
        yield listener


def test_a_signal_does_not_end_the_wait_for_a_unix_socket(tmp_path):
    with _overloaded(tmp_path / "smtp") as listener, contextlib.ExitStack() as accepted:
        strikes = 0

        def strike():
            nonlocal strikes
            strikes += 1
            if strikes == 5:
                accepted.enter_context(listener.accept()[0])

        with _signals(strike):
            stream = connect(SmtpConfig(unix_socket=tmp_path / "smtp"), soon())
        accepted.callback(stream.close)
        server = accepted.enter_context(listener.accept()[0])
        server.sendall(b"220 here\r\n")
        assert stream.read(soon()) == b"220 here\r\n"


def test_signals_do_not_stretch_the_wait_for_a_unix_socket(tmp_path):
    with _overloaded(tmp_path / "smtp"), _signals(lambda: None), pytest.raises(SmtpTimeoutError) as caught:
        connect(SmtpConfig(unix_socket=tmp_path / "smtp"), soon(0.05))
    assert caught.value.kind is ErrorKind.CONNECT_TIMEOUT


class _Interrupted(BaseException):
    """Stands for what a signal raises in the middle of a wait, such as a soft time limit."""


@pytest.mark.parametrize(("kind", "answers"), [("http", []), ("socks5", [b"\x05", b"\x02"]), ("http", [b"HTTP/1.1 4"])])
def test_who_is_interrupted_while_a_proxy_is_waited_for_shows_no_password(kind, answers):
    """NF-SEC-01."""
    near, far = stream_pair()
    rest = iter(answers)

    def read(deadline, most=1):
        for answer in rest:
            return answer
        raise _Interrupted

    near.read = read
    proxy = Proxy(kind=kind, host="p.test", port=1, username="u", password="quebec-42")
    with contextlib.closing(near), contextlib.closing(far), pytest.raises(_Interrupted) as caught:
        ask_proxy(near, proxy, ("h.test", 25), soon())
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    written = base64.b64encode(b"u:quebec-42").decode()
    assert "ask_proxy" in told
    assert not any(secret in told.partition("in ask_proxy\n")[2] for secret in ("quebec-42", written))
