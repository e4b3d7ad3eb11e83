"""Somebody's receivers, for a worker that is started with `--include tests.system.receivers`."""

import json
import os
import threading
from typing import Any

import redis

from mailworker.signals import mail_bounced, mail_deferred, mail_delivered, mail_in_doubt


def _note(signal: Any, mail_id: str, state: str, attempts: int, recipients: Any, **_: Any) -> None:
    told = [[one.address, one.state, one.code] for one in recipients]
    with redis.Redis.from_url(os.environ["MAILWORKER_REDIS__URL"]) as client:
        client.rpush("heard", json.dumps([signal.name, mail_id, state, attempts, told]))


for _signal in (mail_delivered, mail_deferred, mail_bounced, mail_in_doubt):
    _signal.connect(_note, weak=False)


@mail_delivered.connect
def _raise(**_: Any) -> None:
    raise RuntimeError("a receiver's own mistake")


@mail_delivered.connect(sender="bulk")
def _stall(**_: Any) -> None:
    threading.Event().wait(3600)
