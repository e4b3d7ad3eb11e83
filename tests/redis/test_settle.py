from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mailworker.ledger import LedgerPolicy, Pause, Settlement

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
DAY_MS = 86_400_000


def test_a_mail_lost_at_the_dot_names_the_relay_that_may_have_taken_it(rig: Rig) -> None:
    mail = rig.accept(in_doubt="hold")
    rig.ledger.turn(LANE, [], [rig.claim()], 60_000, ("ses", 0))
    rig.end_leases()
    rig.ledger.sweep(LANE)
    record = rig.ledger.read(mail)
    assert record is not None
    assert (record.state, record.relay) == ("in_doubt", "ses")


def test_a_mail_that_came_back_unsent_names_no_relay(rig: Rig) -> None:
    mail = rig.accept()
    claim = rig.claim()
    rig.ledger.turn(LANE, [], [claim], 60_000, ("ses", 0))
    rig.ledger.release(LANE, [claim], unsent={mail})
    record = rig.ledger.read(mail)
    assert record is not None
    assert record.relay == ""


def test_a_marked_claim_may_be_sent(rig: Rig) -> None:
    mail_id = rig.accept()
    claim = rig.claim()
    assert rig.mark(claim)
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert (record.state, record.phase) == ("sending", "dot")


def test_marking_extends_the_lease(rig: Rig) -> None:
    mail_id = rig.accept()
    claim = rig.claim(lease_ms=1000)
    before = rig.redis.zscore(rig.keys.claims, mail_id)
    assert rig.mark(claim)
    assert rig.redis.zscore(rig.keys.claims, mail_id) >= before + 50_000


def test_marking_twice_is_marking_once(rig: Rig) -> None:
    rig.accept()
    claim = rig.claim()
    assert rig.mark(claim)
    assert rig.mark(claim)


def test_a_claim_that_was_lost_must_not_be_sent(rig: Rig) -> None:
    rig.accept()
    lost = rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert not rig.mark(lost)
    again = rig.claim()
    assert not rig.mark(lost)
    assert rig.mark(again)


def test_each_mail_of_a_window_is_answered_for(rig: Rig) -> None:
    for _ in range(3):
        rig.accept()
    claims = rig.batch().mails
    rig.settle(claims[1], "d")
    assert rig.ledger.mark_dot(LANE, claims, 1000) == (True, False, True)


def test_renewing_keeps_a_claim_from_the_sweep(rig: Rig) -> None:
    mail_id = rig.accept()
    claim = rig.claim()
    rig.end_leases()
    assert rig.ledger.renew(LANE, [claim], 60_000) == (True,)
    assert rig.ledger.sweep(LANE).recovered == 0
    assert rig.state(mail_id) == "sending"


def test_a_lost_claim_cannot_be_renewed(rig: Rig) -> None:
    rig.accept()
    claim = rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert rig.ledger.renew(LANE, [claim], 60_000) == (False,)
    assert rig.redis.zcard(rig.keys.claims) == 0
    again = rig.claim()
    assert rig.ledger.renew(LANE, [claim, again], 60_000) == (False, True)


@pytest.mark.parametrize(
    ("letters", "state", "counter"),
    [
        ("ddd", "sent", "delivered"),
        ("dbd", "partial", "partial"),
        ("bbb", "dead", "dead"),
        ("dib", "in_doubt", "in_doubt"),
        ("iii", "in_doubt", "in_doubt"),
        ("bib", "in_doubt", "in_doubt"),
    ],
)
def test_the_letters_decide_how_a_mail_ends(rig: Rig, letters: str, state: str, counter: str) -> None:
    mail_id = rig.accept(recipients=3)
    claim = rig.claim()
    rig.mark(claim)
    assert rig.settle(claim, letters) == state
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert (record.state, record.recipients, record.phase) == (state, letters, "")
    assert record.ended_ms is not None
    assert rig.homes(mail_id) == ([state] if state in {"dead", "in_doubt"} else [])
    assert rig.counts() == {"accepted": 1, counter: 1}


