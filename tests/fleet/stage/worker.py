"""One worker of a fleet's stage: all that a worker process of ours is but for Celery; a list in Redis carries bells."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from celery.utils.time import get_exponential_backoff_interval
from redis import RedisError

from mailworker import doorway
from mailworker.fleet import Bucket, Grant, Limiter
from mailworker.ledger import LedgerError
from mailworker.reach import connect
from mailworker.runtime import Runtime
from mailworker.settings import Settings
from mailworker.watch import Lookout
from mailworker.workshop import Workshop

BELLS = "stage:bells"
_A_BELL_SECONDS = 1.0
_WATCH_SECONDS = 1.0
_AGAIN_SECONDS = 0.2


class Noted(Limiter):
    """Writes down what it is granted of a relay's own limit; what it gives back, and how many ms it had it."""

    note: Callable[[str], object] = staticmethod(lambda line: None)

    def __init__(self, *how: Any) -> None:
        super().__init__(*how)
        self._since: dict[int, float] = {}

    def take(self, relay: str, items: int, *more: Any, **options: Any) -> Grant:
        grant = super().take(relay, items, *more, **options)
        if grant.slots and grant.granted:
            self._since[id(grant)] = time.monotonic()
            self.note(f"{relay} {grant.slots[0]} {grant.granted} 0\n")
        return grant

    def refund(self, grant: Grant, items: int, unused: Sequence[tuple[Bucket, int]]) -> None:
        # Asked for even where nothing is left: then the mails are gone.
        since = self._since.pop(id(grant), None)
        ms = 0 if since is None else round((time.monotonic() - since) * 1000)
        super().refund(grant, items, unused)
        if grant.slots:
            self.note(f"{grant.relay} {grant.slots[0]} {-items} {ms}\n")


class Worker:
    """`is_watch`: it drains nothing and looks after the lanes, as a worker's parent process does."""

    def __init__(self, number: int, settings: Settings, notes: Path, *, is_watch: bool) -> None:
        self._name = f"w{number}"
        named = {
            name: relay.model_copy(update={"local_hostname": f"{self._name}.test"})
            for name, relay in settings.relays.items()
        }
        self._settings = settings.model_copy(update={"relays": named})
        self._is_watch = is_watch
        self._stop = threading.Event()
        self._notes = notes

    def run(self) -> None:
        """Work until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        logging.basicConfig(
            filename=self._notes / f"{self._name}.log", format="%(asctime)s %(levelname)s %(message)s", force=True
        )
        logging.getLogger("mailworker").setLevel(logging.INFO)
        with (self._notes / f"{self._name}.grants").open("ab", buffering=0) as notes:
            Noted.note = staticmethod(lambda line: notes.write(line.encode()))
            doorway.Limiter = Noted
            self._bells = connect(self._settings.redis, 5.0)
            runtime = Runtime(self._settings, self._ring)
            workshop = Workshop(runtime, get_exponential_backoff_interval, self._stop.is_set)
            (self._watch if self._is_watch else self._drain)(workshop)
            workshop.close()

    def _ring(self, lane: str) -> bool:
        try:
            self._bells.lpush(BELLS, lane)
        except RedisError:
            return False
        return True

    def _drain(self, workshop: Workshop) -> None:
        while not self._stop.is_set():
            try:
                told: Any = self._bells.brpop([BELLS], timeout=_A_BELL_SECONDS)
                if told:
                    workshop.drain(told[1].decode()).run()
            except (RedisError, LedgerError):
                self._stop.wait(_AGAIN_SECONDS)

    def _watch(self, workshop: Workshop) -> None:
        lanes = dict.fromkeys(self._settings.lanes, False)
        lookout = Lookout(workshop.watched_ledger, lanes, self._ring, self._settings.worker.lease_seconds)
        while not self._stop.is_set():
            begun = time.monotonic()
            lookout.look()
            self._stop.wait(max(0.0, _WATCH_SECONDS - (time.monotonic() - begun)))


def be_worker(number: int, settings: Settings, notes: Path, *, is_watch: bool) -> None:
    """Be that worker in a process that was forked for it, and end the process."""
    code = 1
    try:
        Worker(number, settings, notes, is_watch=is_watch).run()
        code = 0
    finally:
        logging.shutdown()
        os._exit(code)
