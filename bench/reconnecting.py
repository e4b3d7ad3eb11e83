"""What it costs this side to connect again under TLS: with a whole handshake, and with a session taken up.

Law: the server is a process of its own, so that its work does not count here; its chain is a leaf behind an
intermediate, as providers have it; trusted are the machine's own authorities and one more. It is reached by its
address, so that no lookup of a name is part of either side.
"""

import multiprocessing
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from bench.chains import ADDRESS, KINDS, Chain, a_chain
from bench.report import Figure, Section
from smtp_transport import Connection, SmtpConfig, TlsConfig, TlsSessions
from smtp_transport.testing import FaultServer, StartTls, behaved

_VERSIONS = {"TLS 1.3": ssl.TLSVersion.TLSv1_3, "TLS 1.2": ssl.TLSVersion.TLSv1_2}

_PATIENCE = 30.0


def reconnecting(times: int, kinds: Sequence[str] = tuple(KINDS)) -> Section:
    """Count the CPU of opening a TLS connection, with a session to take up and without, for these kinds of chains."""
    rows: dict[str, Mapping[str, Figure]] = {}
    for kind in kinds:
        chain = a_chain(kind)
        for version, number in _VERSIONS.items():
            with _server(number, chain) as config:
                whole, short = _compared(_opener(config, None), _opener(config, TlsSessions()), times)
                bare, least = _compared(_handshake(config, keeps=False), _handshake(config, keeps=True), times)
            rows[f"{version}, {kind}"] = {
                "whole, CPU us": whole,
                "taken up, CPU us": short,
                "of a whole one": short / whole,
                "ssl alone": least / bare,
            }
    told = (
        "CPU of this side, to the end of EHLO; certificates are checked. The last column is the same ratio for a TCP "
        "connection and a handshake of Python's ssl module and nothing else: what could be had at best. "
        + " ".join(f"{kind}: {{}} behind {{}}, root {{}}.".format(*KINDS[kind]) for kind in kinds)
    )
    return Section("Reconnecting under TLS", told, rows)


def _compared(one: Callable[[], float], other: Callable[[], float], times: int) -> tuple[float, float]:
    """Give the medians of both, in microseconds."""
    other()
    # In turns, so that what disturbs does not disturb one of them alone.
    pairs = [(one(), other()) for _ in range(times)]
    whole, short = (statistics.median(spent) * 1e6 for spent in zip(*pairs, strict=True))
    return whole, short


def _opener(config: SmtpConfig, sessions: TlsSessions | None) -> Callable[[], float]:
    def opened() -> float:
        begun = time.thread_time()
        connection = Connection.open(config, sessions=sessions)
        spent = time.thread_time() - begun
        connection.noop()  # what a session is taken up with arrives after the handshake
        connection.close()
        return spent

    return opened


def _handshake(config: SmtpConfig, *, keeps: bool) -> Callable[[], float]:
    context = ssl.create_default_context(cafile=config.tls_config.ca_certs[0])
    kept: list[ssl.SSLSession] = []

    def shaken() -> float:
        begun = time.thread_time()
        session = kept[0] if kept else None
        connected = socket.create_connection((ADDRESS, config.port))
        with context.wrap_socket(connected, server_hostname=config.host, session=session) as link:
            spent = time.thread_time() - begun
            link.recv(1000)
            if keeps and not kept and link.session is not None:
                kept.append(link.session)
        return spent

    return shaken


@contextmanager
def _server(version: ssl.TLSVersion, chain: Chain) -> Iterator[SmtpConfig]:
    system = ssl.get_default_verify_paths().cafile
    with tempfile.TemporaryDirectory() as folder:
        authorities, presented = Path(folder, "ca.pem"), Path(folder, "chain.pem")
        authorities.write_bytes((Path(system).read_bytes() if system else b"") + chain.root)
        presented.write_bytes(chain.presented)
        spawning = multiprocessing.get_context("spawn")
        here, there = spawning.Pipe()
        server = spawning.Process(target=_serve, args=(there, presented, version), daemon=True)
        server.start()
        there.close()
        try:
            if not here.poll(_PATIENCE):
                raise TimeoutError("the server of the measurement did not start")
            port = here.recv()
            yield SmtpConfig(host=ADDRESS, port=port, tls="implicit", tls_config=TlsConfig(ca_certs=authorities))
        finally:
            here.close()  # which ends it
            server.join(_PATIENCE)


def _serve(pipe: Pipe, chain: Path, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    context.maximum_version = version
    with FaultServer([StartTls(), *behaved("PIPELINING", "8BITMIME")], tls=context, strict=False) as server:
        pipe.send(server.port)
        with suppress(EOFError):
            pipe.recv()
