import errno
import select
import socket
import threading
import time
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport import ErrorKind, Phase, SmtpConfig, SmtpConnectionError, SmtpTimeoutError, TlsConfig
from smtp_transport.stream import SocketStream, open_stream
from smtp_transport.stream.dial import dial, interleave
from smtp_transport.testing import Close, FaultServer, Raw, ReadSome, Say, Stall, StartTls, behaved

LONG = 10.0


def soon(seconds: float = LONG) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def stuck():
    """Give the address of a listener whose queue is full, so that it answers no one."""
    with ExitStack() as open_:
        listener = open_.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        while True:
            filler = open_.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(address)
            except TimeoutError:
                break
        yield address


@pytest.fixture
def resolved(monkeypatch):
    """Have every name resolve to these addresses."""

    def resolve(*addresses):
        def getaddrinfo(host, port, *_, **options):
            if options.get("flags") == socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "not numeric")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

        monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)

    return resolve


def test_an_address_that_does_not_answer_does_not_keep_from_the_next(stuck, resolved):
    with FaultServer([Say("220 here")]) as server:
        resolved(stuck, (server.host, server.port))
        with dial("two.test", 25, soon()) as connected:
            assert connected.getpeername() == (server.host, server.port)


def test_an_address_that_refuses_does_not_keep_from_the_next(resolved):
    with FaultServer([Say("220 here")]) as server:
        resolved(("127.0.0.1", 1), (server.host, server.port))
        with dial("two.test", 25, soon()) as connected:
            assert connected.getpeername() == (server.host, server.port)


