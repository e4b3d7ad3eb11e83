"""Workers as operators run them: whatever happens in the middle, no mail is lost, and none is doubled unflagged."""

import os
import signal
import time
from collections import Counter

import pytest

from mailworker import Email, app, send_email
from mailworker.ledger import Roll
from smtp_transport.testing import FaultPlan, Stall
from tests.system.conftest import Post, Worker, wait_until

pytestmark = pytest.mark.system

MAILS = 200


def some_mails(count: int = MAILS):
    return send_email.many(
        Email(from_="shop@example.com", to="ann@example.org", subject=f"Order {n}", text_body="Thank you. " * 50)
        for n in range(count)
    )


def flowing(post: Post, goal: int = 15) -> None:
    wait_until(lambda: len(post.stored()) >= goal, "the first mails")


def all_ended_well(post: Post, results) -> None:
    """Every mail has arrived; what arrived twice had been flagged before."""
    ledger = app.runtime.ledger
    wait_until(lambda: ledger.stats("default").counts.get("delivered", 0) == len(results), "every mail is sent")
    records = {result.report().message_id: ledger.read(result.id) for result in results}
    arrived = Counter(message_id_of(mail.content) for mail in post.stored())
    assert set(arrived) == set(records)
    assert all(records[message_id].possible_duplicates for message_id, times in arrived.items() if times > 1)


@pytest.fixture
def environment(environment):
    """Leases are short: a test should not wait long for a worker's death to be noticed."""
    environment.setenv("MAILWORKER_WORKER__LEASE_SECONDS", "3")
    environment.setenv("MAILWORKER_REDIS__TIMEOUT_SECONDS", "2.5")
    return environment


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_warm_stop_in_the_middle_leaves_all_to_the_next_worker(post, pool):
    worker = post.worker("-P", pool, "-c", "2")
    results = some_mails()
    flowing(post)
    assert worker.stop() == 0
    assert {result.report().possible_duplicates for result in results} == {0}
    post.worker("-P", pool, "-c", "2")
    all_ended_well(post, results)
    assert len(post.stored()) == MAILS


def test_a_cold_stop_ends_at_once_and_what_it_cut_off_is_flagged(post):
    worker = post.worker("-c", "2")
    results = some_mails()
    flowing(post)
    worker.process.send_signal(signal.SIGQUIT)
    worker.process.wait(20)
    post.worker("-c", "2")
    all_ended_well(post, results)


def test_a_soft_stop_lets_the_mails_in_hand_end(post, environment):
    environment.setenv("MAILWORKER_WORKER__SOFT_SHUTDOWN_SECONDS", "2")
    environment.setenv("REMAP_SIGTERM", "SIGQUIT")
    worker = post.worker("-c", "2")
    results = some_mails()
    flowing(post)
    os.killpg(worker.process.pid, signal.SIGTERM)
    worker.process.wait(20)
    assert "Soft Shutdown" in worker.log.read_text()
    assert {result.report().possible_duplicates for result in results} == {0}
    environment.delenv("REMAP_SIGTERM")
    post.worker("-c", "2")
    all_ended_well(post, results)
    assert len(post.stored()) == MAILS


def test_a_cold_stop_cuts_off_a_mail_that_takes_too_long(post, environment, smtp_faults):
    """The relay says nothing after the final dot: a worker that waited for it would wait for minutes."""
    plan = FaultPlan().at("DOT", 1, Stall())
    environment.setenv("MAILWORKER_RELAYS__DEFAULT__PORT", str(smtp_faults(plan).port))
    environment.setenv("MAILWORKER_WORKER__SOFT_SHUTDOWN_SECONDS", "0.5")
    worker = post.worker("-c", "1")
    (result,) = some_mails(1)
    wait_until(lambda: plan.played, "the relay stalls")
    worker.process.send_signal(signal.SIGQUIT)
    worker.process.wait(20)
    post.worker("-c", "1")
    assert result.get(timeout=30)["possible_duplicates"] == 1


def test_sigterm_to_the_whole_group_loses_no_bell_and_no_child(post):
    worker = post.worker("-c", "4")
    results = some_mails()
    flowing(post)
    os.killpg(worker.process.pid, signal.SIGTERM)
    assert worker.process.wait(20) == 0
    assert "WorkerLostError" not in worker.log.read_text()
    post.worker("-c", "2")
    all_ended_well(post, results)
    assert len(post.stored()) == MAILS


