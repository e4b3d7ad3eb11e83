"""The composition root of a worker's processes: what a web process never needs, built at first use, after the fork."""

import threading
from collections.abc import Callable

from mailworker.backoff import Backoff, Interval
from mailworker.delivery import Drain, LanePolicy, Tools, Watcher
from mailworker.files import Shelf
from mailworker.ledger import Roll
from mailworker.record import Claiming
from mailworker.relay import smtp_config
from mailworker.relay_settings import LaneSettings
from mailworker.renewal import Renewer
from mailworker.runtime import Ring, Runtime, connect, ledger_over
from smtp_transport.client import SmtpClient
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
        self._lock = threading.Lock()
        self._shelf = Shelf(runtime.ledger.files.read, runtime.keys, _CACHE_BYTES)
        self._encoded = EncodedFiles(_CACHE_BYTES)
        self._watch_redis = connect(runtime.settings, min(_WATCH_SECONDS, runtime.settings.redis.timeout_seconds))
        self.watched_ledger = ledger_over(self._watch_redis, runtime.settings)
        self.roll = Roll(self._watch_redis, runtime.settings.redis.prefix)
        self.renewer = Renewer(runtime.ledger, self._lease_ms)

    def check_relays(self) -> None:
        """Raise SettingsError unless every lane's relay could be spoken to, as far as settings tell."""
        for relay in self._runtime.settings.used_relays:
            self.client(relay)

    def drain(self, lane: str, ring: Ring | None = None) -> Drain:
        """Set up one go at a lane. `ring`: how to call for the next one, by default through Celery."""
        runtime = self._runtime
        settings, worker = runtime.settings.lane(lane), runtime.settings.worker
        policy = LanePolicy(
            lane=lane,
            # One claim more than attempts are allowed: the last verdict is a verdict, not a crash-loop's end.
            claiming=Claiming(worker.batch_mails, worker.batch_bytes, self._lease_ms, settings.max_attempts + 1),
            max_attempts=settings.max_attempts,
            hold_in_doubt=settings.in_doubt == "hold",
            slice_seconds=worker.slice_seconds,
        )
        tools = Tools(
            runtime.ledger,
            self.client(settings.relay[0].relay),
            runtime.keys,
            _backoff(self._interval, settings),
            self.renewer,
            ring or runtime.ring,
            self._is_stopping,
            self._shelf,
            self._encoded,
            self._watcher,
        )
        return Drain(policy, tools)

    def client(self, relay: str) -> SmtpClient:
        """The process's client of a relay, with its connection pool."""
        with self._lock:
            if relay not in self._clients:
                self._clients[relay] = SmtpClient(smtp_config(relay, self._runtime.settings.relays[relay]))
            return self._clients[relay]

    def close(self) -> None:
        """Say QUIT on every link and close every socket."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.shutdown()
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
