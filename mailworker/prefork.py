"""The pool of processes: Celery's own, whose children know a signal that is meant for them from one that is not.

Supervisors that signal the whole process group (honcho, systemd's default) reach children too, while the parent, which
got the signal as well, is about to stop them in order. A child that obeyed at once would leave mails on the wire, and
take a bell with it that it had just been given.
"""

import signal
import time
from types import FrameType

import billiard.pool
from celery.concurrency import asynpool, prefork

from mailworker.celery import app

# How long an idle child waits to hear whether all are stopping, or it alone is to go (a pool that shrinks).
_HEARING_SECONDS = 0.5


class _Obedience:
    """What both of Celery's kinds of children become."""

    def on_loop_start(self, pid: int) -> None:
        """Take over the signals that end a process, when billiard has set them up."""
        for number in (signal.SIGTERM, signal.SIGQUIT):
            obey = signal.getsignal(number)
            if callable(obey):
                signal.signal(number, _Hearing(obey))
        super().on_loop_start(pid)  # type: ignore[misc] # a mixin: the next in line has it


class _Child(_Obedience, asynpool.Worker):
    """A process of the pool that an event loop feeds."""


class _BlockingChild(_Obedience, billiard.pool.Worker):
    """A process of the pool that threads feed."""


class _Hearing:
    """A signal handler that first finds out what is meant."""

    def __init__(self, obey: object) -> None:
        self._obey = obey

    def __call__(self, number: int, frame: FrameType | None) -> None:
        until = time.monotonic() + _HEARING_SECONDS
        while not app.is_cut():
            # The parent lets a drain end after the mails in hand, and ends an idle child when all is collected.
            if app.is_draining or app.is_stopping():
                return
            if time.monotonic() >= until:
                break
            time.sleep(0.01)
        self._obey(number, frame)  # type: ignore[operator] # checked by whoever made this


class _Pool(asynpool.AsynPool):
    Worker = _Child


class _BlockingPool(billiard.pool.Pool):
    Worker = _BlockingChild


class TaskPool(prefork.TaskPool):
    """What `-P prefork` means here."""

    Pool = _Pool
    BlockingPool = _BlockingPool
