"""What a killed process held is sent by others at once: here a lease lasts an hour, and nobody waits for it."""

import os
import signal

import pytest

from mailworker import Email, app, send_email
from smtp_transport.testing import FaultPlan, Stall
from tests.system.conftest import wait_until

pytestmark = pytest.mark.system

MAILS = 60
# By then the relay is known to be quick, and whole batches are claimed.
STALLED = 15


@pytest.fixture
def plan(post, environment, smtp_faults) -> FaultPlan:
    """A relay that says nothing to one final dot; leases that nobody outlives."""
    plan = FaultPlan().at("DOT", STALLED, Stall())
    environment.setenv("MAILWORKER_RELAYS__DEFAULT__PORT", str(smtp_faults(plan, "PIPELINING").port))
    environment.setenv("MAILWORKER_WORKER__LEASE_SECONDS", "3600")
    return plan


def some_mails():
    return send_email.many(
        Email(from_="shop@example.com", to="ann@example.org", subject=f"Order {n}", text_body="Thank you.")
        for n in range(MAILS)
    )


def held_by_the_dead(post, results) -> list[str]:
    """All have ended well; the ids of those that were freed because their process was gone."""
    ledger = app.runtime.ledger
    wait_until(lambda: ledger.stats("default").counts.get("delivered", 0) == MAILS, "every mail is sent")
    reports = [result.report() for result in results]
    freed = [report for report in reports if any(note.get("why") == "its process had ended" for note in report.history)]
    at_the_dot = [report for report in freed if report.history[0]["event"] == "recovered at the dot"]
    assert at_the_dot, "what waited for its reply was marked"
    assert {report.possible_duplicates for report in at_the_dot} == {1}
    assert sum(report.possible_duplicates for report in reports) == len(at_the_dot)
    return [report.id for report in freed]


@pytest.mark.parametrize("children", ["1", "2"])
def test_what_a_killed_child_held_is_sent_by_others_and_its_lease_is_not_waited_for(post, plan, children):
    worker = post.worker("-c", children)
    before = worker.children()
    results = some_mails()
    wait_until(lambda: plan.played, "the relay stalls")
    wait_until(lambda: app.runtime.ledger.stats("default").ready == 0 or children == "1", "others do what they can")
    for child in before:
        os.kill(child, signal.SIGKILL)
    assert held_by_the_dead(post, results)
    assert "of a process that has ended are ready again" in worker.log.read_text()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_what_a_killed_worker_held_is_sent_by_the_one_that_replaces_it(post, plan, pool):
    worker = post.worker("-P", pool, "-c", "1")
    children = worker.children()
    results = some_mails()
    wait_until(lambda: plan.played, "the relay stalls")
    worker.kill_group()
    wait_until(lambda: not any(map(is_there, children)), "nothing is left of it")
    post.worker("-P", pool, "-c", "1")
    assert held_by_the_dead(post, results)


def test_what_a_live_worker_holds_is_left_to_it_by_one_that_starts_beside_it(post, plan):
    post.worker("-c", "1")
    results = some_mails()
    wait_until(lambda: plan.played, "the relay stalls")
    post.worker("-c", "1")
    ledger = app.runtime.ledger
    wait_until(lambda: ledger.stats("default").ready == 0, "the second has sent what was in line")
    held = [result for result in results if ledger.read(result.id).state == "sending"]
    assert held
    assert {report.possible_duplicates for report in (result.report() for result in held)} == {0}
    assert ledger.stats("default").counts.get("recovered", 0) == 0


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
