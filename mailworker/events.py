"""Celery's events, so that Flower shows each mail as a task `mailworker.send_email` with its states and retries.

Law: nothing is made unless somebody watches (`-E`), nothing is published by the thread that delivers, and never more
than `events.per_second` mails a second: of a flood a sample is shown, and the rest is counted.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import celery

from mailworker.courier import Courier
from mailworker.keys import lane_of
from mailworker.log import logger
from mailworker.sealing import KeyRing
from mailworker.sights import Sight

SEND_EMAIL = "mailworker.send_email"
_TASKS = "task"
# A broker that does not answer is left alone for so long; events of that time are lost.
_AGAIN_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_MOST_SHOWN = 10_000
_MOST_BUFFERED = 1_000_000


class Sampling:
    """Decides which mails are shown: `per_second` of them, by a bucket that holds a second's worth.

    A mail that was tried before has been shown, perhaps: it may overdraw the bucket by as much again.
    """

    def __init__(self, per_second: int, now: Callable[[], float] = time.monotonic) -> None:
        self.hidden = 0
        self._rate = per_second
        self._now = now
        self._left = float(per_second)
        self._since = now()

    def takes(self, *, is_retry: bool) -> bool:
        """Whether one more mail is shown; counts those that are not."""
        now = self._now()
        self._left = min(self._rate, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < (1 - self._rate if is_retry else 1):
            self.hidden += 1
            return False
        self._left -= 1
        return True


class EventStream:
    """A process's events about mails: one broker connection, opened at the first and kept."""

    def __init__(
        self, app: celery.Celery, hostname: str, is_watched: Callable[[], bool], keys: KeyRing, per_second: int
    ) -> None:
        self._app = app
        self._hostname = hostname
        self._is_watched = is_watched
        self._keys = keys
        self._sampling = Sampling(per_second)
        self._shown: OrderedDict[str, float] = OrderedDict()
        self._courier = Courier("events")
        self._connection: Any = None
        self._dispatcher: Any = None
        self._blind_until = 0.0
        self._told_hidden = 0

    @property
    def is_watched(self) -> bool:
        """Whether the worker was told to send events; it may be told otherwise while it runs."""
        return self._is_watched()

    def claimed(self, sights: Iterable[Sight]) -> None:
        """Show mails as received and started."""
        shown = [sight for sight in sights if self._sampling.takes(is_retry=sight.attempts > 1)]
        for sight in shown:
            self._shown[sight.id] = sight.at
        while len(self._shown) > _MOST_SHOWN:
            self._shown.popitem(last=False)
        self._courier.hand(lambda: self._publish([event for sight in shown for event in self._beginning(sight)]))

    def settled(self, sights: Iterable[Sight]) -> None:
        """Show what became of the mails that were shown."""
        events = []
        for sight in sights:
            began = self._shown.pop(sight.id, None)
            if began is not None:
                events.append(_outcome(sight, sight.at - began))
        if events:
            self._courier.hand(lambda: self._publish(events))

    def ended(self, mails: Sequence[tuple[str, str]]) -> None:
        """Show mails, each an id and a state, that ended without an attempt."""
        at = time.time()
        events = [
            {"type": "task-failed", "timestamp": at, **_named(mail_id), **_failure(state)} for mail_id, state in mails
        ]
        self._courier.hand(lambda: self._publish(events))

    def close(self) -> None:
        """Publish what waits, within a moment, and close the connection."""
        self._courier.close(_CLOSE_SECONDS)
        self._hang_up()

    def _beginning(self, sight: Sight) -> Iterable[dict[str, Any]]:
        yield {
            "type": "task-received",
            "uuid": sight.id,
            "timestamp": sight.at,
            "name": SEND_EMAIL,
            "args": repr(tuple(self._addresses(sight))),
            "kwargs": repr({"lane": sight.lane}),
            "retries": sight.attempts - 1,
            "root_id": sight.id,
            "parent_id": None,
            "eta": None,
            "expires": None,
        }
        yield {"type": "task-started", "uuid": sight.id, "timestamp": sight.at}

    def _addresses(self, sight: Sight) -> Sequence[str]:
        return sight.addresses(self._keys)

    def _publish(self, events: Sequence[dict[str, Any]]) -> None:
        hidden = self._sampling.hidden - self._told_hidden
        if (not events and not hidden) or time.monotonic() < self._blind_until:
            return
        try:
            dispatcher = self._dispatcher or self._dial()
            for event in events:
                dispatcher.send(**event)
            dispatcher.flush(errors=False)
            if hidden:
                dispatcher.send("mail-hidden", count=hidden)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            logger.warning("events are lost: the broker does not take them (%s)", type(error).__name__)
            self._blind_until = time.monotonic() + _AGAIN_SECONDS
            self._hang_up()
            return
        self._told_hidden += hidden

    def _dial(self) -> Any:
        self._connection = self._app.connection_for_write()
        # Buffered as a group, a window's events are one message.
        self._dispatcher = self._app.events.Dispatcher(
            self._connection,
            hostname=self._hostname,
            buffer_while_offline=False,
            buffer_group={_TASKS},
            buffer_limit=_MOST_BUFFERED,
        )
        return self._dispatcher

    def _hang_up(self) -> None:
        connection, self._connection, self._dispatcher = self._connection, None, None
        if connection is not None:
            connection.release()


