"""The pool of processes: Celery's own, whose children know a signal that is meant for them from one that is not.

Supervisors that signal the whole process group (honcho, systemd's default) reach children too, while the parent, which
got the signal as well, is about to stop them in order. A child that obeyed at once would leave mails on the wire, and
take a bell with it that it had just been given.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import billiard.pool
from celery.concurrency import asynpool, prefork

from mailworker.celery import app

# How long an idle child waits to hear whether all are stopping, or it alone is to go (a pool that shrinks).
_HEARING_SECONDS = 0.5
# What a child ends with that was told to, or has done as many tasks as it may.
_ORDERLY = frozenset({os.EX_OK, billiard.pool.EX_RECYCLE})
# How often a child looks whether its parent lives.
_ORPHAN_SECONDS = 1.0


class _Obedience:
    """What both of Celery's kinds of children become."""

    def on_loop_start(self, pid: int) -> None:
        """Take over the signals that end a process, when billiard has set them up."""
        for number in (signal.SIGTERM, signal.SIGQUIT):
            obey = signal.getsignal(number)
            if callable(obey):
                signal.signal(number, _Hearing(obey))
        # It is for the parent, which reads the settings again, and tells by the board.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # By the board, which was made before the fork: the parent may be gone already.
        parent = app.board.owner if app.board is not None else os.getppid()
        threading.Thread(target=end_with_parent, args=(parent,), name="mailworker-orphan", daemon=True).start()
        super().on_loop_start(pid)  # type: ignore[misc] # a mixin: the next in line has it


def end_with_parent(parent: int) -> None:
    """End this process, between two drains, when its parent was killed.

    A pool's processes wait for work on pipes of which they may hold each other's ends open: they would never hear it.
    """
    while os.getppid() == parent:
        time.sleep(_ORPHAN_SECONDS)
    app.stop_drains()
    while app.is_draining:
        time.sleep(_ORPHAN_SECONDS)
    os._exit(0)


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


class _Bereft:
    """What both of Celery's kinds of pools become: they tell when a child has ended that was not to."""

    on_death: Callable[[], object] | None = None

    def _join_exited_workers(self, shutdown: bool = False) -> list[int]:  # noqa: FBT001, FBT002 - as billiard calls it
        codes: list[int] = super()._join_exited_workers(shutdown)  # type: ignore[misc] # a mixin, as above
        if self.on_death is not None and set(codes) - _ORDERLY:
            self.on_death()
        return codes


class _Pool(_Bereft, asynpool.AsynPool):
    Worker = _Child


class _BlockingPool(_Bereft, billiard.pool.Pool):
    Worker = _BlockingChild


class TaskPool(prefork.TaskPool):
    """What `-P prefork` means here."""

    Pool = _Pool
    BlockingPool = _BlockingPool

    def call_at_death(self, hear: Callable[[], object]) -> None:
        """Call this, in the thread that looks after the pool, when children are gone that were killed or broke down."""
        self._pool.on_death = hear  # type: ignore[attr-defined] # made when the pool starts
