"""A mail's whole road, with real workers."""

import contextlib
import datetime as dt
import json
import subprocess
import sys
import threading

import pytest
from celery import Celery, states
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult

from mailworker import Email, MailFailedError, MailResult, RefusedError, app, send_email
from tests.system.conftest import refused_start, wait_until

pytestmark = pytest.mark.system


def email(to="ann@example.org", subject="Your order", **fields) -> Email:
    return Email(from_="shop@example.com", to=to, subject=subject, text_body="Thank you.", **fields)


def states_of(results) -> list[str]:
    return [result.report().state for result in results]


def test_a_mail_reaches_the_server_once_and_its_result_tells(post):
    """F-SEND-01."""
    post.worker("-c", "1")
    result = send_email.delay(email())
    report = result.get(timeout=20)
    assert (result.state, result.status) == (states.SUCCESS, states.SUCCESS)
    assert report["recipients"][0]["state"] == "delivered"
    (stored,) = post.stored()
    assert stored.recipients == ("ann@example.org",)
    assert report["message_id"].encode() in stored.content


def test_another_process_can_ask_for_the_result(post):
    post.worker("-c", "1")
    result = send_email.delay(email())
    script = (
        "import sys; from mailworker import MailResult, app;"
        "print(MailResult(sys.argv[1], app=app).get(timeout=20)['state'])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, result.id], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == "sent"
    assert AsyncResult(result.id, app=app).state == states.SUCCESS
    for asked in (MailResult(result.id), app.AsyncResult(result.id), send_email.AsyncResult(result.id)):
        assert (asked.state, asked.report().state) == (states.SUCCESS, "sent")


def test_waiting_for_a_mail_that_nobody_delivers_ends_at_the_timeout(post):
    result = send_email.delay(email())
    assert result.state == states.PENDING
    with pytest.raises(CeleryTimeoutError):
        result.get(timeout=0.2)


def test_a_refused_recipient_bounces_alone(post):
    """F-SEND-07."""
    post.worker("-c", "1")
    result = send_email.delay(email(to=["ann@example.org", "refuse@example.org"]))
    with pytest.raises(MailFailedError) as caught:
        result.get(timeout=20)
    assert caught.value.state == "partial"
    report = result.report()
    assert [r.state for r in report.recipients] == ["delivered", "bounced"]
    assert report.recipients[1].code == 550
    assert [mail.recipients for mail in post.stored()] == [("ann@example.org",)]


def test_only_the_deferred_recipient_is_tried_again(post):
    """NF-REL-01."""
    post.worker("-c", "1")
    result = send_email.delay(email(to=["ann@example.org", "later@example.org"]))
    assert result.get(timeout=20)["attempts"] == 2
    assert sorted(mail.recipients for mail in post.stored()) == [("ann@example.org",), ("later@example.org",)]


def test_a_mail_refused_for_all_is_dead_and_keeps_its_payload(post):
    post.worker("-c", "1")
    result = send_email.delay(email(to="refuse@example.org"))
    with pytest.raises(MailFailedError, match="dead"):
        result.get(timeout=20)
    assert app.runtime.ledger.read(result.id).payload_bytes > 0


def test_many_are_accepted_in_chunks_and_each_arrives_once(post):
    post.worker("-c", "2")
    results = send_email.many(email(subject=f"Number {n}") for n in range(250))
    assert len({result.id for result in results}) == 250
    for result in results:
        result.get(timeout=40)
    assert len(post.stored()) == 250


def test_the_same_key_makes_one_mail(post):
    first = send_email.apply_async((email(),), idempotency_key="order-17")
    second = send_email.apply_async((email(),), idempotency_key="order-17")
    assert first.id == second.id
    assert [r.id for r in send_email.many([email(), email()], idempotency_key="run")] == [
        r.id for r in send_email.many([email(), email()], idempotency_key="run")
    ]
    post.worker("-c", "1")
    first.get(timeout=20)
    wait_until(lambda: len(post.stored()) == 3, "three mails")


def test_a_countdown_is_waited_for_and_an_expired_mail_is_not_sent(post):
    later = send_email.apply_async((email(subject="later"),), countdown=3600)
    soon = send_email.apply_async((email(subject="soon"),), eta=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1))
    stale = send_email.apply_async((email(subject="stale"),), countdown=2, expires=1)
    post.worker("-c", "1")
    assert soon.get(timeout=20)["state"] == "sent"
    with pytest.raises(MailFailedError, match="expired"):
        stale.get(timeout=20)
    assert later.report().state == "scheduled"
    assert len(post.stored()) == 1


def test_a_low_number_overtakes(post, environment):
    environment.setenv("MAILWORKER_WORKER__BATCH_MAILS", "1")
    last = [send_email.apply_async((email(subject=f"news {n}"),), priority=9) for n in range(5)]
    first = send_email.apply_async((email(subject="password reset"),), priority=0)
    post.worker("-c", "1")
    ended = [result.get(timeout=20)["ended_ms"] for result in last]
    assert first.get(timeout=20)["ended_ms"] <= min(ended)


def test_a_lane_is_worked_by_the_workers_that_serve_its_queue(post):
    post.worker("-c", "1", "-Q", "mail.default")
    bulk = send_email.delay(email(), lane="bulk")
    send_email.delay(email()).get(timeout=20)
    assert bulk.state == states.PENDING
    post.worker("-c", "1", "-Q", "mail.bulk")
    bulk.get(timeout=20)