def test_a_sent_mails_content_is_gone_and_its_record_stays_for_its_time(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), "d", error="")
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert record.payload_bytes == 0
    assert 6 * DAY_MS < rig.redis.pttl(rig.keys.record(mail_id)) <= 7 * DAY_MS


@pytest.mark.parametrize("letters", ["b", "i"])
def test_a_failed_mails_content_is_kept_with_its_record(rig: Rig, letters: str) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), letters)
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert record.payload_bytes > 0
    assert 29 * DAY_MS < rig.redis.pttl(rig.keys.record(mail_id)) <= 30 * DAY_MS


def test_an_open_mails_record_never_expires(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), "-", delay_ms=1)
    assert rig.redis.pttl(rig.keys.record(mail_id)) == -1


def test_only_the_pending_recipients_are_tried_again(rig: Rig) -> None:
    mail_id = rig.accept(recipients=3)
    assert rig.settle(rig.claim(), "db-", delay_ms=30_000) == "deferred"
    assert rig.homes(mail_id) == ["due"]
    rig.make_due()
    rig.ledger.sweep(LANE)
    claim = rig.claim()
    assert (claim.recipients, claim.attempts) == ("dbp", 2)
    assert rig.settle(claim, "--d") == "partial"


def test_a_deferred_mail_is_due_after_its_delay_by_the_servers_clock(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), "-", delay_ms=30_000)
    seconds, micros = rig.redis.time()
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert record.due_ms is not None
    assert 0 <= seconds * 1000 + micros // 1000 + 30_000 - record.due_ms < 20_000
    assert rig.redis.zscore(rig.keys.due, mail_id) == record.due_ms


def test_a_mail_that_expires_before_its_next_attempt_is_looked_at_then(rig: Rig) -> None:
    soon = 9 * 10**12
    mail_id = rig.accept(expires_ms=soon)
    rig.settle(rig.claim(), "-", delay_ms=9 * 10**12)
    assert rig.redis.zscore(rig.keys.due, mail_id) == soon


def test_a_deferral_clears_the_mark(rig: Rig) -> None:
    mail_id = rig.accept()
    claim = rig.claim()
    rig.mark(claim)
    rig.settle(claim, "p")
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert record.phase == ""


def test_a_delivery_counts_whoever_tells_it(rig: Rig) -> None:
    mail_id = rig.accept()
    slow = rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert rig.settle(slow, "d") == "sent"
    assert rig.homes(mail_id) == []
    assert rig.batch().mails == ()


def test_a_late_delivery_stops_whoever_is_about_to_send_again(rig: Rig) -> None:
    rig.accept()
    slow = rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    second = rig.claim()
    assert rig.settle(slow, "d") == "sent"
    assert not rig.mark(second)
    assert rig.settle(second, "-") == "sent"


def test_a_late_delivery_to_one_recipient_leaves_the_others_to_the_owner(rig: Rig) -> None:
    mail_id = rig.accept(recipients=2)
    slow = rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    owner = rig.claim()
    assert rig.settle(slow, "db") == "fenced"
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert (record.state, record.recipients, record.fence) == ("sending", "dp", owner.fence)
    assert rig.settle(owner, "-d") == "sent"


@pytest.mark.parametrize("letters", ["b", "i", "-", "p"])
def test_anything_but_a_delivery_needs_the_fence(rig: Rig, letters: str) -> None:
    mail_id = rig.accept()
    slow = rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    before = rig.ledger.read(mail_id)
    assert rig.settle(slow, letters, error="late", note='{"n":1}', is_possible_duplicate=True) == "fenced"
    assert rig.ledger.read(mail_id) == before
    assert rig.homes(mail_id) == ["ready"]


def test_a_swept_claim_is_lost_even_before_somebody_else_takes_it(rig: Rig) -> None:
    rig.accept()
    slow = rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert rig.settle(slow, "-", delay_ms=10**9) == "fenced"
    assert rig.claim().attempts == 2


