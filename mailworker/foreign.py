"""Messages on our queues that are not ours: kept as strays, and handed back when a person says where they belong.

Celery discards a message for a task it does not know and logs its body. A queue shared by mistake with another app
would so lose that app's work.

    from mailworker import foreign

    for stray in foreign.strays():
        print(stray.id, stray.message)
    foreign.hand_back(["1f0c9a7be2d45a60"], queue="celery")

Law: a stray is published before it is forgotten: whoever is killed in between has handed it back, and may do it again.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kombu import Producer
from kombu.exceptions import KombuError, OperationalError
from kombu.serialization import dumps

from mailworker.celery import SEND_EMAIL, app
from mailworker.log import logger
from mailworker.options import RefusedError
from mailworker.strays import Message, Stray

_KEPT_PROPERTIES = ("correlation_id", "reply_to", "priority", "message_id", "type", "app_id")
_MOST_TASK = 100


class BrokerAwayError(Exception):
    """The broker did not take a message; the stray is still there."""


def keep(message: Any, reason: str) -> None:
    """Keep a message as kombu received it. Raises LedgerError."""
    headers = dict(message.headers or {})
    body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
    properties = {name: message.properties[name] for name in _KEPT_PROPERTIES if message.properties.get(name)}
    properties |= {"content_type": message.content_type, "content_encoding": message.content_encoding}
    queue = (message.delivery_info or {}).get("routing_key") or ""
    _keep(Message(queue, str(headers.get("task") or "")[:_MOST_TASK], reason, body, headers, properties))


def keep_raw(queue: str, item: bytes) -> None:
    """Keep what lay on a queue and is no message of a broker at all. Raises LedgerError."""
    properties = {"content_type": "application/data", "content_encoding": "binary"}
    _keep(Message(queue, "", "not a message", item, {}, properties))


def keep_task(queue: str, task_id: str, arguments: tuple[Any, Any], carried: Mapping[str, Any], reason: str) -> None:
    """Keep a message for `mailworker.send_email` that came as far as being run. Raises LedgerError.

    `carried`: callbacks and the like, as `send_task` takes them.
    """
    named = {"callbacks": carried["link"], "errbacks": carried["link_error"]}
    named |= {name: carried[name] for name in ("chain", "chord", "group_id", "group_index")}
    # Nothing of the arguments in the headers, where monitors would show it.
    task = app.amqp.as_task_v2(task_id, SEND_EMAIL, *arguments, argsrepr="…", kwargsrepr="…", **named)
    content_type, encoding, body = dumps(task.body, serializer="json")
    properties = {**task.properties, "content_type": content_type, "content_encoding": encoding}
    _keep(Message(queue, SEND_EMAIL, reason, body.encode(), task.headers, properties))


def strays() -> Iterator[Stray]:
    """Go through all that were kept, the oldest first."""
    return app.runtime.strays.all()


def hand_back(ids: Iterable[str], queue: str | None = None) -> int:
    """Publish strays on a queue, by default the one on which each was met, and forget them. Answers how many.

    A message for another app's task needs a `queue`: where it was met it would only go astray again. Raises LookupError
    for an id or a queue that is not there, RefusedError for what cannot be handed back; then nothing was.
    BrokerAwayError and LedgerError may come in the middle: those that were handed back are no strays any more.
    """
    wanted = list(dict.fromkeys(ids))
    found = app.runtime.strays.named(wanted)
    missing = [each for each in wanted if each not in found]
    if missing:
        raise LookupError(f"there is no stray {', '.join(missing)}")
    ready = [(stray_id, *_addressed(found[stray_id], queue)) for stray_id in wanted]
    try:
        with app.connection_for_write(transport_options={"confirm_publish": True}) as connection:
            connection.ensure_connection(max_retries=1, timeout=math.ceil(app.runtime.settings.broker.timeout_seconds))
            if connection.transport.driver_type == "amqp":
                _check_queues(connection, {where for _, where, _ in ready})
            producer = Producer(connection.default_channel)
            for stray_id, where, message in ready:
                producer.publish(
                    message.body, exchange="", routing_key=where, headers=dict(message.headers), **message.properties
                )
                app.runtime.strays.drop([stray_id])
    except (KombuError, OperationalError, OSError) as error:
        raise BrokerAwayError(
            f"the broker did not take it ({type(error).__name__}); what is left is still kept"
        ) from None
    return len(ready)


def drop(ids: Sequence[str]) -> int:
    """Forget strays for good. Answers how many there were."""
    return app.runtime.strays.drop(ids)


def _keep(message: Message) -> None:
    stray_id = app.runtime.strays.keep(message)
    logger.error(
        "a message on queue %s is not ours, and is kept as stray %s: %s", message.queue, stray_id, message.reason
    )


def _addressed(stray: Stray, queue: str | None) -> tuple[str, Message]:
    """Tell where a stray goes. Raises RefusedError."""
    if stray.message is None:
        raise RefusedError(f"stray {stray.id} does not open with the sealing keys configured here")
    if queue is None and stray.message.task != SEND_EMAIL:
        raise RefusedError(f"stray {stray.id} is for {stray.message.task or 'no task'}: name the queue of its own app")
    return queue or stray.message.queue, stray.message


def _check_queues(connection: Any, queues: Iterable[str]) -> None:
    """Raise LookupError for a queue that is not there: RabbitMQ would drop what is sent to it."""
    for queue in queues:
        try:
            with connection.channel() as channel:
                channel.queue_declare(queue, passive=True)
        except connection.channel_errors:
            raise LookupError(f"the broker has no queue {queue!r}") from None
