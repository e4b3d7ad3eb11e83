"""Somebody's own Celery app: it knows nothing of mailworker's worker, and writes down what it is called with."""

import json
import os
from typing import Any

import redis
from celery import Celery

URL = os.environ.get("SHOP_URL", "redis://localhost:6379/1")
DIARY = "shop:diary"

app = Celery("shop", broker=URL, backend=URL.replace("unix://", "redis+socket://"), set_as_current=False)
if URL.startswith("unix://"):
    app.conf.broker_url = URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
    app.conf.result_backend = app.conf.broker_url
app.conf.update(task_default_queue="shop", broker_transport_options={"ack_emulation": False})


def _note(what: str, *said: Any) -> None:
    with redis.Redis.from_url(URL) as client:
        client.rpush(DIARY, json.dumps([what, *said]))


@app.task(name="shop.delivered")
def delivered(report: Any, order: str) -> str:
    """Called with the report of a mail."""
    _note("delivered", report["id"], report["state"], order)
    return order


@app.task(name="shop.failed")
def failed(mail_id: str, order: str) -> None:
    """Called with the id of a mail."""
    _note("failed", mail_id, order)


@app.task(name="shop.summed")
def summed(reports: list[Any]) -> int:
    """Called with the reports of a chord."""
    _note("summed", [report["id"] for report in reports])
    return len(reports)


@app.task(name="shop.noted", bind=True)
def noted(self: Any, *said: Any) -> list[Any]:
    """Called with whatever."""
    _note("noted", *said, self.request.id)
    return list(said)