@pytest.mark.parametrize(("letters", "state"), [("d", "sent"), ("b", "dead"), ("-", "deferred")])
def test_a_repeated_settlement_answers_the_same_and_counts_once(rig: Rig, letters: str, state: str) -> None:
    mail_id = rig.accept()
    claim = rig.claim()
    told = {"note": '{"n":1}', "is_possible_duplicate": True, "delay_ms": 60_000}
    assert rig.settle(claim, letters, **told) == state
    before, counts = rig.ledger.read(mail_id), rig.counts()
    assert rig.settle(claim, letters, **told) == state
    assert (rig.ledger.read(mail_id), rig.counts()) == (before, counts)


def test_what_has_ended_stays_ended(rig: Rig) -> None:
    mail_id = rig.accept()
    slow = rig.claim()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    rig.settle(rig.claim(), "b")
    before = rig.ledger.read(mail_id)
    assert rig.settle(slow, "d") == "fenced"
    assert rig.ledger.read(mail_id) == before


def test_a_mail_without_a_record_settles_nothing(rig: Rig) -> None:
    mail_id = rig.accept()
    claim = rig.claim()
    rig.redis.delete(rig.keys.record(mail_id))
    assert rig.settle(claim, "d") == "fenced"
    assert rig.ledger.read(mail_id) is None


def test_letters_for_other_recipients_than_the_records_settle_nothing(rig: Rig) -> None:
    mail_id = rig.accept()
    claim = rig.claim()
    rig.redis.hset(rig.keys.record(mail_id), "recipients", "ppp")
    assert rig.settle(claim, "d") == "sending"
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert record.recipients == "ppp"


def test_a_bounce_does_not_undo_a_delivery(rig: Rig) -> None:
    mail_id = rig.accept(recipients=2)
    rig.settle(rig.claim(), "d-")
    rig.make_due()
    rig.ledger.sweep(LANE)
    assert rig.settle(rig.claim(), "bb") == "partial"
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert record.recipients == "db"


def test_a_batch_is_settled_in_its_order(rig: Rig) -> None:
    for _ in range(4):
        rig.accept()
    claims = rig.batch().mails
    letters = ["d", "b", "i", "-"]
    verdicts = [Settlement(claim, letter) for claim, letter in zip(claims, letters, strict=True)]
    assert rig.ledger.settle(LANE, verdicts) == ("sent", "dead", "in_doubt", "deferred")
    assert rig.ledger.settle(LANE, []) == ()


def test_one_window_is_settled_and_the_next_marked_in_one_call(rig: Rig) -> None:
    for _ in range(4):
        rig.accept()
    first, second, third, fourth = rig.batch().mails
    rig.mark(first)
    rig.settle(fourth, "b")
    verdicts = [Settlement(first, "d"), Settlement(second, "-", delay_ms=10**6)]
    states, ours = rig.ledger.turn(LANE, verdicts, [third, fourth], 60_000)
    assert (states, ours) == (("sent", "deferred"), (True, False))
    assert [rig.homes(claim.id) for claim in (first, second, third, fourth)] == [[], ["due"], ["claims"], ["dead"]]
    assert rig.ledger.turn(LANE, verdicts, [third], 60_000) == (("sent", "deferred"), (True,))
    assert rig.counts() == {"accepted": 4, "delivered": 1, "deferred": 1, "dead": 1}
    assert rig.ledger.turn(LANE, [], [], 60_000) == ((), ())


def test_a_mail_that_is_settled_is_not_marked_by_the_same_call(rig: Rig) -> None:
    rig.accept()
    claim = rig.claim()
    assert rig.ledger.turn(LANE, [Settlement(claim, "d")], [claim], 60_000) == (("sent",), (False,))


def test_details_and_errors_are_kept_for_the_report(rig: Rig) -> None:
    mail_id = rig.accept()
    rig.settle(rig.claim(), "-", told=b"\x00one", error="greylisted", note='{"attempt":1}')
    rig.make_due()
    rig.ledger.sweep(LANE)
    claim = rig.claim()
    assert claim.told == b"\x00one"
    rig.settle(claim, "b", told=b"\x00two", error="no such user \ud800", note='{"attempt":2}')
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert (record.told, record.error) == (b"\x00two", "no such user ?")
    told = [json.loads(line) for line in record.history]
    assert [note["attempt"] for note in told] == [1, 2]
    assert record.accepted_ms <= told[0]["at"] <= told[1]["at"] == record.ended_ms


