"""From a host name to a connected socket, over all its addresses, in bounded time.

Attempts are staggered over alternating address families and the first that connects wins (RFC 8305), so that a dead
address or a broken IPv6 costs a quarter of a second and not the deadline.
"""

import errno
import itertools
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from smtp_transport.errors import ErrorKind, SmtpConnectionError, SmtpTimeoutError
from smtp_transport.phase import Phase

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside those that have not answered (RFC 8305 section 8)."""

Source = IPv4Address | IPv6Address
Target = tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]

# The most telling first: that one is reported where addresses fail in different ways.
_KINDS = {
    errno.ECONNREFUSED: ErrorKind.CONNECTION_REFUSED,
    errno.ETIMEDOUT: ErrorKind.CONNECTION_TIMEOUT,
    errno.ECONNRESET: ErrorKind.CONNECTION_RESET,
    errno.EHOSTUNREACH: ErrorKind.NETWORK_UNREACHABLE,
    errno.ENETUNREACH: ErrorKind.NETWORK_UNREACHABLE,
    errno.EADDRNOTAVAIL: ErrorKind.NETWORK_UNREACHABLE,
    errno.EAFNOSUPPORT: ErrorKind.NETWORK_UNREACHABLE,
}
_HINTS = {
    ErrorKind.CONNECTION_REFUSED: "; is a server listening on that port?",
    ErrorKind.CONNECTION_TIMEOUT: "; is a firewall in between?",
    ErrorKind.NETWORK_UNREACHABLE: "; is there a route from here?",
}


def dial(host: str, port: int, deadline: float, source: Source | None = None) -> socket.socket:
    """Connect to the first address that answers, from `source` if it is given; the socket is non-blocking.

    Raises `SmtpConnectionError` (dns_resolution_failed, connection_refused, network_unreachable, ...) or
    `SmtpTimeoutError` (connect_timeout).
    """
    waiting = deque(_from_here(host, interleave(resolve(host, port, deadline)), source))
    failures: list[int] = []
    with selectors.PollSelector() as racing:
        try:
            while waiting or racing.get_map():
                if waiting:
                    _start(waiting.popleft(), racing, failures, source)
                now = time.monotonic()
                if now >= deadline:
                    raise SmtpTimeoutError(
                        f"{host}:{port} did not answer in the time allowed for connecting; is a firewall in between?",
                        ErrorKind.CONNECT_TIMEOUT,
                        phase=Phase.CONNECT,
                    )
                winner = _first_connected(racing, failures, min(deadline - now, ATTEMPT_DELAY if waiting else deadline))
                if winner is not None:
                    return winner
        finally:
            for key in tuple(racing.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]  # only sockets are registered
    raise _unreachable(f"{host}:{port}" + (f" from {source}" if source is not None else ""), failures)


def dial_unix(path: Path, deadline: float) -> socket.socket:
    """Connect to a Unix socket; raises `SmtpConnectionError` or `SmtpTimeoutError` (connect_timeout)."""
    attempt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # It connects at once, or waits while the listener's queue is full, and a non-blocking one would not wait.
        while not _is_connected(attempt):
            microseconds = max(1, int((deadline - time.monotonic()) * 1_000_000))
            attempt.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", *divmod(microseconds, 1_000_000))
            )
            attempt.connect(str(path))
        attempt.setblocking(False)
    except BlockingIOError:
        attempt.close()
        told = f"unix:{path} did not answer in the time allowed for connecting; is its server overloaded?"
        raise SmtpTimeoutError(told, ErrorKind.CONNECT_TIMEOUT, phase=Phase.CONNECT) from None
    except OSError as error:
        attempt.close()
        # A file without a listener refuses; a missing file, or one that may not be opened, is as good as nobody there.
        kind = ErrorKind.CONNECTION_REFUSED if error.errno in {errno.ECONNREFUSED, errno.ENOENT} else None
        told = f"cannot connect to unix:{path} ({(error.strerror or str(error)).lower()}); is its server running?"
        raise SmtpConnectionError(told, kind, phase=Phase.CONNECT) from None
    return attempt


def _is_connected(attempt: socket.socket) -> bool:
    """Ask the system: where a signal interrupts the wait, `connect` returns as if it were."""
    try:
        attempt.getpeername()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise
    return True


def resolve(host: str, port: int, deadline: float) -> tuple[Target, ...]:
    """Look up all addresses of a host, in the system's order of preference.

    The C library's resolver knows no deadline, so it runs in a thread that is left behind if it takes too long.
    """
    try:
        return _lookup(host, port, socket.AI_NUMERICHOST)
    except UnicodeError:
        # No configuration that was checked holds such a name.
        told = "this host's name has a label that is empty or too long; is it spelt right?"
        raise SmtpConnectionError(told, ErrorKind.DNS_RESOLUTION_FAILED, phase=Phase.CONNECT) from None
    except OSError:
        pass  # no IP address, then: a name
    answers: list[tuple[Target, ...] | OSError] = []
    answered = threading.Event()

    def ask() -> None:
        try:
            # Not AI_ADDRCONFIG: where only the loopback interface has IPv6 it hides a server on ::1. An address without
            # a route fails at once, and costs nothing.
            answers.append(_lookup(host, port, 0))
        except OSError as error:
            answers.append(error)
        answered.set()

    try:
        threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    except RuntimeError:
        # No thread is to be had, as while the interpreter ends (3.12): then the resolver's own bounds must do.
        ask()
    # Not `queue.SimpleQueue`: before CPython 3.13 it waits for ever if a signal comes when its time is just up.
    if not answered.wait(max(0.0, deadline - time.monotonic())):
        raise SmtpTimeoutError(
            f"the name {host!r} was not resolved in the time allowed for connecting; does the DNS server answer?",
            ErrorKind.CONNECT_TIMEOUT,
            phase=Phase.CONNECT,
        )
    (answer,) = answers
    if isinstance(answer, OSError):
        raise SmtpConnectionError(
            f"the name {host!r} cannot be resolved ({answer.strerror}); is it spelt right?",
            ErrorKind.DNS_RESOLUTION_FAILED,
            phase=Phase.CONNECT,
        )
    return answer


def _lookup(host: str, port: int, flags: int) -> tuple[Target, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return tuple((family, address) for family, _, _, _, address in found)


def interleave(targets: Iterable[Target]) -> list[Target]:
    """Let the address families take turns, the preferred one first (RFC 8305 section 4)."""
    families: dict[socket.AddressFamily, list[Target]] = {}
    for target in targets:
        families.setdefault(target[0], []).append(target)
    return [target for turn in itertools.zip_longest(*families.values()) for target in turn if target is not None]


def _from_here(host: str, targets: Sequence[Target], source: Source | None) -> Sequence[Target]:
    """Give those that can be reached from the source address; raises `SmtpConnectionError` if there are none."""
    if source is None:
        return targets
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    alike = [target for target in targets if target[0] == family]
    if not alike:
        told = f"{host} has no IPv{source.version} address to be reached from {source}; see source_address"
        raise SmtpConnectionError(told, ErrorKind.NETWORK_UNREACHABLE, phase=Phase.CONNECT)
    return alike


def _start(target: Target, racing: selectors.BaseSelector, failures: list[int], source: Source | None) -> None:
    family, address = target
    try:
        attempt = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        failures.append(error.errno or 0)
        return
    attempt.setblocking(False)
    if source is not None:
        try:
            attempt.bind((str(source), 0))
        except OSError as error:
            attempt.close()
            failures.append(error.errno or 0)
            return
    code = attempt.connect_ex(address)
    if code in {0, errno.EINPROGRESS}:
        racing.register(attempt, selectors.EVENT_WRITE)
    else:
        attempt.close()
        failures.append(code)


def _first_connected(racing: selectors.BaseSelector, failures: list[int], patience: float) -> socket.socket | None:
    for key, _ in racing.select(patience) if racing.get_map() else ():
        attempt = key.fileobj
        assert isinstance(attempt, socket.socket)  # noqa: S101 - tells mypy what `_start` registers
        racing.unregister(attempt)
        code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            return attempt
        attempt.close()
        failures.append(code)
    return None


def _unreachable(where: str, failures: Sequence[int]) -> SmtpConnectionError:
    code = next((known for known in _KINDS if known in failures), failures[0] if failures else 0)
    kind = _KINDS.get(code, ErrorKind.CONNECTION)
    tried = f", {len(failures)} addresses tried" if len(failures) > 1 else ""
    text = f"cannot connect to {where} ({os.strerror(code).lower()}{tried}){_HINTS.get(kind, '')}"
    return SmtpConnectionError(text, kind, phase=Phase.CONNECT)
