"""Asking a proxy to connect: HTTP CONNECT (RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928, RFC 1929).

Not a byte more is read than the proxy says: what comes behind its answer is the server's greeting. Errors name the
proxy, so that it is not taken for the server; nothing of the password is in them.
"""

import base64
import ipaddress
import re
from typing import Final

from smtp_transport.errors import ErrorKind, SmtpConnectionError, SmtpError, SmtpTimeoutError
from smtp_transport.phase import Phase
from smtp_transport.proxy_config import Proxy, ProxyKind
from smtp_transport.stream.tcp import SocketStream

_MAX_HEAD: Final = 16_384
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
# RFC 1928 section 6.
_REPLIES: Final = {
    1: (ErrorKind.CONNECTION, "general failure"),
    2: (ErrorKind.CONNECTION, "not allowed by its rules"),
    3: (ErrorKind.NETWORK_UNREACHABLE, "network unreachable"),
    4: (ErrorKind.NETWORK_UNREACHABLE, "host unreachable"),
    5: (ErrorKind.CONNECTION_REFUSED, "connection refused"),
    6: (ErrorKind.CONNECTION_TIMEOUT, "time to live expired"),
    7: (ErrorKind.CONNECTION, "it does not know CONNECT"),
    8: (ErrorKind.CONNECTION, "it does not know this type of address"),
}
_IPV4, _NAME, _IPV6 = 1, 3, 4
_NO_PASSWORD, _PASSWORD = 0, 2


def ask_proxy(stream: SocketStream, proxy: Proxy, target: tuple[str, int], deadline: float) -> None:
    """Have a proxy at the other end of a stream connect to a host and port; the stream leads there then.

    Raises `SmtpConnectionError`, `SmtpTimeoutError` (connect_timeout).
    """
    ask = _connect_by_http if proxy.kind is ProxyKind.HTTP else _connect_by_socks
    place = f"proxy {proxy.host}:{proxy.port}"
    if not (target[0].isascii() and target[0].isprintable() and " " not in target[0]):
        # No configuration that was checked holds such a host; in a request to a proxy it would be more than a host.
        raise SmtpConnectionError(
            f"{place}: this is no host name", ErrorKind.DNS_RESOLUTION_FAILED, phase=Phase.CONNECT
        )
    try:
        ask(stream, proxy, target, deadline)
    except SmtpTimeoutError:
        told = f"{place}: no answer in the time allowed for connecting"
        raise SmtpTimeoutError(told, ErrorKind.CONNECT_TIMEOUT, phase=Phase.CONNECT) from None
    except SmtpError as error:
        raise SmtpConnectionError(f"{place}: {error.message}", error.kind, phase=Phase.CONNECT) from None


def _connect_by_http(stream: SocketStream, proxy: Proxy, target: tuple[str, int], deadline: float) -> None:
    host, port = target
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    stream.write(_http_request(proxy, authority), deadline)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        if len(answer) >= _MAX_HEAD:
            raise SmtpConnectionError("its answer has no end; is it an HTTP proxy?")
        answer += _exactly(stream, 1, deadline)
    status = _STATUS.match(answer)
    if status is None:
        raise SmtpConnectionError("its answer is not HTTP; is it an HTTP proxy?")
    code = status[1].decode("ascii")
    if code == "407":
        raise SmtpConnectionError("it wants a user and a password that it knows (HTTP 407)")
    if not code.startswith("2"):
        raise SmtpConnectionError(f"it did not connect to {authority} (HTTP {code})")


def _http_request(proxy: Proxy, authority: str) -> bytes:
    # Here and in `_socks_login`, so that whoever waits for the answer has no variable that holds the password.
    head = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.username is not None:
        pair = f"{proxy.username}:{proxy.password.get_secret_value()}".encode()
        head.append(f"Proxy-Authorization: Basic {base64.b64encode(pair).decode('ascii')}")
    return "\r\n".join((*head, "", "")).encode("ascii")


def _connect_by_socks(stream: SocketStream, proxy: Proxy, target: tuple[str, int], deadline: float) -> None:
    offered = [_NO_PASSWORD] if proxy.username is None else [_NO_PASSWORD, _PASSWORD]
    stream.write(bytes([5, len(offered), *offered]), deadline)
    version, method = _exactly(stream, 2, deadline)
    if version != 5:
        raise SmtpConnectionError("its answer is not SOCKS5; is it a SOCKS5 proxy?")
    if method not in offered:
        raise SmtpConnectionError(
            "it takes none of the ways to authenticate that can be offered"
            + ("; does it want a user and a password?" if proxy.username is None else "")
        )
    if method == _PASSWORD:
        stream.write(_socks_login(proxy), deadline)
        if _exactly(stream, 2, deadline)[1] != 0:
            raise SmtpConnectionError("it refused the user and the password")
    stream.write(b"\x05\x01\x00" + _socks_address(*target), deadline)
    _, code, _, kind = _exactly(stream, 4, deadline)
    if code != 0:
        what, told = _REPLIES.get(code, (ErrorKind.CONNECTION, f"reply {code}"))
        raise SmtpConnectionError(f"it did not connect to {target[0]}:{target[1]} ({told})", what)
    # The address that it connects from is of no use here, but it has to be read.
    length = {_IPV4: 4, _IPV6: 16}.get(kind) or _exactly(stream, 1, deadline)[0]
    _exactly(stream, length + 2, deadline)


def _socks_login(proxy: Proxy) -> bytes:
    pair = ((proxy.username or "").encode(), proxy.password.get_secret_value().encode())
    return b"\x01" + b"".join(bytes([len(word)]) + word for word in pair)


def _socks_address(host: str, port: int) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        return bytes([_NAME, len(name)]) + name + port.to_bytes(2, "big")
    return bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed + port.to_bytes(2, "big")


def _exactly(stream: SocketStream, octets: int, deadline: float) -> bytes:
    read = b""
    while len(read) < octets:
        more = stream.read(deadline, octets - len(read))
        if not more:
            raise SmtpConnectionError("it hung up instead of connecting", ErrorKind.CONNECTION_RESET)
        read += more
    return read
