"""With -E Celery's monitors show each mail as a task: its states, its retries, and nothing of what it says."""

import contextlib
import json
import threading
import time
from collections import Counter
from typing import Self

import pytest
from celery.events.state import State

from mailworker import Email, MailFailedError, app, send_email
from mailworker.events import Sampling
from mailworker.steering import Steering
from tests.system.conftest import wait_until
from tests.system.flower import Flower, flower_at

pytestmark = pytest.mark.system
NAME = "mailworker.send_email"


def email(to="marker.ann@example.org", subject="marker-subject") -> Email:
    return Email(from_="shop@example.com", to=to, subject=subject, text_body="marker-body")


class Monitor:
    """Celery's own receiver and State, as Flower has them."""

    def __init__(self) -> None:
        self.state = State()
        self.events: list[dict] = []
        self._connection = app.connection_for_read()
        self._receiver = app.events.Receiver(self._connection, handlers={"*": self._take})
        self._thread = threading.Thread(target=self._listen)

    def _hears(self) -> bool:
        """Whether it is subscribed already: it gets what is sent now."""
        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send("probe-sent")
        return any(event["type"] == "probe-sent" for event in self.events)

    def _take(self, event: dict) -> None:
        self.events.append(event)
        self.state.event(dict(event))

    def _listen(self) -> None:
        with contextlib.suppress(TimeoutError):
            self._receiver.capture(limit=None, timeout=60, wakeup=False)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(self._hears, "events are heard")
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.should_stop = True
        self._thread.join()
        self._connection.release()

    def types(self, mail_id: str) -> list[str]:
        return [event["type"].removeprefix("task-") for event in self.events if event.get("uuid") == mail_id]


@pytest.fixture
def monitor(post):
    with Monitor() as monitor:
        yield monitor


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_monitor_sees_each_mail_with_its_states_and_retries(post, monitor, pool):
    """NF-SEC-01."""
    post.worker("-E", "-P", pool, "-c", "2")
    wait_until(lambda: any(e["type"] == "worker-online" for e in monitor.events), "events are heard")
    good = send_email.delay(email())
    again = send_email.delay(email(to="marker+later@example.org"))
    bad = send_email.delay(email(to="marker+refuse@example.org"))
    for result in (good, again):
        result.get(timeout=20)
    with pytest.raises(MailFailedError):
        bad.get(timeout=20)
    last = {good.id: "succeeded", again.id: "succeeded", bad.id: "failed"}
    wait_until(lambda: all(monitor.types(i)[-1:] == [end] for i, end in last.items()), "the ends are shown")
    assert monitor.types(good.id) == ["received", "started", "succeeded"]
    assert monitor.types(again.id) == ["received", "started", "retried", "received", "started", "succeeded"]
    assert monitor.types(bad.id) == ["received", "started", "failed"]
    tasks = monitor.state.tasks
    assert [(tasks[i].name, tasks[i].state) for i in last] == [(NAME, "SUCCESS"), (NAME, "SUCCESS"), (NAME, "FAILURE")]
    assert tasks[good.id].args == "('m***@example.org',)"
    assert tasks[good.id].worker.hostname.startswith("w0@")
    assert "marker" not in json.dumps(monitor.events)


def test_without_events_nothing_is_sent_until_a_worker_is_told_to(post, monitor):
    post.worker("-c", "1")
    send_email.delay(email()).get(timeout=20)
    assert [event for event in monitor.events if event["type"].startswith("task-")] == []
    app.control.enable_events()
    wait_until(lambda: [send_email.delay(email()).get(timeout=20)] and monitor.state.tasks, "events are shown")


def test_accepting_and_cancelling_are_shown_if_it_is_wished(post, monitor, environment):
    environment.setenv("MAILWORKER_EVENTS__SENT", "true")
    app.forget_runtime()
    result = send_email.apply_async((email(),), countdown=3600)
    wait_until(lambda: monitor.types(result.id) == ["sent"], "it is shown as sent")
    app.control.revoke(result.id)
    wait_until(lambda: monitor.types(result.id) == ["sent", "revoked"], "it is shown as revoked")
    assert monitor.state.tasks[result.id].state == "REVOKED"
    assert result.state == "REVOKED"


def test_a_mail_that_expires_is_shown_as_failed(post, monitor):
    post.worker("-E", "-c", "1")
    wait_until(lambda: any(e["type"] == "worker-online" for e in monitor.events), "events are heard")
    mail_id = expired()
    wait_until(lambda: monitor.types(mail_id) == ["failed"], "it is shown")
    task = monitor.state.tasks[mail_id]
    assert (task.name, task.state, task.kwargs) == (NAME, "FAILURE", "{'lane': 'default'}")
    assert "expired" in task.exception


