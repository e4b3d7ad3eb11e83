"""What a worker does besides draining: the watch over the lanes, and orderly starts and stops of its processes.

Law: the watch repairs, it never delivers. Everything it does may be done by several workers at once, or late.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import Any

from celery import bootsteps, signals

from mailworker.celery import GREEN_POOL_REFUSED, GREEN_POOLS, app, queue_of
from mailworker.ledger import Ledger, LedgerError, Sweep
from mailworker.log import logger
from mailworker.pickup import DEFAULT_QUEUE, Pickup
from mailworker.prefork import TaskPool
from mailworker.pulse import Pulse
from mailworker.sentry import report_to_sentry
from mailworker.settings import SettingsError

# So often it is looked for claims of the dead, at the start and after each death: a claim may still be on its way.
_LOOKS = 2


class Lookout:
    """Moves due mails to ready, frees dead claims and rings missing bells, in the lanes that a worker serves.

    `lanes`: for each lane, whether mails in doubt are held. Times in seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        lanes: Mapping[str, bool],
        ring: Callable[[str], bool],
        lease_seconds: float,
        after_sweep: Callable[[str, Sweep], object] = lambda _lane, _sweep: None,
    ) -> None:
        self._ledger = ledger
        self._lanes = lanes
        self._ring = ring
        self._after_sweep = after_sweep
        self._lease_seconds = lease_seconds
        self._blind_until = 0.0

    def begin(self) -> None:
        """End the pauses of earlier failures: whoever starts a worker may have mended what they were for."""
        for lane in self._lanes:
            try:
                if self._ledger.pauses.resume(lane):
                    logger.warning("lane %s was paused; its relay is tried again now", lane)
            except LedgerError as error:
                logger.warning("the watch cannot reach the ledger: %s", error)
                return

    def look(self) -> bool:
        """Sweep each lane once. False: the ledger is out of reach, and looked for again at the next round."""
        try:
            for lane, is_held in self._lanes.items():
                self._sweep(lane, is_held=is_held)
        except LedgerError as error:
            # Nobody could renew either. Whoever lives does so three times a lease, and gets that long to be heard.
            self._blind_until = time.monotonic() + self._lease_seconds / 2
            logger.warning("the watch cannot reach the ledger: %s", error)
            return False
        try:
            if self._ledger.upkeep.rewrite():
                logger.warning("the ledger's server had no room for its file, and now writes it anew")
        except LedgerError as error:
            logger.warning("the ledger's server had no room for its file, and it must be rewritten by hand: %s", error)
        return True

    def bury(self, is_gone: Callable[[str], bool], *, is_first: bool) -> bool:
        """Free at once what processes had claimed that are gone, by their names. False: the ledger is out of reach.

        `is_first`: the bells that they may have taken along are rung anew.
        """
        try:
            for lane, is_held in self._lanes.items():
                if is_first and self._ledger.bells.hand_on(lane):
                    self._ring(lane)
                sweep = self._ledger.departed.bury(lane, is_gone, hold=is_held)
                self._note(lane, sweep, "of a process that has ended")
        except LedgerError as error:
            logger.warning("the watch cannot reach the ledger: %s", error)
            return False
        return True

    def _sweep(self, lane: str, *, is_held: bool) -> None:
        is_waiting = True
        while is_waiting:
            sweep = self._ledger.sweep(lane, hold=is_held, recover=time.monotonic() >= self._blind_until)
            is_waiting = sweep.more
            self._note(lane, sweep, "of a dead or stalled worker")

    def _note(self, lane: str, sweep: Sweep, whose: str) -> None:
        if sweep.bell_due:
            self._ring(lane)
        if sweep.recovered:
            logger.warning("lane %s: %d mails %s are ready again", lane, sweep.recovered, whose)
        self._after_sweep(lane, sweep)


