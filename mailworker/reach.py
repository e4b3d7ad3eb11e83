"""The client of the ledger's Redis, wherever it is: one server, Sentinel's master, a Cluster.

Law: nothing is opened before it is needed, every call has a deadline, and nothing is repeated behind our back: a claim
must not be.
"""

import threading
from typing import Any, Self, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from mailworker.place import Place, parse_place
from mailworker.settings import RedisSettings, SettingsError

# Sentinels are asked one after the other; one that is down must not cost a whole call.
_SENTINEL_SECONDS = 0.5
_HEALTH_SECONDS = 30
# A claim is a quarter of a megabyte, which is not to be read in a dozen pieces.
_READ_BYTES = 131_072


def connect(settings: RedisSettings, timeout: float) -> Redis:
    """Make the ledger's client, whose calls take `timeout` seconds at most. Raises SettingsError."""
    try:
        place = parse_place(settings.url.get_secret_value())
        common = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "health_check_interval": _HEALTH_SECONDS,
            "socket_read_size": _READ_BYTES,
        }
        match place.kind:
            case "sentinel":
                return _master(place, common, settings)
            case "cluster":
                return cast("Redis", LazyCluster(place, common))
        redis = Redis.from_url(place.url, retry=_once(), **common)
        # A parameter that redis-py does not know is found only when a connection is made.
        redis.connection_pool.make_connection()
    except (ValueError, TypeError) as error:
        raise SettingsError(f"MAILWORKER_REDIS__URL: not a usable URL ({type(error).__name__})") from None
    return redis


def _once() -> Retry:
    return Retry(NoBackoff(), 0)


def _options(place: Place) -> dict[str, Any]:
    """What a URL says besides where: login, database, TLS."""
    options = dict(parse_url(place.url))  # type: ignore[no-untyped-call] # redis-py
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    return options | ({"ssl": True} if place.is_tls else {})


def _master(place: Place, common: dict[str, Any], settings: RedisSettings) -> Redis:
    options = _options(place)
    password = settings.sentinel_password
    of_sentinels = {name: value for name, value in options.items() if name.startswith("ssl")} | {
        "username": settings.sentinel_username,
        "password": password.get_secret_value() if password else None,
        "socket_timeout": min(_SENTINEL_SECONDS, common["socket_timeout"]),
        "socket_connect_timeout": min(_SENTINEL_SECONDS, common["socket_timeout"]),
        "retry": _once(),
    }
    hosts = [(host.strip("[]"), port) for host, port in place.hosts]
    sentinel = Sentinel(hosts, sentinel_kwargs=of_sentinels, retry=_once(), **common, **options)  # type: ignore[no-untyped-call] # redis-py
    redis: Redis = sentinel.master_for(place.master, redis_class=Redis)  # type: ignore[no-untyped-call] # redis-py
    redis.connection_pool.make_connection()
    return redis


class LazyCluster:
    """A client of a Cluster, made at its first use: redis-py's own asks for the nodes when it is made."""

    def __init__(self, place: Place, common: dict[str, Any]) -> None:
        self._hosts = [(host.strip("[]"), port) for host, port in place.hosts]
        options = _options(place)
        options.pop("db", None)
        self._options = common | options
        self._client: Any = None
        self._lock = threading.Lock()

    def get_connection_kwargs(self) -> dict[str, Any]:
        """Tell how each node is connected to, as the ledger checks it."""
        return self._options | {"retry": _once()}

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)

    def _made(self) -> Any:
        from redis.cluster import ClusterNode, RedisCluster  # noqa: PLC0415 - large, and for few

        with self._lock:
            if self._client is None:
                nodes = [ClusterNode(host, port) for host, port in self._hosts]  # type: ignore[no-untyped-call] # redis-py
                self._client = RedisCluster(startup_nodes=nodes, retry=_once(), **self._options)
            return self._client
