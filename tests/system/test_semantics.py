"""What is promised of one mail, on the real road: caps, ages, doubts and what relays ask for."""

import pytest

from mailworker import Email, send_email
from smtp_transport.testing import FaultPlan, Reset
from tests.system.conftest import wait_until

pytestmark = pytest.mark.system


def email(subject: str) -> Email:
    return Email(from_="shop@example.com", to="ann@example.org", subject=subject, text_body="Thank you.")


@pytest.fixture
def relay(environment, smtp_faults):
    def play(plan: FaultPlan) -> FaultPlan:
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__PORT", str(smtp_faults(plan).port))
        return plan

    return play


def test_a_mail_in_doubt_is_held_or_sent_again_as_it_says_itself(post, relay):
    """NF-REL-03."""
    relay(FaultPlan().at("DOT", 1, Reset()).at("DOT", 2, Reset()))
    held = send_email.delay(email("once at most"), in_doubt="hold")
    post.worker("-c", "1")
    wait_until(lambda: held.report().state == "in_doubt", "the mail is held")
    again = send_email.delay(email("once at least"), in_doubt="resend")
    report = again.get(timeout=30)
    assert (report["state"], report["possible_duplicates"]) == ("sent", 1)
    assert (held.report().state, held.report().possible_duplicates) == ("in_doubt", 0)


def test_a_mail_ends_by_its_own_cap_or_age_and_says_why_and_others_wait_as_they_were_asked_to(post, relay):
    relay(FaultPlan().always("RCPT", "450 4.7.1 Greylisted, try again in 60 seconds"))
    capped = send_email.delay(email("capped"), max_attempts=1)
    aged = send_email.delay(email("aged"), max_age=2)
    patient = send_email.delay(email("patient"))
    post.worker("-c", "1")
    wait_until(lambda: capped.report().state == "dead", "the cap")
    wait_until(lambda: aged.report().state == "expired", "the age")
    assert capped.report().error.startswith("given up after 1 attempts; at last: ")
    assert aged.report().error.startswith("expired after 1 attempts; at last: ")
    for report in (capped.report(), aged.report()):
        assert report.error.endswith("reply 450 4.7.1")
        assert report.recipients[0].code == 450
    waiting = patient.report()
    assert (waiting.state, waiting.attempts) == ("deferred", 1)
    assert 60_000 <= waiting.due_ms - waiting.accepted_ms < 80_000