def _outcome(sight: Sight, runtime: float) -> dict[str, Any]:
    event: dict[str, Any] = {"uuid": sight.id, "timestamp": sight.at}
    if sight.state == "sent":
        return {**event, "type": "task-succeeded", "result": "'sent'", "runtime": runtime}
    if sight.state in {"deferred", "fenced"}:
        why = sight.error or "the claim was lost"
        return {**event, "type": "task-retried", "exception": why, "traceback": ""}
    if sight.state == "cancelled":
        return {**event, "type": "task-revoked", "terminated": False, "signum": None, "expired": False}
    return {**event, "type": "task-failed", **_failure(sight.state, sight.error)}


def _failure(state: str, why: str = "") -> dict[str, str]:
    return {"exception": f"MailFailedError({f'{state}: {why}' if why else state!r})", "traceback": ""}


def _named(mail_id: str) -> dict[str, str]:
    """Name a mail in an event that may be the first of it."""
    return {"uuid": mail_id, "name": SEND_EMAIL, "kwargs": repr({"lane": lane_of(mail_id)})}


def publish_sent(app: celery.Celery, mail_ids: Sequence[str], most: int) -> None:
    """Show mails as sent to the queue, by the process that accepted them; of many only the first `most`."""
    try:
        with app.producer_or_acquire() as producer:
            dispatcher = app.events.Dispatcher(
                producer.connection,
                channel=producer.channel,
                buffer_while_offline=False,
                buffer_group={_TASKS},
                buffer_limit=_MOST_BUFFERED,
            )
            for mail_id in mail_ids[:most]:
                dispatcher.send("task-sent", args="('<email>',)", **_named(mail_id))
            dispatcher.flush(errors=False)
    except Exception as error:  # noqa: BLE001 - whatever the broker's client raises; the mails are accepted
        logger.warning("events are lost: the broker does not take them (%s)", type(error).__name__)


def publish_revoked(app: celery.Celery, mail_id: str) -> None:
    """Show a mail as revoked, by the process that cancelled it."""
    try:
        with app.producer_or_acquire() as producer:
            dispatcher = app.events.Dispatcher(
                producer.connection, channel=producer.channel, buffer_while_offline=False
            )
            dispatcher.send("task-revoked", terminated=False, signum=None, expired=False, **_named(mail_id))
    except Exception as error:  # noqa: BLE001 - as above
        logger.warning("events are lost: the broker does not take them (%s)", type(error).__name__)
