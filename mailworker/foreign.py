"""Messages on our queues that are not ours: kept, never executed, never dropped, never printed.

Celery discards a message for a task it does not know and logs its body. A queue shared by mistake with another app
would so lose that app's work; here it is moved, whole, to the queue `mailworker.foreign`, where its owner finds it.
"""

from typing import Any

from celery.worker.consumer import Consumer
from kombu import Exchange, Queue

from mailworker.celery import FOREIGN_QUEUE
from mailworker.log import logger


class MailConsumer(Consumer):
    """Celery's consumer, with a safe place for what it cannot run."""

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Keep a message that is no task message."""
        del body
        self._put_aside(message, "not a task message")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a message for a task that is not registered here."""
        del body, exc
        self._put_aside(message, f"a task not known here: {str(message.headers.get('task'))[:100]!r}")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a task message that cannot be read."""
        del body
        self._put_aside(message, f"an unreadable task message ({type(exc).__name__})")

    def _put_aside(self, message: Any, why: str) -> None:
        queue = Queue(FOREIGN_QUEUE, Exchange(FOREIGN_QUEUE), routing_key=FOREIGN_QUEUE)
        with self.app.producer_or_acquire() as producer:
            producer.publish(
                message.body,
                exchange=queue.exchange,
                routing_key=queue.routing_key,
                declare=[queue],
                headers=message.headers,
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                correlation_id=message.properties.get("correlation_id"),
                reply_to=message.properties.get("reply_to"),
                retry=True,
            )
        message.ack_log_error(logger, self.connection_errors)  # type: ignore[attr-defined] # set by Consumer.__init__
        logger.error("put aside in queue %s: %s", FOREIGN_QUEUE, why)
