"""A damaged record is put aside with a reason, whatever is wrong with it, and the others flow on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailworker.ledger import Pause, Settlement
from mailworker.record import Unreadable

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
HOUR = 3_600_000
NUMBERS = ("attempts", "fence", "accepted", "priority", "expires", "possible_duplicates", "max_attempts", "version")
GARBAGE = (b"", b"x", b"nan", b"1,5", b"\xff", b"9" * 30)


def damage(rig: Rig, mail_id: str, field: str, value: bytes) -> None:
    rig.redis.hset(rig.keys.record(mail_id), field, value)


def spoil(rig: Rig, mail_id: str) -> None:
    """Put something else where the record was."""
    rig.redis.delete(rig.keys.record(mail_id))
    rig.redis.set(rig.keys.record(mail_id), "no hash")


def assert_put_aside(rig: Rig, mail_id: str) -> None:
    assert rig.homes(mail_id) == []
    assert rig.ledger.parked(LANE, "quarantined") == (mail_id,)
    assert rig.ledger.stats(LANE).quarantined == rig.counts()["quarantined"] == 1
    record = rig.ledger.read(mail_id)
    assert record is not None
    assert record.state == "quarantined"
    assert record.error


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", GARBAGE[1:])
def test_a_number_that_is_none_puts_its_mail_aside(rig: Rig, field: str, value: bytes) -> None:
    broken, good = rig.accept(), rig.accept()
    damage(rig, broken, field, value)
    assert rig.claim().id == good
    assert_put_aside(rig, broken)


@pytest.mark.parametrize("letters", [b"", b"x", b"d", b"pp\n", b"\xff"])
def test_recipients_that_make_no_sense_put_their_mail_aside(rig: Rig, letters: bytes) -> None:
    broken, good = rig.accept(), rig.accept()
    damage(rig, broken, "recipients", letters)
    assert rig.claim().id == good
    assert_put_aside(rig, broken)


@pytest.mark.parametrize("state", [b"", b"sending", b"scheduled", b"Ready", b"\xff"])
def test_a_state_that_does_not_fit_its_place_puts_its_mail_aside(rig: Rig, state: bytes) -> None:
    broken, good = rig.accept(), rig.accept()
    damage(rig, broken, "state", state)
    assert rig.claim().id == good
    assert_put_aside(rig, broken)


@pytest.mark.parametrize("field", ["state", "recipients", "payload"])
def test_a_field_that_is_gone_puts_its_mail_aside(rig: Rig, field: str) -> None:
    broken, good = rig.accept(), rig.accept()
    rig.redis.hdel(rig.keys.record(broken), field)
    assert rig.claim().id == good
    assert_put_aside(rig, broken)


def test_a_policy_that_makes_no_sense_puts_its_mail_aside(rig: Rig) -> None:
    broken, good = rig.accept(), rig.accept()
    damage(rig, broken, "in_doubt", b"perhaps")
    assert rig.claim().id == good
    assert_put_aside(rig, broken)


@pytest.mark.parametrize("place", ["ready", "due", "claims"])
def test_a_key_that_holds_no_record_stops_nobody(rig: Rig, place: str) -> None:
    later = HOUR if place == "due" else 0
    broken, good = rig.accept(delay_ms=later), rig.accept(delay_ms=later)
    claims = {claim.id: claim for claim in rig.batch().mails} if place == "claims" else {}
    spoil(rig, broken)
    rig.make_due()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert rig.claim().id == good
    assert len(claims) in {0, 2}
    assert_put_aside(rig, broken)
    assert rig.ledger.requeue(LANE, [broken], HOUR).states == ("unknown",)
    assert rig.ledger.purge(LANE, [broken]) == ("purged",)
    assert rig.ledger.read(broken) is None
    assert rig.ledger.parked(LANE, "quarantined") == ()


def test_a_script_that_is_told_of_no_record_does_the_others(rig: Rig) -> None:
    ids = [rig.accept() for _ in range(2)]
    broken, good = rig.batch().mails
    spoil(rig, broken.id)
    assert rig.ledger.renew(LANE, [broken, good], HOUR) == (False, True)
    assert rig.ledger.mark_dot(LANE, [broken, good], HOUR) == (False, True)
    assert rig.ledger.cancel(LANE, ids) == ("unknown", "sending")
    assert rig.ledger.set_aside(LANE, [Unreadable(broken.id, broken.fence, "", may_heal=True)]) == ("fenced",)
    rig.ledger.release(LANE, [broken], Pause(1, 1, "why"))
    assert rig.ledger.settle(LANE, [Settlement(broken, "d"), Settlement(good, "d")]) == ("fenced", "sent")


def test_a_mail_put_aside_goes_on_when_it_was_mended(rig: Rig) -> None:
    mail = rig.accept(recipients=2)
    damage(rig, mail, "recipients", b"??")
    assert rig.batch().mails == ()
    damage(rig, mail, "recipients", b"pp")
    assert rig.ledger.requeue(LANE, [mail], HOUR).states == ("ready",)
    assert rig.ledger.parked(LANE, "quarantined") == ()
    assert rig.settle(rig.claim(), "dd") == "sent"


def test_a_damaged_mail_that_may_have_been_sent_is_flagged_for_its_next_go(rig: Rig) -> None:
    mail = rig.accept()
    rig.mark(rig.claim())
    damage(rig, mail, "expires", b"soon")
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert_put_aside(rig, mail)
    rig.redis.hdel(rig.keys.record(mail), "expires")
    rig.ledger.requeue(LANE, [mail], HOUR)
    assert rig.claim().possible_duplicates == 1


def test_a_record_that_vanished_from_its_place_in_line_is_counted(rig: Rig) -> None:
    rig.redis.delete(rig.keys.record(rig.accept()))
    assert rig.batch().mails == ()
    assert rig.counts() == {"accepted": 1, "vanished": 1}


def test_what_a_worker_cannot_read_for_good_is_put_aside_with_its_reason(rig: Rig) -> None:
    mail = rig.accept()
    claim = rig.claim()
    told = [Unreadable(mail, claim.fence, "corrupt payload", may_heal=False)]
    assert rig.ledger.set_aside(LANE, told) == ("quarantined",)
    assert_put_aside(rig, mail)
    assert rig.ledger.set_aside(LANE, told) == ("fenced",)
    record = rig.ledger.read(mail)
    assert record is not None
    assert (record.error, record.payload_bytes > 0) == ("corrupt payload", True)


def test_what_a_worker_cannot_read_now_waits_and_no_attempt_is_burnt(rig: Rig) -> None:
    mail = rig.accept()
    for _ in range(3):
        claim = rig.claim()
        assert claim.attempts == 1
        told = Unreadable(mail, claim.fence, "no key 'a'", may_heal=True)
        assert rig.ledger.set_aside(LANE, [told]) == ("deferred",)
        assert rig.homes(mail) == ["due"]
        assert rig.ledger.parked(LANE, "unreadable") == (mail,)
        assert rig.ledger.stats(LANE).unreadable == 1
        rig.make_due()
        rig.ledger.sweep(LANE)
    assert rig.counts()["unreadable"] == 3
    assert rig.settle(rig.claim(), "d") == "sent"


def unreadable(rig: Rig) -> str:
    """Accept a mail that no worker can read, and have it come back into line."""
    mail = rig.accept()
    rig.ledger.set_aside(LANE, [Unreadable(mail, rig.claim().fence, "no key 'a'", may_heal=True)])
    assert rig.ledger.parked(LANE, "unreadable") == (mail,)
    rig.make_due()
    rig.ledger.sweep(LANE)
    return mail


@pytest.mark.parametrize("letters", ["d", "-", "b", "i"])
def test_a_mail_that_was_read_at_last_leaves_the_list_of_the_unreadable_at_once(rig: Rig, letters: str) -> None:
    unreadable(rig)
    rig.settle(rig.claim(), letters, delay_ms=HOUR)
    assert rig.ledger.parked(LANE, "unreadable") == ()
    assert rig.ledger.stats(LANE).unreadable == 0


@pytest.mark.parametrize("end", ["cancelled", "quarantined", "sent by another"])
def test_a_mail_that_has_ended_is_not_listed_as_unreadable(rig: Rig, end: str) -> None:
    mail = unreadable(rig)
    if end == "cancelled":
        assert rig.ledger.cancel(LANE, [mail]) == ("cancelled",)
    elif end == "quarantined":
        damage(rig, mail, "recipients", b"?")
        assert rig.batch().mails == ()
    else:
        slow = rig.claim()
        rig.end_leases()
        rig.ledger.sweep(LANE)
        assert rig.settle(slow, "d") == "sent"
    assert rig.ledger.parked(LANE, "unreadable") == ()
    assert rig.ledger.stats(LANE).unreadable == 0


def test_what_may_have_been_sent_is_not_put_off_without_a_flag(rig: Rig) -> None:
    mail = rig.accept()
    claim = rig.claim()
    rig.mark(claim)
    assert rig.ledger.set_aside(LANE, [Unreadable(mail, claim.fence, "why", may_heal=True)]) == ("sending",)
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert rig.claim().possible_duplicates == 1


def test_a_mail_that_stayed_unreadable_until_its_time_was_over_is_kept_for_a_person(rig: Rig) -> None:
    mail = rig.accept()
    rig.ledger.set_aside(LANE, [Unreadable(mail, rig.claim().fence, "no key 'a'", may_heal=True)])
    rig.expire(mail)
    rig.make_due()
    rig.ledger.sweep(LANE)
    assert_put_aside(rig, mail)
    record = rig.ledger.read(mail)
    assert record is not None
    assert "no key 'a'" in record.error


def test_a_mail_that_was_read_at_last_and_expires_has_just_expired(rig: Rig) -> None:
    mail = rig.accept()
    rig.ledger.set_aside(LANE, [Unreadable(mail, rig.claim().fence, "no key 'a'", may_heal=True)])
    rig.make_due()
    rig.ledger.sweep(LANE)
    rig.settle(rig.claim(), "-", error="reply 450", delay_ms=HOUR)
    rig.expire(mail)
    rig.make_due()
    rig.ledger.sweep(LANE)
    assert rig.state(mail) == "expired"


def test_a_mail_of_a_newer_version_is_left_as_it_is_for_newer_workers(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    newer, good = rig.accept(), rig.accept()
    damage(rig, newer, "version", b"3")
    damage(rig, newer, "novelty", b"\x00\xff")
    before = rig.redis.hgetall(rig.keys.record(newer))
    for _ in range(3):
        assert [claim.id for claim in rig.batch().mails] in ([good], [])
        assert rig.homes(newer) == ["due"]
        assert rig.ledger.parked(LANE, "unreadable") == (newer,)
        rig.make_due()
        rig.ledger.sweep(LANE)
    after = rig.redis.hgetall(rig.keys.record(newer))
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {b"unreadable", b"error", b"due"}
    assert [record.message for record in caplog.records if "newer" in record.message] != []
    assert len(caplog.records) == 1


FIELDS = st.sampled_from((*NUMBERS, "state", "recipients", "payload", "envelope", "phase", "due", "history", "told"))
VALUES = st.one_of(
    st.sampled_from((*GARBAGE, b"ready", b"sending", b"sent", b"deferred", b"dot")), st.binary(max_size=9)
)
DAMAGES = st.lists(st.tuples(st.integers(0, 5), FIELDS, st.one_of(st.none(), VALUES)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(damages=DAMAGES, spoilt=st.sets(st.integers(0, 5), max_size=2))
def test_no_damage_stops_the_others_or_a_script(
    rig: Rig, damages: list[tuple[int, str, bytes | None]], spoilt: set[int]
) -> None:
    """Two mails in line, two on the schedule, two being sent; anything at all is wrong with some of them."""
    rig.redis.flushall()
    sending = [rig.accept() for _ in range(2)]
    stale = rig.batch().mails
    rig.mark(stale[0])
    mails = [*sending, *(rig.accept() for _ in range(2)), *(rig.accept(delay_ms=HOUR) for _ in range(2))]
    broken = {mails[place] for place, _, _ in damages} | {mails[place] for place in spoilt}
    for place, field, value in damages:
        if value is None:
            rig.redis.hdel(rig.keys.record(mails[place]), field)
        else:
            damage(rig, mails[place], field, value)
    for place in spoilt:
        spoil(rig, mails[place])
    for _ in range(4):
        rig.make_due()
        rig.end_leases()
        rig.ledger.sweep(LANE)
        rig.ledger.stats(LANE)
        claims = rig.batch(answering=True).mails
        rig.ledger.renew(LANE, claims, HOUR)
        rig.ledger.release(LANE, [claim for claim in claims if claim.id in broken][:1])
        rig.ledger.settle(LANE, [Settlement(c, "d" * len(c.recipients), told=b"told", note='{"n":1}') for c in claims])
        rig.ledger.settle(LANE, [Settlement(claim, "-", is_possible_duplicate=True) for claim in stale])
    for mail in mails:
        if mail not in broken:
            assert rig.state(mail) == "sent"
        else:
            rig.ledger.cancel(LANE, [mail])
            rig.ledger.requeue(LANE, [mail], HOUR)
            rig.ledger.purge(LANE, [mail])
    for home in ("ready", "due", "claims"):
        stuck = {mail.decode() for mail in rig.redis.zrange(getattr(rig.keys, home), 0, -1)}
        assert stuck <= broken


@pytest.mark.parametrize("spoil_counts", ["field", "type"])
def test_counters_that_make_no_sense_begin_anew_and_stop_nobody(rig: Rig, spoil_counts: str) -> None:
    """The lane's commands tell the others; a mail is accepted, sent and counted."""
    counts = rig.keys.counts
    rig.redis.hset(counts, "deferred", 7)
    if spoil_counts == "field":
        for name in ("accepted", "delivered", "cancelled", "\udcff"):
            rig.redis.hset(counts, name.encode("utf-8", "surrogateescape"), b"garbage\xff")
    else:
        rig.redis.set(counts, "garbage")
    deferred = {"deferred": 7} if spoil_counts == "field" else {}
    assert rig.counts() == deferred
    rig.accept()
    assert rig.settle(rig.claim(), "d") == "sent"
    rig.ledger.cancel(LANE, [rig.accept()])
    assert rig.counts() == deferred | {"accepted": 2, "delivered": 1, "cancelled": 1}
