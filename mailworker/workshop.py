"""The composition root of a worker's processes: what a web process never needs, built at first use, after the fork."""

import threading
from collections.abc import Callable

from mailworker.backoff import Backoff, Interval
from mailworker.crew import Crew, RelayLinks
from mailworker.delivery import Drain, LanePolicy, Tools, Watcher
from mailworker.doorway import Doorway, lane_terms, shared_config
from mailworker.files import Shelf
from mailworker.ledger import LedgerError, Roll
from mailworker.log import logger
from mailworker.presence import Presence
from mailworker.reach import connect
from mailworker.record import Claiming
from mailworker.relay import pool_config
from mailworker.relay_settings import LaneSettings
from mailworker.renewal import Renewer
from mailworker.runtime import Ring, Runtime, ledger_over
from mailworker.settlement import Terms
from smtp_transport.client import SmtpClient
from smtp_transport.config import PoolConfig, SmtpConfig
from smtp_transport.message import EncodedFiles

# The watch runs in a worker's event loop, which must not wait long.
_WATCH_SECONDS = 1.0
_CACHE_BYTES = 32_000_000


class Workshop:
    """A process's tools for delivering: a client for each relay, with its connections, and what keeps claims alive."""

    def __init__(
        self,
        runtime: Runtime,
        interval: Interval,
        is_stopping: Callable[[], bool],
        watcher: Watcher | None = None,
    ) -> None:
        self._runtime = runtime
        self._interval = interval
        self._is_stopping = is_stopping
        self._watcher = watcher
        self._lease_ms = int(runtime.settings.worker.lease_seconds * 1000)
        self._clients: dict[str, SmtpClient] = {}
        self._links: dict[str, RelayLinks] = {}
        self._lock = threading.Lock()
        self._shelf = Shelf(runtime.ledger.files.read, runtime.keys, _CACHE_BYTES)
        self._encoded = EncodedFiles(_CACHE_BYTES)
        self._watch_redis = connect(runtime.settings.redis, min(_WATCH_SECONDS, runtime.settings.redis.timeout_seconds))
        self.watched_ledger = ledger_over(self._watch_redis, runtime.settings)
        self.presence = Presence.here()
        self.roll = Roll(self._watch_redis, runtime.settings.redis.prefix)
        self.renewer = Renewer(runtime.ledger, self._lease_ms)
        self._doorway = Doorway(runtime.settings, runtime.redis, self._allow)

    def check_relays(self) -> None:
        """Raise SettingsError unless every lane's relay could be spoken to, as far as settings tell."""
        for relay in self._runtime.settings.used_relays:
            self.client(relay)

    def drain(self, lane: str, ring: Ring | None = None) -> Crew:
        """Set up one go at a lane. `ring`: how to call for the next one, by default through Celery."""
        runtime = self._runtime
        settings, worker = runtime.settings.lane(lane), runtime.settings.worker
        backoff = _backoff(self._interval, settings)
        policy = LanePolicy(
            lane_terms(lane, settings),
            # One claim more than attempts are allowed: the last verdict is a verdict, not a crash-loop's end.
            Claiming(
                worker.batch_mails,
                worker.batch_bytes,
                self._lease_ms,
                settings.max_attempts + 1,
                self.presence.name,
            ),
            Terms(settings.max_attempts, settings.in_doubt == "hold", backoff, runtime.keys),
            worker.slice_seconds,
            settings.suppress_days if settings.suppress_bounces else None,
        )
        tools = Tools(
            runtime.ledger,
            self._doorway.gate,
            self.client,
            self.renewer,
            ring or runtime.ring,
            self._is_stopping,
            self._shelf,
            self._encoded,
            self._watcher,
            runtime.suppressions,
        )
        others = [other for other in runtime.settings.lanes if other != lane]
        return Crew(
            # Called in the thread that will be at it.
            lambda mates, is_first: Drain(
                policy, tools, f"{self._doorway.who}/{threading.get_ident()}", mates, is_first
            ),
            self._links_to(settings.relay[0].relay),
            lambda: any(map(runtime.ledger.bells.is_rung, others)),
            policy.slice_seconds,
        )

    def _links_to(self, relay: str) -> RelayLinks:
        with self._lock:
            return self._links.setdefault(relay, RelayLinks(lambda: self._doorway.berths[relay].room))

    def client(self, relay: str) -> SmtpClient:
        """The process's client of a relay, with its connection pool."""
        with self._lock:
            if relay not in self._clients:
                self._clients[relay] = SmtpClient(self._config(relay))
            return self._clients[relay]

    def retry_relays(self) -> None:
        """Have relays tried again that were left alone: whoever starts a worker may have mended what it was for."""
        for name, breaker in self._doorway.breakers.items():
            try:
                breaker.retry()
            except LedgerError as error:
                logger.warning("relay %s is not tried at once: %s", name, error)

    def _allow(self, relay: str, links: int) -> int:
        """Keep to what the process may have of a relay's connections, and tell how many are open."""
        with self._lock:
            client = self._clients.get(relay)
        if client is None and not links:
            return 0
        client = client or self.client(relay)
        if links and client.pool_status().max_size != links:
            client.configure(self._pool(relay).model_copy(update={"max_connections": links}))
        if not links:
            client.close_idle()
        return client.pool_status().total

    def _pool(self, relay: str) -> PoolConfig:
        return pool_config(self._runtime.settings.relays[relay])

    def _config(self, relay: str) -> SmtpConfig:
        runtime = self._runtime
        return shared_config(relay, runtime.settings, runtime.redis, runtime.keys)

    def close(self) -> None:
        """Say QUIT on every link and close every socket."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.shutdown()
        self._doorway.harbour.close()
        self.renewer.close()
        self._watch_redis.close()


def _backoff(interval: Interval, lane: LaneSettings) -> Backoff:
    return Backoff(
        interval,
        quick_retries=lane.quick_retries,
        quick_first_ms=int(lane.quick_first_seconds * 1000),
        quick_max_ms=int(lane.quick_max_seconds * 1000),
        slow_first_ms=int(lane.slow_first_seconds * 1000),
        slow_max_ms=int(lane.retry_max_seconds * 1000),
        asked_min_ms=int(lane.asked_min_seconds * 1000),
        asked_max_ms=int(lane.asked_max_seconds * 1000),
    )