def test_a_history_holds_the_last_twenty_notes(rig: Rig) -> None:
    mail_id = rig.accept()
    for attempt in range(25):
        rig.settle(rig.claim(max_attempts=100), "-", note=json.dumps({"attempt": attempt}))
        rig.make_due()
        rig.ledger.sweep(LANE)
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert [json.loads(line)["attempt"] for line in record.history] == list(range(5, 25))


def test_a_resend_that_may_be_a_second_delivery_is_flagged_and_counted(rig: Rig) -> None:
    rig.accept()
    rig.settle(rig.claim(), "-", is_possible_duplicate=True)
    rig.make_due()
    rig.ledger.sweep(LANE)
    assert rig.claim().possible_duplicates == 1
    assert rig.counts()["possible_duplicates"] == 1


def test_a_delivery_ends_the_pause(rig: Rig) -> None:
    rig.accept()
    claim = rig.claim()
    rig.ledger.release(LANE, [], Pause(60_000, 60_000, "relay down"))
    rig.settle(claim, "d")
    stats = rig.ledger.stats(LANE)
    assert (stats.paused_ms, stats.pause_failures) == (0, 0)


def test_an_old_delivery_told_again_does_not_end_the_pause(rig: Rig) -> None:
    rig.accept(recipients=2)
    rig.settle(rig.claim(), "d-")
    rig.make_due()
    rig.ledger.sweep(LANE)
    claim = rig.claim()
    rig.ledger.release(LANE, [], Pause(60_000, 60_000, "relay down"))
    rig.settle(claim, "dp")
    assert rig.ledger.stats(LANE).paused_ms > 0


@pytest.mark.parametrize("letters", ["", "dd", "x", "D"])
def test_letters_that_fit_no_recipient_are_refused(rig: Rig, letters: str) -> None:
    rig.accept()
    with pytest.raises(ValueError, match="letters"):
        Settlement(rig.claim(), letters)


@pytest.mark.parametrize("note", ['{"a":\n1}', "a", "{}"])
def test_a_note_that_would_break_the_history_is_refused(rig: Rig, note: str) -> None:
    rig.accept()
    with pytest.raises(ValueError, match="one line"):
        Settlement(rig.claim(), "d", note=note)


def test_what_is_kept_is_kept_for_some_time() -> None:
    with pytest.raises(ValueError, match="at least 1 ms"):
        LedgerPolicy(bell_ttl_ms=0)


def test_a_lane_that_a_person_has_paused_marks_no_more_and_settles_what_was_sent(rig: Rig) -> None:
    for _ in range(2):
        rig.accept()
    sent, waiting = rig.batch().mails
    rig.ledger.pauses.rest(LANE, 60_000, "a limit")
    assert rig.ledger.turn(LANE, [], [sent], 60_000) == ((), (True,))
    rig.ledger.pauses.rest(LANE, 60_000, "maintenance", by_hand=True)
    assert rig.ledger.turn(LANE, [Settlement(sent, "d")], [waiting], 60_000) == (("sent",), None)
    assert rig.ledger.read(waiting.id).phase == ""
    rig.ledger.pauses.resume(LANE, by_hand=True)
    assert rig.ledger.turn(LANE, [], [waiting], 60_000) == ((), (True,))


def test_leave_that_was_recalled_marks_no_more_but_newer_leave_and_that_of_other_relays_does(rig: Rig) -> None:
    rig.accept()
    claim = rig.claim()
    rig.ledger.pauses.recall(LANE, "b", 7)
    marked = {
        leave: rig.ledger.turn(LANE, [], [claim], 60_000, leave)[1] for leave in (("b", 6), ("b", 7), ("default", 0))
    }
    assert marked == {("b", 6): None, ("b", 7): (True,), ("default", 0): (True,)}
    assert 0 < rig.redis.pttl(f"mw:{{{LANE}}}:recalled") <= 3_600_000
    rig.ledger.pauses.recall(LANE, "b", None)
    assert rig.ledger.turn(LANE, [], [claim], 60_000, ("b", 6)) == ((), (True,))