class Watch(bootsteps.StartStopStep):
    """The lookout's timer and the worker's pulse, in every worker's parent process."""

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._entry: Any = None
        self._lookout: Lookout | None = None
        self._pulse: Pulse | None = None
        self._pickup: Pickup | None = None
        self._pool: Any = None
        self._worker: Any = None
        # While it waits for the broker, the parent hears of nothing that its pool has done.
        self.is_waiting = False
        self._must_reload = False
        # How often it is still to be looked for claims of processes that are gone.
        self._burials = _LOOKS

    def start(self, worker: Any) -> None:
        """Look at once, then again and again."""
        settings = app.runtime.settings
        self._pool = worker.pool
        self._worker = worker
        if app.board is not None:
            app.board.is_watched = bool(worker.task_events)
        lanes = self._stand_lookout()
        foreign = settings.broker.foreign_queue
        is_list = app.connection_for_write().transport.driver_type == "redis"
        if is_list and foreign in app.amqp.queues.consume_from and foreign != DEFAULT_QUEUE:
            self._pickup = Pickup(app.connection_or_acquire, foreign)
        if app.board is not None:
            self._pulse = Pulse(worker, app.board, app.workshop.roll, lanes, settings.worker.watch_seconds)
        worker.mail_watch = self
        if isinstance(worker.pool, TaskPool):
            worker.pool.call_at_death(self._hear_of_death)
        _heed_signals_at_once()
        self._heed_hangup()
        worker.timer.call_after(0, self._begin)
        worker.timer.call_after(0, self.turn)
        self._entry = worker.timer.call_repeatedly(settings.worker.watch_seconds, self.turn)

    def _stand_lookout(self) -> list[str]:
        """Make the lookout from the settings of the moment; give the lanes that it watches."""
        settings = app.runtime.settings
        # A bell taken for a lane that this worker does not serve would be missed by those who do.
        lanes = {
            name: lane.in_doubt == "hold"
            for name, lane in settings.lanes.items()
            if queue_of(name) in app.amqp.queues.consume_from
        }
        self._lookout = Lookout(
            app.workshop.watched_ledger, lanes, self._ring, settings.worker.lease_seconds, self._after_sweep
        )
        return list(lanes)

    def _begin(self) -> None:
        """Have tried again what was left alone: whoever starts a worker, or changes settings, may have mended it."""
        if self._lookout is not None:
            self._lookout.begin()
        app.workshop.retry_relays()

    def _heed_hangup(self) -> None:
        """Read the settings again at SIGHUP; where it means that the terminal is gone, stop."""
        has_terminal = _is_terminal()

        def heed(number: int, frame: FrameType | None) -> None:
            del number, frame
            if has_terminal and not _is_terminal():
                signal.raise_signal(signal.SIGTERM)
            self._must_reload = True

        signal.signal(signal.SIGHUP, heed)

    def _reload(self) -> None:
        self._must_reload = False
        try:
            app.read_settings_again()
        except SettingsError as error:
            for fault in str(error).splitlines():
                logger.error("the new settings are refused: %s", fault)
            logger.error("the old settings stay in force")
            return
        self._stand_lookout()
        if self._pulse is not None:
            self._pulse.roll = app.workshop.roll
        self._begin()
        logger.warning("the settings were read again, and hold from the next drain on")

    def turn(self) -> None:
        """One round."""
        if self._must_reload:
            self._reload()
        self._follow_events()
        if self._lookout is not None and self._lookout.look():
            self._bury()
        if self._pickup is not None and not self.is_waiting:
            self._pickup.look()
        if self._pulse is not None:
            self._pulse.give()

    def _hear_of_death(self) -> None:
        """Leave it to the timer: the pool is to be made whole first."""
        self._burials = _LOOKS
        self._worker.timer.call_after(0, self._bury)

    def _bury(self) -> None:
        if not self._burials or self._lookout is None:
            return
        if self._lookout.bury(app.workshop.presence.is_gone, is_first=self._burials == _LOOKS):
            self._burials -= 1

    def _follow_events(self) -> None:
        """Let mails be shown while tasks are: remote control may change it."""
        dispatcher = getattr(getattr(self._worker, "consumer", None), "event_dispatcher", None)
        if app.board is not None and dispatcher is not None:
            app.board.is_watched = dispatcher.enabled and (not dispatcher.groups or "task" in dispatcher.groups)

    def stop(self, worker: Any) -> None:
        """Look no more."""
        del worker
        if self._entry is not None:
            self._entry.cancel()
        if self._pulse is not None:
            self._pulse.leave()

    def _after_sweep(self, lane: str, sweep: Sweep) -> None:
        """Let watchers see what ended, and have told what is untold, by one whom the broker reaches.

        Raises LedgerError.
        """
        expired = [(mail_id, "expired") for mail_id in sweep.expired]
        app.witness.ended([*expired, *((mail_id, "in_doubt") for mail_id in sweep.in_doubt)])
        if not self.is_waiting and app.workshop.watched_ledger.outbox.ring(lane):
            app.ask_to_tell(lane)

    def _ring(self, lane: str) -> bool:
        """Publish a bell; where nobody takes it, have the lane drained here."""
        is_heard = not self.is_waiting and app.ring(lane)
        if self._pulse is not None:
            self._pulse.rung(lane, is_heard=is_heard)
        if self.is_waiting:
            stand_in(lane)
        elif not is_heard:
            self._pool.apply_async(stand_in, (lane,))
        return is_heard


def stand_in(lane: str) -> None:
    """Drain a lane for one slice although no bell came: the broker is away, or full.

    A full ledger that is its own broker takes no bells, and only sending makes room in it.
    """
    try:
        with app.draining():
            app.workshop.drain(lane, ring=lambda _: True).run()
    except LedgerError as error:
        logger.warning("lane %s was not drained: %s", lane, error)


def _is_terminal() -> bool:
    """Whether somebody sits in front of this worker."""
    try:
        return os.isatty(0)
    except OSError:
        return False


def _heed_signals_at_once() -> None:
    """Tell the drains before Celery does anything else: its cold shutdown waits for them first."""
    for number in (signal.SIGTERM, signal.SIGQUIT):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, partial(_heed, before))


def _heed(before: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
    app.stop_drains()
    before(number, frame)


@signals.worker_init.connect
def _prepare_parent(sender: Any, **_: Any) -> None:
    """Before the fork: stop on what could deliver nothing, and make what parent and children share."""
    pool = sender.pool_cls.__module__.rpartition(".")[2]
    if pool in GREEN_POOLS:
        sys.stderr.write(f"{GREEN_POOL_REFUSED}\n")
        raise SystemExit(2)
    app.share_board(sender.hostname)
    try:
        app.workshop.check_relays()
        report_to_sentry(app.runtime.settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    # At DEBUG it prints the arguments of tasks, and a foreign app's arguments are mails.
    logging.getLogger("celery.pool").setLevel(logging.INFO)


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