def test_a_server_that_is_on_ipv6_and_this_machine_alone_is_reached(monkeypatch):
    """Where no other address has IPv6, as in many containers, AI_ADDRCONFIG would hide it."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")

    def getaddrinfo(host, port, *_, flags=0, **__):
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        of_4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
        of_6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))
        return [of_4] if flags & socket.AI_ADDRCONFIG else [of_6, of_4]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    with listener, dial("localhost", listener.getsockname()[1], soon()) as connected:
        assert connected.getpeername()[0] == "::1"


def test_the_time_to_connect_is_bounded(stuck, resolved):
    resolved(stuck, stuck)
    with pytest.raises(SmtpTimeoutError) as failed:
        dial("stuck.test", 25, soon(0.1))
    assert (failed.value.kind, failed.value.phase) == (ErrorKind.CONNECT_TIMEOUT, Phase.CONNECT)
    assert "stuck.test:25" in failed.value.message


def test_the_time_to_resolve_is_bounded(monkeypatch):
    over = threading.Event()

    def getaddrinfo(*_, **options):
        if options.get("flags") == socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        over.wait()
        return []

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    with pytest.raises(SmtpTimeoutError) as failed:
        dial("slow.test", 25, soon(0.05))
    over.set()
    assert failed.value.kind is ErrorKind.CONNECT_TIMEOUT
    assert "slow.test" in failed.value.message


def test_a_name_that_does_not_exist_is_told(monkeypatch):
    def getaddrinfo(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    with pytest.raises(SmtpConnectionError) as failed:
        dial("no-such.test", 25, soon())
    assert failed.value.kind is ErrorKind.DNS_RESOLUTION_FAILED
    assert "no-such.test" in failed.value.message
    assert failed.value.is_retryable


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ([errno.ECONNREFUSED], ErrorKind.CONNECTION_REFUSED),
        ([errno.ENETUNREACH, errno.ECONNREFUSED], ErrorKind.CONNECTION_REFUSED),
        ([errno.EHOSTUNREACH], ErrorKind.NETWORK_UNREACHABLE),
        ([errno.ETIMEDOUT, errno.ENETUNREACH], ErrorKind.CONNECTION_TIMEOUT),
        ([errno.EACCES], ErrorKind.CONNECTION),
        ([], ErrorKind.CONNECTION),
    ],
)
def test_the_most_telling_failure_is_reported(resolved, monkeypatch, codes, kind):
    resolved(*[("127.0.0.1", 1)] * len(codes))
    answers = iter(codes)
    monkeypatch.setattr("socket.socket.connect_ex", lambda *_: next(answers))
    with pytest.raises(SmtpConnectionError) as failed:
        dial("many.test", 25, soon())
    assert failed.value.kind is kind
    assert "many.test:25" in failed.value.message
    assert failed.value.is_retryable


@given(st.lists(st.sampled_from([socket.AF_INET, socket.AF_INET6])))
def test_families_take_turns_and_no_address_is_lost(families):
    targets = [(family, (str(number), 25)) for number, family in enumerate(families)]
    ordered = interleave(targets)
    assert sorted(ordered, key=str) == sorted(targets, key=str)
    assert [t for t in ordered if t[0] is socket.AF_INET] == [t for t in targets if t[0] is socket.AF_INET]
    rarer = min(families.count(socket.AF_INET), families.count(socket.AF_INET6))
    assert all(ordered[turn][0] is not ordered[turn + 1][0] for turn in range(0, 2 * rarer, 2))


@pytest.fixture(params=["none", "implicit"])
def stream_to(request, issued, ca_file):
    """Give a server with a script and a stream to it, in clear text and under TLS."""
    with ExitStack() as running:

        def connect(*script):
            opening = (StartTls(),) if request.param == "implicit" else ()
            server = running.enter_context(FaultServer([*opening, *script], tls=issued()))
            config = SmtpConfig(
                host="localhost", port=server.port, tls=request.param, tls_config=TlsConfig(ca_certs=ca_file)
            )
            stream = open_stream(config, soon())
            running.callback(stream.close)
            return stream

        yield connect


def test_bytes_come_as_they_were_sent_and_the_end_is_told(stream_to):
    stream = stream_to(Raw(b"220 hi\r\n"))
    received = b""
    while data := stream.read(soon()):
        received += data
    assert received == b"220 hi\r\n"


def test_a_read_waits_no_longer_than_its_deadline(stream_to):
    stream = stream_to(Stall())
    with pytest.raises(SmtpTimeoutError) as failed:
        stream.read(soon(0.05))
    assert failed.value.kind is ErrorKind.READ_TIMEOUT


def test_a_deadline_in_the_past_is_not_waited_for_though_bytes_are_there(stream_to):
    stream = stream_to(Raw(b"220 hi\r\n"), Stall())
    with pytest.raises(SmtpTimeoutError):
        stream.read(soon(-1))


def test_a_write_waits_no_longer_than_its_deadline(stream_to):
    stream = stream_to(Stall())
    with pytest.raises(SmtpTimeoutError) as failed:
        stream.write(b"x" * 50_000_000, soon(0.2))
    assert failed.value.kind is ErrorKind.WRITE_TIMEOUT


def test_all_of_a_big_write_arrives(stream_to):
    stream = stream_to(ReadSome(5_000_000), Raw(b"all of it"), Stall())
    stream.write(bytes(5_000_000), soon())
    assert stream.read(soon()) == b"all of it"


def test_what_a_server_said_before_it_hung_up_is_found_after_the_failed_write(stream_to):
    stream = stream_to(ReadSome(1), Raw(b"552 too big\r\n"), Close())
    with pytest.raises(SmtpConnectionError) as failed:
        stream.write(b"x" * 50_000_000, soon())
    assert failed.value.kind is ErrorKind.CONNECTION_RESET
    assert stream.read(soon()) == b"552 too big\r\n"


def test_a_server_that_speaks_instead_of_reading_ends_an_attentive_write(stream_to):
    stream = stream_to(ReadSome(1), Raw(b"552 too big\r\n"), Stall())
    with pytest.raises(SmtpConnectionError):
        stream.write(b"x" * 50_000_000, soon(), attentive=True)
    assert stream.read(soon()) == b"552 too big\r\n"


def test_a_server_that_speaks_and_reads_on_does_not_disturb_a_write(stream_to):
    stream = stream_to(ReadSome(1), Raw(b"250 ok\r\n"), ReadSome(4_900_000), Raw(b"all of it"), Stall())
    stream.write(bytes(5_000_000), soon())
    received = b""
    while not received.endswith(b"all of it"):
        received += stream.read(soon())
    assert received == b"250 ok\r\nall of it"


def test_an_attentive_write_waits_no_longer_than_its_deadline(stream_to):
    stream = stream_to(Stall())
    with pytest.raises(SmtpTimeoutError) as failed:
        stream.write(b"x" * 50_000_000, soon(0.2), attentive=True)
    assert failed.value.kind is ErrorKind.WRITE_TIMEOUT


def test_what_has_come_is_given_at_once_and_nothing_is_waited_for(stream_to):
    stream = stream_to(ReadSome(1), Raw(b"250 stray\r\n"), ReadSome(1), Close())
    assert stream.read_now() == b""
    stream.write(b"x", soon())
    assert _read_now_until(stream, soon()) == b"250 stray\r\n"
    assert stream.read_now() == b""
    stream.write(b"x", soon())
    with pytest.raises(SmtpConnectionError) as failed:
        _read_now_until(stream, soon())
    assert failed.value.kind is ErrorKind.CONNECTION_RESET


def _read_now_until(stream, deadline):
    while not (data := stream.read_now()):
        select.select([stream._socket], [], [], deadline - time.monotonic())
        assert time.monotonic() < deadline
    return data


def test_a_stream_may_be_closed_twice_and_is_of_no_use_then(stream_to):
    stream = stream_to(Stall())
    stream.close()
    stream.close()
    with socket.create_server(("127.0.0.1", 0)), pytest.raises(SmtpConnectionError):  # which may get its number
        stream.read(time.monotonic() + 60)
    with pytest.raises(SmtpConnectionError):
        stream.write(b"NOOP\r\n", soon())


def test_a_stream_says_what_protects_it(stream_to, request):
    version = stream_to(Stall()).tls_version
    assert version == ("TLSv1.3" if "implicit" in request.node.name else None)


def test_every_command_leaves_at_once():
    with FaultServer([Stall()]) as server, socket.create_connection((server.host, server.port)) as connected:
        stream = SocketStream(connected)
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        stream.close()


def test_a_connection_comes_from_the_address_that_was_chosen(client_for, email):
    came_from = []

    class Look:
        def play(self, peer):
            came_from.append(peer._socket.getpeername()[0])

    with FaultServer([Look(), *behaved()]) as server:
        client = client_for(server, host="localhost", source_address="127.0.0.9")
        assert client.send(email()).is_complete_success
    assert came_from == ["127.0.0.9"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("192.0.2.99", "from 192.0.2.99 (cannot assign requested address"),
        ("::1", "127.0.0.1 has no IPv6 address to be reached from ::1; see source_address"),
    ],
)
def test_an_address_that_nothing_can_come_from_is_told(client_for, source, told):
    with FaultServer(behaved()) as server, pytest.raises(SmtpConnectionError) as failed:
        client_for(server, source_address=source).test_connection()
    assert (failed.value.kind, failed.value.phase) == (ErrorKind.NETWORK_UNREACHABLE, Phase.CONNECT)
    assert told in failed.value.message


def test_a_peer_that_takes_one_octet_at_a_time_does_not_stretch_a_write():
    class Sluggish(socket.socket):
        def send(self, data, *_):
            return super().send(data[:1])

    near, far = socket.socketpair()
    with far, Sluggish(fileno=near.detach()) as sluggish:
        stream = SocketStream(sluggish)
        with pytest.raises(SmtpTimeoutError) as late:
            stream.write(b"many octets", soon(-1))
        assert late.value.kind is ErrorKind.WRITE_TIMEOUT
        assert far.recv(100) == b"m"
