"""Celery and smtplib: one task a mail, the whole message as its argument, a connection that each pool process keeps.

`python -m bench.rivals.naive WHAT ...` hands over tasks, as `bench.producer` does mails.
"""

import json
import os
import smtplib
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from celery import Celery

from bench.contenders import RECIPIENT, SENDER, a_content
from bench.producer import offered, timed

QUEUE = "naive"

app = Celery("naive", broker=os.environ.get("BENCH_BROKER", ""), set_as_current=False)
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    # The safest that Celery knows: a task is forgotten when it is done, not when it is begun.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
)
_kept: dict[int, smtplib.SMTP] = {}


@app.task(name="naive.send")
def send(message: str) -> None:
    """Send one mail over this process's connection."""
    pid = os.getpid()
    if pid not in _kept:
        _kept[pid] = smtplib.SMTP("127.0.0.1", int(os.environ["BENCH_PORT"]), "bench.test")
        _kept[pid].ehlo()
    _kept[pid].sendmail(SENDER, [RECIPIENT], message)


@app.task(name="naive.nothing")
def nothing() -> None:
    """Do nothing: what a task costs at least."""


def fill(mails: int) -> dict[str, float]:
    """Hand over mails."""
    text = a_content().data.decode()
    return timed(lambda: send.delay(text), mails - 10)


def offer(rate: int, seconds: int) -> dict[str, float]:
    """Hand over a mail every so often."""
    text = a_content().data.decode()
    return offered(lambda enqueued: send.delay(f"X-Enq: {enqueued}\r\n{text}"), rate, seconds)


def delay(calls: int) -> dict[str, float]:
    """Hand over empty tasks to a queue that nobody serves."""
    return timed(lambda: nothing.apply_async(queue="nobody"), calls)


def hold() -> dict[str, float]:
    """Have the worker take no more tasks."""
    return _told("cancel_consumer")


def go() -> dict[str, float]:
    """Have the worker take tasks."""
    return _told("add_consumer")


def _told(what: str) -> dict[str, float]:
    begun = time.perf_counter()
    answers: Any = getattr(app.control, what)(QUEUE, reply=True, timeout=20, limit=1)
    if not answers:
        raise RuntimeError("no worker answered")
    return {"seconds": time.perf_counter() - begun}


WAYS: Mapping[str, Callable[..., Mapping[str, float]]] = MappingProxyType(
    {"fill": fill, "offer": offer, "delay": delay, "hold": hold, "go": go}
)

if __name__ == "__main__":
    sys.stdout.write(json.dumps(dict(WAYS[sys.argv[1]](*map(int, sys.argv[2:])))))
