"""Mails in `celery`, the queue of every app that names none: `send_task("mailworker.send_email", ...)` goes there.

A worker that read that queue would take other apps' tasks as well. With Redis as the broker a queue is a list, in which
ours can be found and moved to a queue that workers read; RabbitMQ has no such thing.

Law: a message is in one of the two lists at any moment, and one that is for another task is never touched.
"""

import base64
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from kombu import Connection

from mailworker.log import logger
from mailworker.scripts import load_script

DEFAULT_QUEUE = "celery"

_TASK = "mailworker.send_email"
# Task protocol 1 names the task in the body alone, which is base64 of JSON: so Celery begins it. 33 octets are 44 whole
# characters, whatever follows.
_EARLY = base64.b64encode(b'{"task": "%b",' % _TASK.encode()).decode()
_ASKED = (_TASK, 100, _EARLY)
_MOST_ROUNDS = 20


class Pickup:
    """Moves what is for `mailworker.send_email` from `celery` to `queue`. `connect` lends a connection to a Redis."""

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]], queue: str) -> None:
        self._connect = connect
        self._queue = queue
        self._script = load_script("broker/pick").text
        self._has_failed = False

    def look(self) -> int:
        """Move what is there, and answer how many; 0 where the broker is out of reach.

        Of a long list a hundred are looked at from either end, and more as long as all of them are ours.
        """
        try:
            with self._connect() as connection:
                moved = self._pick(connection)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            level = logging.DEBUG if self._has_failed else logging.WARNING
            logger.log(level, "queue %s was not looked through (%s)", DEFAULT_QUEUE, type(error).__name__)
            self._has_failed = True
            return 0
        self._has_failed = False
        return moved

    def _pick(self, connection: Connection) -> int:
        channel: Any = connection.default_channel
        names = [
            f"{channel.global_keyprefix}{channel._q_for_pri(queue, priority)}"  # noqa: SLF001 - what kombu calls a list
            for queue in (DEFAULT_QUEUE, self._queue)
            for priority in channel.priority_steps
        ]
        moved = 0
        with channel.conn_or_acquire() as client:
            for _ in range(_MOST_ROUNDS):
                found, again = client.execute_command("EVAL", self._script, len(names), *names, *_ASKED)
                moved += int(found)
                if not again:
                    break
        return moved