def expired() -> str:
    """Have a mail expire before anybody tries it."""
    steering = Steering(app.runtime)
    steering.pause("default", None, "until it is too late")
    result = send_email.apply_async((email(),), expires=0.5)
    last = app.runtime.ledger.read(result.id).expires_ms
    wait_until(lambda: time.time() * 1000 > last, "it is too late")
    steering.resume("default")
    return str(result.id)


def test_a_mail_that_is_cancelled_unseen_is_shown_by_its_name(monitor, environment):
    result = send_email.apply_async((email(),), countdown=3600)
    environment.setenv("MAILWORKER_EVENTS__SENT", "true")
    app.forget_runtime()
    result.revoke()
    wait_until(lambda: monitor.types(result.id) == ["revoked"], "it is shown as revoked")
    task = monitor.state.tasks[result.id]
    assert (task.name, task.state, task.kwargs) == (NAME, "REVOKED", "{'lane': 'default'}")


def test_of_a_flood_a_sample_is_shown_whole_and_the_rest_is_counted(post, monitor, environment):
    environment.setenv("MAILWORKER_EVENTS__PER_SECOND", "5")
    post.worker("-E", "-c", "1")
    wait_until(lambda: any(e["type"] == "worker-online" for e in monitor.events), "events are heard")
    began = time.monotonic()
    results = send_email.many([email(subject=f"Number {n}") for n in range(300)])
    for result in results:
        result.get(timeout=40)
    seconds = time.monotonic() - began
    wait_until(lambda: send_email.delay(email()).get(timeout=20) and hidden(monitor), "the rest is counted")
    shown = Counter(event["uuid"] for event in monitor.events if event.get("uuid") in {r.id for r in results})
    assert 0 < len(shown) <= 5 * (seconds + 2)
    wait_until(lambda: {tuple(monitor.types(i)) for i in shown} == {("received", "started", "succeeded")}, "all whole")
    assert hidden(monitor) >= 300 - len(shown)


def hidden(monitor) -> int:
    return sum(event["count"] for event in monitor.events if event["type"] == "mail-hidden")


def test_a_sample_is_bounded_and_a_retry_goes_first():
    now = [0.0]
    sampling = Sampling(10, now=lambda: now[0])
    assert sum(sampling.takes(is_retry=False) for _ in range(100)) == 10
    assert sum(sampling.takes(is_retry=True) for _ in range(100)) == 10
    now[0] = 100.0
    assert sum(sampling.takes(is_retry=False) for _ in range(100)) == 10
    assert sampling.hidden == 270


def test_a_process_opens_one_connection_for_events_however_many_mails(post, monitor):
    post.worker("-E", "-c", "1")
    wait_until(lambda: any(e["type"] == "worker-online" for e in monitor.events), "events are heard")
    send_email.delay(email()).get(timeout=20)
    wait_until(lambda: monitor.state.tasks, "it is shown")
    with post.redis as client:
        before = client.info("stats")["total_connections_received"]
        for result in [send_email.delay(email()) for _ in range(50)]:
            wait_until(lambda result=result: monitor.types(result.id)[-1:] == ["succeeded"], "it is shown")
        opened = client.info("stats")["total_connections_received"] - before
        assert opened < 10, "some threads may open their own, but not one for each mail"


def test_flower_shows_mails_as_tasks(post, tmp_path, free_port):
    with flower_at(free_port, tmp_path) as flower:
        post.worker("-E", "-c", "1")
        wait_until(lambda: b"w0@" in (flower.get("/api/workers?status=1") or b""), "Flower sees the worker")
        good = send_email.delay(email())
        again = send_email.delay(email(to="marker+later@example.org"))
        bad = send_email.delay(email(to="marker+refuse@example.org"))
        late = expired()
        wanted = {good.id: "SUCCESS", again.id: "SUCCESS", bad.id: "FAILURE", late: "FAILURE"}
        wait_until(lambda: {i: t["state"] for i, t in shown(flower).items()} == wanted, "Flower shows all")
        tasks = shown(flower)
        assert {task["name"] for task in tasks.values()} == {NAME}
        assert (tasks[again.id]["retries"], bool(tasks[again.id]["retried"])) == (1, True)
        assert tasks[good.id]["args"] == "('m***@example.org',)"
        assert "marker" not in json.dumps(tasks)


def shown(flower: Flower) -> dict:
    return json.loads(flower.get(f"/api/tasks?taskname={NAME}") or b"{}")
