"""What a worker does besides draining: the watch over the lanes, and orderly starts and stops of its processes.

Law: the watch repairs, it never delivers. Everything it does may be done by several workers at once, or late.
"""

import logging
import sys
from typing import Any

from celery import bootsteps, signals

from mailworker.celery import app, queue_of
from mailworker.ledger import LedgerError
from mailworker.log import logger
from mailworker.settings import SettingsError


class Watch(bootsteps.StartStopStep):
    """Moves due mails to ready, frees dead claims and rings missing bells, in every worker's parent process."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._entry: Any = None

    def start(self, worker: Any) -> None:
        """Look at once, then again and again."""
        seconds = app.runtime.settings.worker.watch_seconds
        worker.timer.call_after(0, look)
        self._entry = worker.timer.call_repeatedly(seconds, look)

    def stop(self, worker: Any) -> None:
        """Look no more."""
        del worker
        if self._entry is not None:
            self._entry.cancel()


def look() -> None:
    """Sweep each lane that this worker serves. A ledger out of reach is looked for again at the next round."""
    runtime = app.runtime
    served = app.amqp.queues.consume_from
    for lane, settings in runtime.settings.lanes.items():
        if queue_of(lane) not in served:
            continue  # a bell taken here would be missed by those who serve it
        try:
            is_waiting = True
            while is_waiting:
                sweep = runtime.watched_ledger.sweep(lane, hold=settings.in_doubt == "hold")
                is_waiting = sweep.more
                if sweep.bell_due:
                    app.ring(lane)
            if sweep.recovered:
                logger.warning("lane %s: %d mails of a dead or stalled worker are ready again", lane, sweep.recovered)
        except LedgerError as error:
            logger.warning("the watch cannot reach the ledger: %s", error)
            return


@signals.worker_init.connect
def _prepare_parent(**_: Any) -> None:
    """Before the fork: stop on settings that could deliver nothing, and make what parent and children share."""
    try:
        app.runtime.check_relays()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    app.share_stop_flag()
    # At DEBUG it prints the arguments of tasks, and a foreign app's arguments are mails.
    logging.getLogger("celery.pool").setLevel(logging.INFO)


@signals.worker_process_init.connect
def _prepare_child(**_: Any) -> None:
    app.is_pool_child = True


@signals.worker_process_shutdown.connect
def _close_child(**_: Any) -> None:
    app.forget_runtime()


@signals.worker_shutting_down.connect
def _stop_drains(**_: Any) -> None:
    """Runs in the parent's signal handler: a byte is written, nothing else."""
    app.stop_drains()


@signals.worker_shutdown.connect
def _close_parent(**_: Any) -> None:
    app.forget_runtime()


app.steps["worker"].add(Watch)