def test_children_that_are_replaced_after_each_drain_lose_nothing(post, environment):
    environment.setenv("MAILWORKER_WORKER__SLICE_SECONDS", "0.2")
    worker = post.worker("-c", "2", "--max-tasks-per-child", "1")
    before = set(worker.children())
    results = some_mails()
    all_ended_well(post, results)
    assert len(post.stored()) == MAILS
    wait_until(lambda: not before & set(worker.children()), "every child was replaced")
    assert worker.stop() == 0


def test_a_pool_that_grows_and_shrinks_by_itself_loses_nothing(post):
    worker = post.worker("--autoscale", "4,1")
    results = some_mails()
    all_ended_well(post, results)
    assert len(post.stored()) == MAILS
    assert worker.stop() == 0


def test_workers_of_several_hosts_share_the_work_and_one_may_go(post):
    hosts = [post.worker("-c", "1", "-n", f"celery@host{n}") for n in range(3)]
    wait_until(lambda: len(on_the_roll(post)) == 3, "all have signed")
    results = some_mails()
    flowing(post)
    hosts[0].kill_group()
    assert hosts[1].stop() == 0
    all_ended_well(post, results)
    assert sorted(on_the_roll(post)) == ["celery@host0", "celery@host2"]


def on_the_roll(post: Post) -> dict[str, bool]:
    with post.redis as client:
        return {seen.name: seen.is_alive for seen in Roll(client).read()}


def test_a_worker_started_before_its_redis_waits_for_it_and_says_so(post):
    post.server.stop()
    worker = Worker(post.folder / "early.log", "-c", "1")
    post.workers.append(worker)
    wait_until(lambda: "cannot reach the broker" in worker.log.read_text(), "the worker tells what it waits for")
    post.server.start()
    result = send_email.delay(Email(from_="a@example.com", to="b@example.org", subject="s", text_body="t"))
    assert result.get(timeout=30)["state"] == "sent"
    assert worker.stop() == 0
    assert "Traceback" not in worker.log.read_text()


def test_a_worker_started_on_a_full_redis_sends_what_is_there(post):
    """It can declare no queue and hear no bell; only sending makes room."""
    results = some_mails(20)
    with post.redis as client:
        client.config_set("maxmemory", 1)
        try:
            worker = Worker(post.folder / "full.log", "-c", "1")
            post.workers.append(worker)
            wait_until(lambda: len(post.stored()) == 20, "the mails are sent")
            assert "memory limit" in worker.log.read_text()
        finally:
            client.config_set("maxmemory", 0)
    all_ended_well(post, results)
    wait_until(worker.is_ready, "the worker is ready when there is room")
    assert worker.stop() == 0
    assert "Traceback" not in worker.log.read_text()


def test_a_full_redis_stops_no_worker(post):
    """A bell is refused for lack of memory: the watch has the lane drained by its own pool."""
    worker = post.worker("-c", "1")
    with post.redis as client:
        os.kill(worker.process.pid, signal.SIGSTOP)
        results = some_mails(20)
        client.delete("mail.default")
        client.delete("mw:{default}:bell")
        client.config_set("maxmemory", 1)
        try:
            os.kill(worker.process.pid, signal.SIGCONT)
            wait_until(lambda: len(post.stored()) == 20, "the mails are sent")
        finally:
            client.config_set("maxmemory", 0)
    all_ended_well(post, results)


def test_a_broker_that_is_away_stops_no_mail(post, environment):
    environment.setenv("MAILWORKER_BROKER__URL", "redis://127.0.0.1:1/0")
    environment.setenv("MAILWORKER_BROKER__TIMEOUT_SECONDS", "0.5")
    worker = Worker(post.folder / "deaf.log", "-c", "1", "-n", "deaf@host")
    post.workers.append(worker)
    app.conf.update(broker_url="redis://127.0.0.1:1/0")
    results = some_mails(20)
    all_ended_well(post, results)
    assert on_the_roll(post) == {"deaf@host": True}
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 15


def message_id_of(content: bytes) -> str:
    line = next(line for line in content.split(b"\r\n") if line.lower().startswith(b"message-id:"))
    return line.partition(b":")[2].strip().decode()
