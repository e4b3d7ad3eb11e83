"""What is promised of one mail, on the real road: caps, ages, doubts and what relays ask for."""

import pytest

from mailworker import Email, app, send_email, suppress
from mailworker.sealing import new_key
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


def test_an_address_where_nobody_is_is_not_tried_again_in_its_lane_unless_it_is_taken_off(post, relay, environment):
    environment.setenv("MAILWORKER_SEALING__KEYS", new_key("k"))
    environment.setenv("MAILWORKER_LANES__BULK__SUPPRESS_BOUNCES", "false")
    app.forget_runtime()
    relay(FaultPlan().always("RCPT", "550 5.1.1 no such user"))
    post.worker("-c", "1")

    def ended(lane: str):
        result = send_email.delay(email("hello"), lane=lane)
        wait_until(lambda: result.report().state == "dead", "the mail is dead")
        (recipient,) = result.report().recipients
        return recipient.code, recipient.text.partition(":")[0]

    assert ended("bulk") == ended("bulk") == (550, "no such user")
    assert ended("default") == (550, "no such user")
    wait_until(lambda: suppress.find("ann@example.org"), "the bounce is written down")
    (held,) = suppress.find("ann@example.org")
    assert (held.lane, held.reason, held.until_ms - held.since_ms) == ("default", "550 5.1.1", 180 * 86_400_000)
    # The worker may have found the list empty just before.
    wait_until(lambda: ended("default") == (None, "suppressed"), "the address is spared")
    suppress.remove("ann@example.org")
    assert ended("default") == (550, "no such user")
