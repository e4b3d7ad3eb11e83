"""Where a Redis is, as a URL says it: one server, a master that Sentinels know, or a Cluster.

Law: pure, and no text of an error quotes what may be a password.

    redis://user:password@host:6379/0     rediss:// with TLS     unix:///path/redis.sock?db=0
    sentinel://user:password@s1:26379,s2:26379,s3:26379/MASTER?db=0     sentinels:// with TLS
    cluster://user:password@n1:6379,n2:6379     clusters:// with TLS
"""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["server", "sentinel", "cluster"]

_SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("server", False),
    "sentinel": ("sentinel", False),
    "sentinels": ("sentinel", True),
    "cluster": ("cluster", False),
    "clusters": ("cluster", True),
}
_URL = re.compile(
    r"(?:(?P<login>[^/?]*)@)?(?P<hosts>[^/?@]*)(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?", re.ASCII | re.DOTALL
)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_PORTS: dict[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class Place:
    """`url`: of one of the hosts as redis-py reads it, with login and options. `master`: the name Sentinels know."""

    kind: Kind
    is_tls: bool
    url: str
    hosts: tuple[tuple[str, int], ...] = ()
    login: str = ""
    query: str = ""
    master: str = ""


def parse_place(url: str) -> Place:
    """Read a URL. Raises ValueError that tells what is wrong with it."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in _SCHEMES:
        raise ValueError(f"must begin with {', '.join(f'{name}://' for name in _SCHEMES)}")
    kind, is_tls = _SCHEMES[scheme]
    if scheme == "unix":
        return Place(kind, is_tls, url)
    found = _URL.fullmatch(rest)
    if found is None or "#" in rest:
        raise ValueError(f"is no {scheme}:// URL; write # / ? and @ in a password as %23 %2F %3F and %40")
    login, query, path = found["login"] or "", found["query"] or "", found["path"] or ""
    is_here = kind == "server" and not found["hosts"]  # redis:///0
    hosts = () if is_here else tuple(_host(text, _PORTS[kind]) for text in found["hosts"].split(","))
    if kind == "sentinel" and not re.fullmatch(r"[\w.-]+", path):
        raise ValueError("needs the master's name: sentinel://host:26379,host:26379/NAME")
    if kind == "server" and not (re.fullmatch(r"[0-9]{0,5}", path, re.ASCII) and len(hosts) <= 1):
        raise ValueError(f"is {scheme}://host:port/NUMBER, with the number of a database")
    if kind == "cluster" and path not in ("", "0"):
        raise ValueError("a Cluster has database 0 only")
    if kind == "server":
        return Place(kind, is_tls, url)
    at, (host, port) = f"{login}@" if login else "", hosts[0]
    plain = f"{'rediss' if is_tls else 'redis'}://{at}{host}:{port}" + (f"?{query}" if query else "")
    return Place(kind, is_tls, plain, hosts, login, query, path if kind == "sentinel" else "")


def check_broker(url: str) -> None:
    """Refuse a URL that Celery could not use, nor we for it. Raises ValueError."""
    scheme, mark, _ = url.partition("://")
    if mark and scheme in _SCHEMES:
        parse_place(url)
        return
    from kombu.transport import TRANSPORT_ALIASES  # noqa: PLC0415 - only where a broker of its own is named

    if not mark or scheme.partition("+")[0] not in TRANSPORT_ALIASES:
        raise ValueError("is no broker's URL; it begins with amqp://, redis:// or another transport of Celery's")


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or port) < 65536:
        raise ValueError(
            "hosts are host:port, separated by commas; write # / ? and @ in a password as %23 %2F %3F and %40"
        )
    return found["host"], int(found["port"] or port)