def test_an_app_without_this_package_can_send_a_dict(post):
    post.worker("-c", "1")
    foreign = Celery("web", broker=app.conf.broker_url, set_as_current=False)
    data = {"from": "shop@example.com", "to": ["ann@example.org"], "subject": "Hello", "text_body": "Hi."}
    sent = foreign.send_task(
        "mailworker.send_email", [json.loads(json.dumps(data))], {"tenant": "shop-17"}, queue="mailworker"
    )
    foreign.close()
    wait_until(post.stored, "the foreign app's mail")
    (key,) = post.redis.scan_iter("mw:{default}:m:*")
    assert sent.id
    assert post.redis.hget(key, "tenant") == b"shop-17"


def test_a_foreign_mail_is_in_no_event_and_no_debug_log(post):
    """NF-SEC-01."""
    data = {
        "from": "shop@example.com",
        "to": ["marker.ann@example.org"],
        "subject": "marker-s",
        "text_body": "marker-b",
    }
    events: list[dict] = []

    def listen() -> None:
        with contextlib.suppress(TimeoutError):
            receiver.capture(limit=None, timeout=30, wakeup=False)

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})
        listener = threading.Thread(target=listen)
        listener.start()
        post.worker("-c", "1", "-E", "--loglevel=DEBUG")
        wait_until(lambda: any(event["type"] == "worker-online" for event in events), "events are heard")
        foreign = Celery("web", broker=app.conf.broker_url, set_as_current=False)
        foreign.send_task("mailworker.send_email", [data], queue="mailworker")
        foreign.close()
        wait_until(post.stored, "the foreign app's mail")
        wait_until(lambda: any(event["type"] == "task-succeeded" for event in events), "a task's event")
        receiver.should_stop = True
        listener.join()
    assert "marker" not in json.dumps(events)
    assert "marker" not in post.logs()


def test_a_worker_that_could_deliver_nothing_does_not_start(post, environment):
    environment.delenv("MAILWORKER_RELAYS__DEFAULT__HOST")
    told = refused_start()
    assert "MAILWORKER_RELAYS__DEFAULT__HOST" in told
    assert "Traceback" not in told


def test_a_pool_shrinks_when_it_is_told_to(post):
    worker = post.worker("-c", "4")
    send_email.delay(email()).get(timeout=20)
    app.control.pool_shrink(3)
    wait_until(lambda: len(worker.children()) == 1, "three processes end")
    send_email.delay(email()).get(timeout=20)


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_pools_without_processes_deliver_and_stop_as_well(post, pool):
    worker = post.worker("-P", pool, "-c", "4")
    for result in send_email.many(email(subject=f"Number {n}") for n in range(50)):
        result.get(timeout=40)
    assert worker.stop() == 0
    assert len(post.stored()) == 50


def test_an_unsendable_mail_is_refused_before_the_ledger_sees_it(post, environment):
    environment.setenv("MAILWORKER_LIMITS__MESSAGE_BYTES", "2048")
    with pytest.raises(RefusedError, match="message_bytes"):
        send_email.delay(Email(from_="a@example.com", to="b@example.com", subject="big", text_body="x" * 4000))
    with pytest.raises(RefusedError, match="time zone"):
        send_email.apply_async((email(),), eta=dt.datetime(2030, 1, 1))  # noqa: DTZ001 - that is the mistake
    with pytest.raises(RefusedError, match="link"):
        send_email.apply_async((email(),), link="something")
    with pytest.raises(RefusedError, match="did you mean 'bulk'"):
        send_email.delay(email(), lane="bluk")
    with post.redis as client:
        assert client.dbsize() == 0


def test_a_relay_that_is_down_burns_no_attempt_and_the_mail_flows_when_it_is_back(post, environment):
    """NF-REL-03, NF-REL-04."""
    post.mailbox.stop()
    post.worker("-c", "1")
    results = send_email.many(email(subject=f"Number {n}") for n in range(10))
    wait_until(lambda: app.runtime.ledger.stats("default").pause_failures >= 2, "the lane pauses")
    assert {result.report().attempts for result in results} <= {0, 1}
    post.mailbox._wanted = ("127.0.0.1", int(app.runtime.settings.relays["default"].port))
    post.mailbox.start()
    for result in results:
        assert result.get(timeout=40)["attempts"] == 1


def test_what_mails_say_is_in_no_log_and_no_message(post, environment):
    """NF-SEC-01."""
    post.worker("-c", "1", "--loglevel=DEBUG")
    secret = Email(
        from_="shop@example.com", to="marker.ann@example.org", subject="marker-subject", text_body="marker-body"
    )
    send_email.delay(secret).get(timeout=20)
    refused = send_email.delay(email(to="marker+refuse@example.org", subject="marker-subject"))
    with pytest.raises(MailFailedError):
        refused.get(timeout=20)
    assert "marker" not in post.logs()
    assert "marker" not in repr(refused.report())


def test_a_warm_shutdown_ends_in_order_and_what_is_left_stays_in_the_ledger(post):
    worker = post.worker("-c", "2")
    results = send_email.many(email(subject=f"Number {n}") for n in range(300))
    wait_until(lambda: len(post.stored()) > 5, "the first mails")
    assert worker.stop() == 0
    assert {r.report().state for r in results} <= {"sent", "ready"}
    post.worker("-c", "2")
    for result in results:
        result.get(timeout=40)
    assert len(post.stored()) == 300
