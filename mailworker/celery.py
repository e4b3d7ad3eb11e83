"""The Celery application. Celery carries bells and runs drains; it never carries a mail.

Law: configuration is read at first use, not at import. What Celery is told here closes the windows in which it would
lose or double messages; the reasons stand beside each line.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import celery
from celery.utils.time import get_exponential_backoff_interval
from kombu import Exchange, Queue
from kombu.pools import producers

from mailworker.board import Board
from mailworker.broker import broker_options, queue
from mailworker.log import logger
from mailworker.reload import reloaded
from mailworker.runtime import Runtime
from mailworker.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from mailworker.witness import Witness
    from mailworker.workshop import Workshop

DRAIN = "mailworker.drain"
SEND_EMAIL = "mailworker.send_email"
TELL = "mailworker.tell"
GREEN_POOLS = frozenset({"gevent", "eventlet"})
GREEN_POOL_REFUSED = (
    "-P gevent and -P eventlet are not supported: threads renew leases, and sockets keep deadlines of their own. "
    "Use prefork (the default), or -P threads; one process keeps many connections either way."
)


def queue_of(lane: str) -> str:
    """The Celery queue on which a lane's bells travel, so that `-Q mail.bulk` chooses lanes."""
    return f"mail.{lane}"


class MailApp(celery.Celery):
    """A Celery app that owns a Runtime per process."""

    control_cls = "mailworker.results:MailControl"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._runtime: Runtime | None = None
        self._workshop: Workshop | None = None
        self._witness: Witness | None = None
        # The last good ones: a process that is forked while the file is broken works by them.
        self._settings: Settings | None = None
        self._settings_version = 0
        self._retired: list[tuple[Runtime | None, Workshop | None, Witness | None]] = []
        self._drains = 0
        self._runtime_lock = threading.Lock()
        self.board: Board | None = None
        self.nodename = ""
        # A child forked while another thread held the lock would wait for it for ever.
        os.register_at_fork(after_in_child=self._start_anew)

    def _start_anew(self) -> None:
        self._runtime, self._workshop, self._runtime_lock = None, None, threading.Lock()
        self._retired, self._drains = [], 0

    @property
    def is_draining(self) -> bool:
        """Whether this process has mails in hand."""
        return self._drains > 0

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        """Results are of mails."""
        return self.subclass_with_self("mailworker.results:MailResult")  # type: ignore[arg-type] # a name will do

    @property
    def runtime(self) -> Runtime:
        """This process's tools; a forked child gets its own, because sockets must not be shared."""
        with self._runtime_lock:
            if self._runtime is None or self._runtime.pid != os.getpid():
                self._settings = self._settings or load_settings()
                self._runtime, self._workshop = Runtime(self._settings, self.ring), None
            return self._runtime

    @property
    def workshop(self) -> "Workshop":
        """This process's tools for delivering; only a worker ever asks."""
        from mailworker.workshop import Workshop  # noqa: PLC0415 - a web process must not pay for it

        runtime = self.runtime
        with self._runtime_lock:
            if self._workshop is None:
                self._witness = self._make_witness(runtime)
                self._workshop = Workshop(
                    runtime, get_exponential_backoff_interval, self.is_stopping, watcher=self._witness
                )
            return self._workshop

    def _make_witness(self, runtime: Runtime) -> "Witness":
        from mailworker.events import EventStream  # noqa: PLC0415 - only a worker ever asks
        from mailworker.signals import Herald  # noqa: PLC0415 - the same
        from mailworker.witness import Witness  # noqa: PLC0415 - the same

        per_second = runtime.settings.events.per_second
        events = EventStream(self, self.nodename, self.is_watched, runtime.keys, per_second)
        return Witness(events, Herald(runtime.keys, runtime.report))

    @property
    def witness(self) -> "Witness":
        """Whoever watches the mails of this process."""
        _ = self.workshop
        assert self._witness is not None  # noqa: S101 - made with the workshop
        return self._witness

    @contextmanager
    def working_with(self, runtime: Runtime) -> Iterator[None]:
        """Work with other tools for the time of a block, in this process."""
        before, self._runtime = self._runtime, runtime
        try:
            yield
        finally:
            self._runtime = before
            runtime.close()

    def forget_runtime(self) -> None:
        """Close this process's tools; the next use builds new ones from the settings as they are then."""
        with self._runtime_lock:
            self._retire()
            self._settings = None
        self._close_retired()

    def read_settings_again(self) -> None:
        """Go by the settings as they are now, in all processes of this worker. SettingsError: the old ones hold."""
        self._adopt(reloaded(self.runtime.settings))
        if self.board is not None:
            self.board.settings_changed()
            self._settings_version = self.board.settings_version

    def _follow_settings(self) -> None:
        """Before a drain: read the settings again if this worker's parent did."""
        if self.board is None or self._settings_version == self.board.settings_version:
            return
        self._settings_version = self.board.settings_version
        try:
            self._adopt(reloaded(self.runtime.settings))
        except SettingsError as error:
            logger.error("the settings changed again, and are refused; the old ones hold: %s", error)

    def _adopt(self, settings: Settings) -> None:
        """Work with new tools from the next drain on. Those of the drains under way are closed when none is left."""
        runtime = Runtime(settings, self.ring)
        with self._runtime_lock:
            self._retire()
            self._settings, self._runtime = settings, runtime
            is_idle = not self._drains
        if is_idle:
            self._close_retired()

    def _retire(self) -> None:
        self._retired.append((self._runtime, self._workshop, self._witness))
        self._runtime = self._workshop = self._witness = None

    def _close_retired(self) -> None:
        with self._runtime_lock:
            retired, self._retired = self._retired, []
        for runtime, workshop, witness in retired:
            if runtime is not None and runtime.pid == os.getpid():
                if workshop is not None:
                    workshop.close()
                if witness is not None:
                    witness.close()
                runtime.close()

    def share_board(self, nodename: str = "") -> None:
        """Make what a worker's parent, of this name, shares with the children it will fork."""
        self.board = Board()
        self.nodename = nodename

    def is_watched(self) -> bool:
        """Whether this worker sends events."""
        return self.board is not None and self.board.is_watched

    def stop_drains(self) -> None:
        """Let all drains of this worker end after the mail in hand. No signal is needed, and no lock taken."""
        if self.board is not None:
            self.board.ask_to_stop()

    def cut_drains(self) -> None:
        """Let the processes obey when they are told to end, mails in hand or not."""
        if self.board is not None:
            self.board.ask_to_cut()

    def is_stopping(self) -> bool:
        """Whether this worker has been asked to stop."""
        return self.board is not None and self.board.is_stopping

    def is_cut(self) -> bool:
        """Whether its processes are to end even with mails in hand."""
        return self.board is not None and self.board.is_cut

    def ring(self, lane: str) -> bool:
        """Publish a bell; False if the broker does not take it. The mails are safe: the watch rings again."""
        try:
            self.send_task(DRAIN, (lane,), queue=queue_of(lane), ignore_result=True)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            logger.warning("the bell of lane %s was not published (%s)", lane, type(error).__name__)
            return False
        return True

    def cancel(self, mail_id: str) -> str:
        """End a mail that nobody is sending: "cancelled", or the state that forbids it, or "unknown"."""
        state = self.runtime.cancel(mail_id)
        if state == "cancelled" and self.runtime.settings.events.sent:
            from mailworker.events import publish_revoked  # noqa: PLC0415 - few ever ask

            publish_revoked(self, mail_id)
        return state

    def ask_to_tell(self, lane: str) -> None:
        """Have the ends of a lane's mails told by one of its workers. If that fails the watch asks again."""
        try:
            self.send_task(TELL, (lane,), queue=queue_of(lane), ignore_result=True)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            logger.warning("the callbacks of lane %s wait for the broker (%s)", lane, type(error).__name__)

    def call_back(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Publish another app's task by its name, on the queue that it named. Raises what the broker's client does."""
        there = dict(options)
        if not there.get("exchange"):
            # By name, and never declared anew: the queue is somebody else's.
            name = there["queue"]
            there["queue"] = Queue(name, Exchange(""), routing_key=name, no_declare=True)
        url = self.runtime.settings.broker.callback_url
        if url is None:
            self.send_task(task, list(args), dict(kwargs), **there)
            return
        with producers[self.connection_for_write(url.get_secret_value())].acquire(block=True) as producer:
            self.send_task(task, list(args), dict(kwargs), producer=producer, **there)

    @contextmanager
    def draining(self) -> Iterator[None]:
        """Tell the parent, and whoever signals this process, that mails are in hand."""
        self._follow_settings()
        with self._runtime_lock:
            self._drains += 1
        if self.board is not None:
            self.board.drain_began()
        try:
            yield
        finally:
            with self._runtime_lock:
                self._drains -= 1
                is_last = not self._drains
            if is_last and self._retired:
                self._close_retired()
            if self.board is not None:
                self.board.drain_ended()


def configuration() -> dict[str, Any]:
    """What Celery is told, from the settings of the moment."""
    settings = load_settings()
    queues = [queue(queue_of(lane), "mail", settings) for lane in settings.lanes]
    foreign = settings.broker.foreign_queue
    if foreign:
        # As apps without this package declare it.
        queues.append(Queue(foreign, Exchange(foreign), routing_key=foreign))
    return {
        "broker_transport_options": {},
        "broker_use_ssl": False,
        **broker_options(settings),
        "task_queues": queues,
        "task_default_queue": queue_of("default"),
        "task_default_exchange": "mail",
        "task_default_routing_key": queue_of("default"),
        # The ledger is the acknowledgement and the result: nothing of Celery's own is stored.
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_time_limit": settings.worker.time_limit_seconds,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_store_errors_even_if_ignored": False,
        # Each bell popped by a worker that then dies is late by a bell's time to live; hold few of them.
        "worker_prefetch_multiplier": 1,
        "worker_pool": "mailworker.prefork:TaskPool",
        # How long SIGQUIT gives the mails in hand; drains are told to stop at its beginning.
        "worker_soft_shutdown_timeout": settings.worker.soft_shutdown_seconds,
        "worker_consumer": "mailworker.consumer:PatientConsumer",
        # It would cancel what is acknowledged late, and nothing is; False would warn at each loss.
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        # A worker must outlive any outage of its broker, at start-up too.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_connection_timeout": settings.broker.timeout_seconds,
        # One quick second try, for a connection that went stale in the pool; then the watch's turn.
        "task_publish_retry": True,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
    }


app = MailApp(
    "mailworker",
    include=["mailworker.tasks", "mailworker.watch"],
    backend="mailworker.results:LedgerBackend",
    set_as_current=False,
    # Celery's fixup for Django would import the worker's side into every web process; nothing here needs Django.
    fixups=(),
)
app.add_defaults(configuration)
