"""The broker of the bells in Celery's terms.

Law: pure. The ledger is the acknowledgement; whatever a broker could do to keep a bell safe is left out.
"""

import ssl
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from kombu import Exchange, Queue

from mailworker.place import Place, parse_place
from mailworker.settings import Settings

_OURS = ("sentinel://", "sentinels://", "unix://", "rediss://")


def broker_options(settings: Settings) -> dict[str, Any]:
    """Tell Celery where the broker is, and how to treat it."""
    url = (settings.broker.url or settings.redis.url).get_secret_value()
    if not url.startswith(("redis", "unix", "sentinel")):
        return {"broker_url": url}
    options = {"broker_transport_options": _transport_options(settings)}
    if not url.startswith(_OURS):
        return options | {"broker_url": url}
    place = parse_place(url)
    if place.is_tls:
        url, options["broker_use_ssl"] = _without_tls_options(url)
    if place.kind == "sentinel":
        url = _kombu_sentinels(place)
        options["broker_transport_options"] |= {"master_name": place.master, "sentinel_kwargs": _of_sentinels(settings)}
    elif url.startswith("unix://"):
        url = _kombu_socket(url)
    return options | {"broker_url": url}


def queue(name: str, exchange: str, settings: Settings) -> Queue:
    """Declare a queue of ours; on RabbitMQ a quorum queue, which outlives any one of its nodes."""
    url = (settings.broker.url or settings.redis.url).get_secret_value()
    is_rabbit = url.startswith(("amqp", "pyamqp"))
    arguments = {"x-queue-type": "quorum"} if is_rabbit else None
    return Queue(name, Exchange(exchange), routing_key=name, queue_arguments=arguments)


def _transport_options(settings: Settings) -> dict[str, Any]:
    return {
        # Without acknowledgements in Redis there is no visibility timeout to run over and no prefetch credit to lose
        # in an outage (a worker that lost it consumed nothing for ever). The ledger recovers what a dead worker held.
        "ack_emulation": False,
        "queue_order_strategy": "round_robin",
        # A worker's wait for messages must not look like a broken connection.
        "socket_timeout": max(3.0, settings.broker.timeout_seconds),
        "socket_connect_timeout": settings.broker.timeout_seconds,
        "socket_keepalive": True,
        "health_check_interval": 5,
    }


def _of_sentinels(settings: Settings) -> dict[str, Any]:
    password = settings.redis.sentinel_password
    return {
        "username": settings.redis.sentinel_username,
        "password": password.get_secret_value() if password else None,
        "socket_timeout": settings.broker.timeout_seconds,
        "socket_connect_timeout": settings.broker.timeout_seconds,
    }


def _kombu_sentinels(place: Place) -> str:
    """Write sentinel://user:password@host:26379/db;sentinel://…, which is kombu's way."""
    database = parse_qs(place.query).get("db", ["0"])[0]
    at = f"{place.login}@" if place.login else ""
    return ";".join(f"sentinel://{at}{host}:{port}/{database}" for host, port in place.hosts)


def _kombu_socket(url: str) -> str:
    """redis-py writes unix:///path?db=N, kombu redis+socket:///path?virtual_host=N."""
    parts = urlsplit(url)
    database = parse_qs(parts.query).get("db", ["0"])[0]
    login = f"{parts.username or ''}:{parts.password}@" if parts.password else ""
    return f"redis+socket://{login}{parts.path}?virtual_host={database}"


def _without_tls_options(url: str) -> tuple[str, dict[str, Any]]:
    """Take the options of TLS, in redis-py's words, out of a URL: kombu wants them apart."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query)
    told: dict[str, Any] = {name: value for name, value in pairs if name.startswith("ssl_")}
    wanted = told.get("ssl_cert_reqs", "required").removeprefix("CERT_").lower()
    told["ssl_cert_reqs"] = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL}.get(wanted, ssl.CERT_REQUIRED)
    if "ssl_check_hostname" in told:
        told["ssl_check_hostname"] = told["ssl_check_hostname"].lower() in {"1", "true", "yes"}
    rest = urlencode([(name, value) for name, value in pairs if not name.startswith("ssl_")])
    return urlunsplit(parts._replace(query=rest)), told
