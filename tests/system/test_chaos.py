"""kill -9, at random moments, of whatever works on the mails: nothing is lost, and what is doubled was flagged."""

import random
import threading
from collections import Counter

import pytest

from mailworker import Email, app, send_email
from mailworker.record import MailState
from tests.system.conftest import Worker, wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

MAILS = 200
SEED = 20261121


def emails():
    for number in range(MAILS):
        yield Email(
            from_="shop@example.com",
            to=[f"ann{number}@example.org", f"bob{number}@example.org"][: 1 + number % 2],
            subject=f"Invoice {number}",
            text_body="Please pay. " * 400,
        )


@pytest.mark.parametrize("victim", ["parent", "child", "group"])
def test_a_killed_worker_loses_no_mail_and_every_double_was_flagged(post, victim):
    """NF-REL-04."""
    chance = random.Random(f"{SEED}{victim}")
    for _ in range(2):
        post.worker("-c", "2")
    results = []
    producer = threading.Thread(target=lambda: results.extend(send_email.delay(email) for email in emails()))
    producer.start()
    for _ in range(5):
        goal = min(MAILS - 20, len(post.stored()) + chance.randrange(10, 35))
        wait_until(lambda goal=goal: len(post.stored()) >= goal, "mails flow between two kills")
        worker = next(w for w in post.workers if w.process.poll() is None)
        {"parent": Worker.kill_parent, "child": Worker.kill_child, "group": Worker.kill_group}[victim](worker)
        if victim != "child":
            post.worker("-c", "2")
    producer.join()
    ledger = app.runtime.ledger
    wait_until(lambda: all(ledger.read(r.id).state.is_final for r in results), "every mail has ended")

    records = {result.report().message_id: ledger.read(result.id) for result in results}
    assert len(records) == MAILS
    assert {record.state for record in records.values()} == {MailState.SENT}
    arrived = Counter((message_id_of(mail.content), who) for mail in post.stored() for who in mail.recipients)
    lost = [key for key, record in records.items() if not any(seen[0] == key for seen in arrived)]
    assert lost == []
    doubled = {message_id for (message_id, _), times in arrived.items() if times > 1}
    assert all(records[message_id].possible_duplicates for message_id in doubled)
    assert sum(len(r.recipients) for r in records.values()) == len(arrived)


def message_id_of(content: bytes) -> str:
    line = next(line for line in content.split(b"\r\n") if line.lower().startswith(b"message-id:"))
    return line.partition(b":")[2].strip().decode()
