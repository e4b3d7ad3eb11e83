"""Measurements with peers that are no sink: TLS, which a handshake makes dear, and a real Postfix."""

import ssl
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from bench.contenders import ONE_BY_ONE, WAYS, Send, by_smtplib, ours
from bench.report import Figure, Section
from smtp_transport import Connection, SmtpConfig, TlsConfig, TlsSessions
from smtp_transport.testing import FaultServer, StartTls, behaved
from tests.servers import postfix

_ROUNDS = 3


def reconnecting(times: int) -> Section:
    """Count the CPU of opening a TLS connection, with a session to take up and without."""
    with _tls_server() as config:
        known = TlsSessions()
        _open(config, known)
        # In turns, so that what disturbs does not disturb one of them alone.
        pairs = [(_open(config, None), _open(config, known)) for _ in range(times)]
    whole, short = (statistics.median(spent) * 1e6 for spent in zip(*pairs, strict=True))
    rows: dict[str, Mapping[str, Figure]] = {
        "a new session": {"CPU us": whole, "of a new one": 1.0},
        "a session taken up": {"CPU us": short, "of a new one": short / whole},
    }
    return Section("Reconnecting under TLS", "CPU of this side, to the end of EHLO; certificates are checked.", rows)


def _open(config: SmtpConfig, sessions: TlsSessions | None) -> float:
    begun = time.thread_time()
    connection = Connection.open(config, sessions=sessions)
    spent = time.thread_time() - begun
    connection.noop()  # what a session is taken up with arrives after the handshake
    connection.close()
    return spent


@contextmanager
def _tls_server() -> Iterator[SmtpConfig]:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with tempfile.TemporaryDirectory() as folder, FaultServer([StartTls(), *behaved()], tls=context) as server:
        authority = Path(folder, "ca.pem")
        ca.cert_pem.write_to_path(str(authority))
        yield SmtpConfig(
            host="localhost",
            port=server.port,
            tls="implicit",
            tls_config=TlsConfig(ca_certs=authority),
        )


def real_postfix(mails: int) -> Section:
    """Send to a Postfix: a mode that waits for a delayed acknowledgement shows 40 ms a mail."""
    told = f"One connection to a real Postfix on the loopback interface, every core free; best of {_ROUNDS} rounds."
    with ExitStack() as running:
        try:
            server = running.enter_context(postfix.running(trustme.CA(), with_users=False))
        except pytest.skip.Exception as error:
            return Section("Postfix", f"{told} Not measured: {error}.", {})
        port = server.doors["plain"]
        known = {ONE_BY_ONE: by_smtplib, **{f"ours, {name}": ours(way) for name, way in WAYS.items()}}
        sends: dict[str, Send] = {name: running.enter_context(each(port)) for name, each in known.items()}
        for send in sends.values():
            send(max(1, mails // 10))
        # In turns, so that what disturbs does not disturb one of them alone.
        rounds = [{name: _timed(send, mails) for name, send in sends.items()} for _ in range(_ROUNDS)]
    seconds = {name: min(each[name] for each in rounds) for name in sends}
    base = seconds["ours, lockstep"]
    rows = {
        name: {"mails/s": mails / took, "ms/mail": took / mails * 1000, "x lockstep": base / took}
        for name, took in seconds.items()
    }
    return Section("Postfix", told, rows)


def _timed(send: Send, mails: int) -> float:
    begun = time.perf_counter()
    send(mails)
    return time.perf_counter() - begun
