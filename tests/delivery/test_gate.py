"""What all workers share decides when, how much and through which relay a lane sends."""

import datetime as dt
from collections import Counter
from zoneinfo import ZoneInfo

import pytest

from mailworker.doorway import Doorway, lane_terms
from mailworker.fleet import BreakerState
from mailworker.gate import Pass, Wait
from mailworker.passage import WINDOW
from mailworker.policy.complaints import Complaint
from mailworker.policy.hours import Hours
from mailworker.record import Claiming
from mailworker.report import report_on
from mailworker.settings import Settings
from smtp_transport.envelope import Transaction
from smtp_transport.errors import ErrorKind, SmtpConnectionError
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt
from smtp_transport.reply import Reply
from tests.delivery.test_drain import LANE, OK, Desk, Script, Wire, client, desk, receipt  # noqa: F401 - fixtures

DOWN = SmtpConnectionError("nobody answers", ErrorKind.CONNECTION_REFUSED)


def configured(desk: Desk, **sections: object) -> None:  # noqa: F811 - the fixture's name says it best
    """Give the desk a lane and relays by settings; each relay has a wire of its own."""
    settings = Settings(**sections)
    desk.doorway.harbour.close()
    desk.doorway = Doorway(settings, desk.redis, lambda relay, links: 0)
    desk.lane = lane_terms(LANE, settings.lane(LANE))
    desk.wires = {relay: Wire() for relay in settings.used_relays}


def states(desk: Desk, mails: list[str]) -> Counter[str]:  # noqa: F811 - the fixture's name says it best
    return Counter(desk.state(mail) for mail in mails)


def test_what_a_limit_does_not_let_go_stays_in_line_with_no_attempt_burnt(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "5/min"}})
    mails = desk.accept(count=12)
    desk.drain()
    assert states(desk, mails) == {"sent": 5, "ready": 7}
    assert {desk.ledger.read(mail).attempts for mail in mails if desk.state(mail) == "ready"} == {0}
    assert 50_000 < desk.ledger.stats(LANE).paused_ms <= 60_000


def test_a_short_wait_for_a_limit_is_waited_out(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "40/s burst 4"}})
    mails = desk.accept(count=12)
    desk.drain()
    assert states(desk, mails) == {"sent": 12}


def test_a_lane_s_own_limit_holds_beside_its_relay_s(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "10/min"}}, lanes={LANE: {"limits": "3/min"}})
    mails = desk.accept(count=5)
    desk.drain()
    assert states(desk, mails) == {"sent": 3, "ready": 2}


def test_recipients_are_counted_when_they_are_known(desk):  # noqa: F811
    configured(desk, limits={"recipients": 4}, relays={"default": {"limits": "4 recipients/min"}})
    first = desk.accept("a@x.test", "b@x.test", "c@x.test", priority=0)
    second = desk.accept("d@x.test", "e@x.test")
    desk.drain()
    assert states(desk, first + second) == {"sent": 1, "deferred": 1}
    assert desk.ledger.read(second[0]).attempts == 0


def test_each_domain_has_a_limit_of_its_own(desk, client):  # noqa: F811
    configured(desk, relays={"default": {"domain_limits": "big.test 2/min, * 1/min"}})
    big = [mail for n in range(4) for mail in desk.accept(f"u{n}@BIG.test")]
    small = [mail for n in range(2) for mail in desk.accept("u@small.test")]
    other = desk.accept("u@other.test")
    desk.drain()
    assert states(desk, big) == {"sent": 2, "deferred": 2}
    assert states(desk, small) == {"sent": 1, "deferred": 1}
    assert states(desk, other) == {"sent": 1}
    assert not [key for key in client.scan_iter() if b"big" in key]


def test_a_warm_up_bounds_the_day(desk):  # noqa: F811
    today = dt.datetime.now(dt.UTC).date()
    configured(desk, relays={"default": {"limits": "90/day", "warm_up_start": today, "warm_up_daily": [2, 50]}})
    mails = desk.accept(count=5)
    desk.drain()
    assert states(desk, mails) == {"sent": 2, "ready": 3}


def test_a_lane_outside_its_hours_waits(desk):  # noqa: F811
    zone = ZoneInfo("UTC")
    later = (dt.datetime.now(zone) + dt.timedelta(hours=2)).strftime("%H:00")
    after = (dt.datetime.now(zone) + dt.timedelta(hours=3)).strftime("%H:00")
    configured(desk, lanes={LANE: {"hours": (Hours.parse(f"{later}-{after}"),)}})
    mails = desk.accept(count=2)
    desk.drain()
    assert states(desk, mails) == {"ready": 2}
    assert desk.ledger.stats(LANE).pause_reason == "outside its hours"


def closed_for(desk: Desk) -> float:  # noqa: F811
    """Drain, and tell for how many seconds the lane says that it is closed; it is looked at within a minute."""
    desk.accept()
    desk.drain()
    stats = desk.ledger.stats(LANE)
    assert 0 < stats.paused_ms <= 60_000
    assert stats.pause_ends_ms is not None
    return stats.pause_ends_ms / 1000


def test_a_lane_outside_its_hours_tells_when_they_begin(desk):  # noqa: F811
    now = dt.datetime.now(dt.UTC)
    opens = now.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=5)
    hours = (Hours.parse(f"{opens:%H:%M}-{opens + dt.timedelta(hours=1):%H:%M}"),)
    configured(desk, lanes={LANE: {"hours": hours}})
    assert closed_for(desk) == pytest.approx((opens - now).total_seconds(), abs=30)


def test_a_lane_whose_relay_has_used_up_its_day_tells_when_mails_may_go_again(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "2/day"}})
    desk.accept(count=4)
    assert 86_400 - 60 < closed_for(desk) < 86_400 + 2 * 864  # a limit is counted by the hundredth of its window


@pytest.mark.parametrize(("daily", "is_rolling"), [([2, 50], False), ([2, 2, 50], True), ([2], False)])
def test_a_relay_that_is_being_warmed_up_tells_when_its_next_day_allows_more(desk, daily, is_rolling):  # noqa: F811
    now = dt.datetime.now(dt.UTC)
    relay = {"limits": "90/day", "warm_up_start": now.date(), "warm_up_daily": daily}
    configured(desk, relays={"default": relay})
    desk.accept(count=4)
    midnight = dt.datetime.combine(now.date() + dt.timedelta(days=1), dt.time(), dt.UTC)
    told = closed_for(desk)
    assert (told > 86_400 - 60) == is_rolling
    assert is_rolling or told == pytest.approx((midnight - now).total_seconds(), abs=30)


def test_a_lane_tells_when_the_first_of_its_relays_is_tried_again(desk):  # noqa: F811
    two_relays(desk, "a, b")
    desk.doorway.breakers["a"].switch(BreakerState.OPEN, "maintenance", open_ms=3_000_000)
    desk.doorway.breakers["b"].switch(BreakerState.OPEN, "maintenance", open_ms=1_000_000)
    assert closed_for(desk) == pytest.approx(1000, abs=30)
    assert desk.ledger.stats(LANE).pause_reason == "relay b is left alone"


def test_a_relay_held_by_hand_says_nothing_of_an_end(desk):  # noqa: F811
    two_relays(desk, "a, b")
    desk.accept()
    desk.doorway.breakers["a"].switch(BreakerState.HELD)
    desk.doorway.breakers["b"].switch(BreakerState.OPEN, "maintenance", open_ms=1_000_000)
    assert closed_for(desk) == pytest.approx(1000, abs=30)
    desk.ledger.pauses.resume(LANE)
    desk.doorway.breakers["b"].switch(BreakerState.HELD)
    desk.drain()
    stats = desk.ledger.stats(LANE)
    assert (0 < stats.paused_ms <= 60_000, stats.pause_ends_ms) == (True, None)
    assert "by hand" in stats.pause_reason


def two_relays(desk: Desk, relay: str, **lane: object) -> None:  # noqa: F811
    configured(desk, relays={"a": {"breaker_failures": 2}, "b": {}}, lanes={LANE: {"relay": relay, **lane}})


def test_the_second_relay_takes_over_when_the_first_is_down_and_hands_back_when_it_heals(desk):  # noqa: F811
    two_relays(desk, "a, b")
    desk.wires["a"].cannot_connect = DOWN
    mails = desk.accept(count=7)
    desk.drain()
    assert states(desk, mails) == {"sent": 7}
    assert (len(desk.wires["a"].sent), len(desk.wires["b"].sent)) == (0, 7)
    assert {desk.ledger.read(mail).attempts for mail in mails} == {1}
    desk.wires["a"].cannot_connect = None
    desk.doorway.breakers["a"].switch(BreakerState.CLOSED)
    desk.accept(count=3)
    desk.drain()
    assert len(desk.wires["a"].sent) == 3


def test_a_mail_names_the_relay_that_took_it_or_tried_it_last(desk):  # noqa: F811
    two_relays(desk, "a, b")
    desk.wires["a"].script = lambda _, mail: receipt(mail, Phase.RCPT, Reply(450, "4.2.0", ("later",)))
    (mail,) = desk.accept()
    desk.drain()
    assert (desk.state(mail), desk.ledger.read(mail).relay) == ("deferred", "a")
    desk.doorway.breakers["a"].switch(BreakerState.HELD)
    desk.redis.zadd(f"mw:{{{LANE}}}:due", {mail: 0})
    desk.ledger.sweep(LANE)
    desk.drain()
    report = report_on(desk.ledger.read(mail), desk.keys)
    assert (report.state, report.relay) == ("sent", "b")
    assert [note["relay"] for note in report.history] == ["a", "b"]


def test_a_mail_that_was_delivered_at_once_names_its_relay(desk):  # noqa: F811
    two_relays(desk, "b")
    mails = desk.accept(count=30)
    desk.drain()
    assert {desk.ledger.read(mail).relay for mail in mails} == {"b"}


def held_at(desk: Desk, relay: str, place: int) -> Script:  # noqa: F811
    """A wire on which a person holds the relay before one mail of a batch is sent."""

    def script(index: int, mail: Transaction) -> Receipt:
        if index == place:
            breaker = desk.doorway.breakers[relay]
            breaker.switch(BreakerState.HELD)
            desk.ledger.pauses.recall(LANE, relay, breaker.report().epoch)
        return receipt(mail, Phase.DOT, OK)

    return script


def test_a_relay_that_is_held_in_the_middle_of_a_batch_leaves_the_rest_to_the_next(desk):  # noqa: F811
    two_relays(desk, "a, b")
    desk.wires["a"].script = held_at(desk, "a", 5)
    mails = desk.accept(count=90)
    desk.drain()
    assert states(desk, mails) == {"sent": 90}
    assert {desk.ledger.read(mail).attempts for mail in mails} == {1}
    assert 5 <= len(desk.wires["a"].sent) <= WINDOW


def test_leave_that_was_good_for_several_batches_is_asked_for_anew_when_a_person_has_stopped_one(desk):  # noqa: F811
    two_relays(desk, "a")
    desk.accept(count=60)
    desk.drain()
    claims: list[object] = []
    claim = desk.ledger.claim
    desk.ledger.claim = lambda *told, **named: (claims.append(told), claim(*told, **named))[1]
    desk.wires["a"].script = held_at(desk, "a", 5)
    mails = desk.accept(count=190)
    desk.drain()
    assert len(claims) == 1
    assert "left alone by hand" in desk.ledger.stats(LANE).pause_reason
    assert {desk.ledger.read(mail).attempts for mail in mails if desk.state(mail) == "ready"} == {0}


def test_a_drain_whose_leave_is_recalled_although_its_relay_is_open_to_it_ends(desk):  # noqa: F811
    """As after the loss of a breaker's key: better late than round and round."""
    two_relays(desk, "a")
    desk.ledger.pauses.recall(LANE, "a", 7)
    mails = desk.accept(count=90)
    desk.drain()
    assert states(desk, mails) == {"ready": 90}
    assert {desk.ledger.read(mail).attempts for mail in mails} == {0}
    assert len(desk.wires["a"].sent) == 0


def test_relays_of_one_order_share_the_work_by_weight(desk):  # noqa: F811
    two_relays(desk, "a*3 + b")
    turns: Counter[str] = Counter()
    for _ in range(400):
        leave = desk.doorway.gate.enter(desk.lane, "w", 1)
        turns[leave.relay] += 1
        desk.doorway.gate.give_back(leave)
    assert 220 < turns["a"] < 370


def test_a_domain_keeps_its_relay(desk):  # noqa: F811
    two_relays(desk, "a + b", sticky_domains=True)
    for _ in range(3):
        for n in range(12):
            desk.accept(f"u@d{n}.test")
    desk.drain()
    of_a = {recipients[0] for recipients in desk.wires["a"].sent}
    of_b = {recipients[0] for recipients in desk.wires["b"].sent}
    assert not of_a & of_b
    assert len(of_a) + len(of_b) == 12
    assert of_a
    assert of_b


def test_a_domain_moves_when_its_relay_is_down(desk):  # noqa: F811
    two_relays(desk, "a + b", sticky_domains=True)
    desk.doorway.breakers["a"].switch(BreakerState.HELD)
    mails = [mail for n in range(12) for mail in desk.accept(f"u@d{n}.test")]
    desk.drain()
    assert states(desk, mails) == {"sent": 12}


def test_a_relay_held_by_hand_is_left_alone_until_it_is_closed_by_hand(desk):  # noqa: F811
    (mail,) = desk.accept()
    desk.doorway.breakers["default"].switch(BreakerState.HELD, "maintenance")
    desk.drain()
    assert desk.state(mail) == "ready"
    desk.doorway.breakers["default"].switch(BreakerState.CLOSED)
    desk.ledger.pauses.resume(LANE)
    desk.drain()
    assert desk.state(mail) == "sent"


def test_a_relay_that_is_let_go_just_before_its_lane_is_told_to_rest_is_used_at_once(desk, monkeypatch):  # noqa: F811
    mails = desk.accept(count=3)
    breaker = desk.doorway.breakers["default"]
    breaker.switch(BreakerState.HELD, "maintenance")
    rest = desk.ledger.pauses.rest

    def let_go_first(*arguments: object) -> bool:
        breaker.switch(BreakerState.CLOSED)
        desk.ledger.pauses.resume(LANE)
        return rest(*arguments)

    monkeypatch.setattr(desk.ledger.pauses, "rest", let_go_first)
    desk.drain()
    assert states(desk, mails) == {"sent": 3}
    assert desk.ledger.stats(LANE).paused_ms == 0


def test_a_half_open_breaker_lets_one_mail_find_out(desk):  # noqa: F811
    desk.doorway.breakers["default"].switch(BreakerState.OPEN, open_ms=1)
    mails = desk.accept(count=9)
    desk.wire.script = lambda _, mail: receipt(mail, Phase.MAIL, Reply(421, None, ("closing down",)))
    desk.drain()
    assert sorted(states(desk, mails).items()) == [("deferred", 1), ("ready", 8)]
    assert desk.doorway.breakers["default"].report().state is BreakerState.OPEN


def test_three_probes_that_went_well_close_it_and_all_mail_flows(desk):  # noqa: F811
    desk.doorway.breakers["default"].switch(BreakerState.OPEN, open_ms=1)
    mails = desk.accept(count=9)
    desk.drain()
    assert states(desk, mails) == {"sent": 9}
    assert desk.doorway.breakers["default"].report().state is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("code", "enhanced", "text"),
    [
        (454, "4.7.0", "Throttling failure: Maximum sending rate exceeded."),
        (421, "4.7.28", "Our system has detected an unusual rate of mail"),
        (450, "4.7.1", "Rate limit exceeded, slow down"),
    ],
)
def test_a_relay_that_throttles_is_slowed_down_for_everybody_and_its_breaker_stays_closed(desk, code, enhanced, text):  # noqa: F811
    desk.accept(count=10)
    desk.drain()
    desk.wire.script = lambda _, mail: receipt(mail, Phase.DOT, Reply(code, enhanced, (text,)))
    (mail,) = desk.accept()
    desk.drain_once()
    assert desk.state(mail) == "deferred"
    lesson = desk.doorway.gate._limiter.lesson("default")
    assert lesson.rate is not None
    assert lesson.ceiling == pytest.approx(2 * lesson.rate, rel=0.01)
    assert desk.doorway.breakers["default"].report().state is BreakerState.CLOSED


def test_a_relay_that_asks_for_a_pause_gets_one_from_all(desk):  # noqa: F811
    desk.wire.script = lambda _, mail: receipt(
        mail, Phase.DOT, Reply(451, "4.7.1", ("Rate limit exceeded, try again in 300 seconds",))
    )
    desk.accept(count=2)
    desk.drain_once()
    answer = desk.doorway.gate.enter(desk.lane, "another", 1)
    assert isinstance(answer, Wait)
    assert 290_000 < answer.ms <= 300_000


def test_a_daily_quota_bounces_nobody(desk):  # noqa: F811
    desk.wire.script = lambda _, mail: receipt(
        mail, Phase.DOT, Reply(550, "5.4.5", ("Daily user sending limit exceeded.",))
    )
    (mail,) = desk.accept()
    desk.drain_once()
    assert desk.state(mail) == "deferred"
    assert isinstance(desk.doorway.gate.enter(desk.lane, "another", 1), Wait)


def test_too_many_connections_lower_what_all_may_have(desk):  # noqa: F811
    desk.wire.cannot_connect = SmtpConnectionError(
        "the server closes: Concurrent connections limit exceeded", ErrorKind.CONNECTION_REFUSED, 432
    )
    (mail,) = desk.accept()
    desk.drain_once()
    assert desk.ledger.read(mail).attempts == 0
    assert desk.doorway.breakers["default"].report().state is BreakerState.CLOSED
    assert desk.doorway.gate._doors["default"].berth._pools[0].report().learnt == 1


def test_a_pause_by_hand_is_ended_by_hand_only(desk, client):  # noqa: F811
    desk.ledger.pauses.rest(LANE, 60_000, "stop the presses", by_hand=True)
    (mail,) = desk.accept()
    assert not desk.ledger.pauses.rest(LANE, 1, "a limit")
    assert not desk.ledger.pauses.resume(LANE)
    desk.drain()
    assert desk.state(mail) == "ready"
    assert desk.ledger.pauses.resume(LANE, by_hand=True)
    desk.drain()
    assert desk.state(mail) == "sent"


def test_what_was_granted_and_not_used_is_given_back(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "50/min"}})
    desk.accept(count=2)
    desk.drain()
    answer = desk.doorway.gate.enter(desk.lane, "w", 50)
    assert isinstance(answer, Pass)
    assert answer.mails == 48


def leaves(desk: Desk, mails: int, most: int) -> list[tuple[int, bool]]:  # noqa: F811
    """Ask twice, for the first answer tells if anything bounds the relay: for how many, and for several batches?"""
    told = []
    for _ in range(2):
        leave = desk.doorway.gate.enter(desk.lane, "w", mails, most=most)
        assert isinstance(leave, Pass)
        told.append((leave.mails, leave.is_good_for(mails)))
        desk.doorway.gate.give_back(leave)
        assert not leave.is_good_for(1)
    return told


@pytest.fixture
def no_hurry(monkeypatch):
    monkeypatch.setattr("mailworker.gate._GOOD_SECONDS", 60.0)


@pytest.mark.usefixtures("no_hurry")
def test_leave_that_nothing_bounds_is_good_for_several_batches(desk):  # noqa: F811
    assert leaves(desk, 5, most=20) == [(5, False), (20, True)]


@pytest.mark.usefixtures("no_hurry")
@pytest.mark.parametrize(
    "sections",
    [
        {"relays": {"default": {"limits": "1000/min"}}},
        {"relays": {"default": {}}, "lanes": {LANE: {"limits": "1000/min"}}},
        {"relays": {"a": {}, "b": {}}, "lanes": {LANE: {"relay": "a*2, b"}}},
    ],
    ids=["a limit of the relay", "a limit of the lane", "two relays"],
)
def test_leave_is_for_one_batch_where(desk, sections):  # noqa: F811
    configured(desk, **sections)
    assert leaves(desk, 5, most=20) == [(5, False), (5, False)]


@pytest.mark.usefixtures("no_hurry")
def test_a_relay_that_teaches_a_rate_is_asked_for_one_batch_at_a_time_again(desk):  # noqa: F811
    assert leaves(desk, 5, most=20)[1] == (20, True)
    leave = desk.doorway.gate.enter(desk.lane, "w", 100)
    leave.used = 100
    desk.doorway.gate.complained(leave, Complaint.RATE, None)
    desk.doorway.gate.give_back(leave)
    leave = desk.doorway.gate.enter(desk.lane, "w", 1, most=20)
    assert isinstance(leave, Wait) or not leave.is_good_for(1)


@pytest.mark.usefixtures("no_hurry")
def test_batches_that_go_by_one_leave_are_counted_as_what_they_were(desk, client):  # noqa: F811
    desk.claiming = Claiming(5, 1 << 20, 60_000, 5)
    asked = []
    real = desk.doorway.gate.enter
    desk.doorway.gate.enter = lambda *what, **more: (asked.append(what), real(*what, **more))[1]
    mails = desk.accept(count=33)
    desk.drain()
    assert states(desk, mails) == {"sent": 33}
    assert len(asked) < 33 / 5
    (key,) = client.keys("*lesson*")
    assert sum(int(count) for name, count in client.hgetall(key).items() if name.startswith(b"s")) == 33


def test_a_pause_by_hand_stops_a_drain_between_two_windows(desk, monkeypatch):  # noqa: F811
    monkeypatch.setattr("mailworker.delivery._PAUSE_SEEN_SECONDS", 0.0)
    mails = desk.accept(count=30)

    def pause(index, mail):
        if index == 2:
            desk.ledger.pauses.rest(LANE, 3_600_000, "stop", by_hand=True)
        return receipt(mail, Phase.DOT, Reply(250))

    desk.wire.script = pause
    desk.drain()
    counted = states(desk, mails)
    assert counted["sent"] < 15
    assert counted["sent"] + counted["ready"] == 30
    assert {desk.ledger.read(mail).attempts for mail in mails if desk.state(mail) == "ready"} == {0}
    desk.wire.script = Wire().script
    desk.ledger.pauses.resume(LANE, by_hand=True)
    desk.drain()
    assert states(desk, mails) == {"sent": 30}


def test_a_domain_s_mails_go_by_another_relay_though_its_limit_was_just_drawn_on(desk):  # noqa: F811
    """What was taken for the batch is given back before it is asked for again."""
    configured(
        desk, relays={"a": {}, "b": {"limits": "6/min"}}, lanes={LANE: {"relay": "a, b", "sticky_domains": True}}
    )
    desk.doorway.breakers["a"].switch(BreakerState.HELD)
    mails = [mail for n in range(6) for mail in desk.accept(f"u@d{n}.test")]
    desk.drain()
    assert states(desk, mails) == {"sent": 6}


def test_recipients_that_were_counted_and_not_sent_to_are_given_back(desk):  # noqa: F811
    configured(
        desk,
        limits={"recipients": 10},
        relays={"default": {"limits": "10 recipients/min", "domain_limits": "* 10/min"}},
    )
    desk.wires["default"].cannot_connect = DOWN
    (mail,) = desk.accept("a@x.test", "b@x.test", "c@y.test")
    desk.drain_once()
    assert desk.state(mail) == "ready"
    gate = desk.doorway.gate
    leave = gate.enter(desk.lane, "w", 1)
    assert gate.weigh(desk.lane, leave, [["x.test"] * 10]).waits == (0,)
    gate.give_back(leave)


def test_a_slice_that_ends_while_it_waits_for_a_limit_lets_others_go_on(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "2/s"}})
    desk.slice_seconds = 0.2
    desk.accept(count=9)
    desk.ledger.bells.ring(LANE)
    desk.drain()
    assert desk.ledger.stats(LANE).paused_ms == 0
    assert desk.rung, "somebody else is to go on"


def test_a_process_without_a_link_lets_others_hear_the_bell_and_leaves_the_lane_alone(desk):  # noqa: F811
    configured(desk, relays={"default": {"all_connections": 1}})
    other = Doorway(Settings(relays={"default": {"all_connections": 1}}), desk.redis, lambda relay, links: links)
    held = other.gate.enter(desk.lane, "w", 1)
    assert isinstance(held, Pass)
    desk.slice_seconds = 0.2
    mails = desk.accept(count=3)
    desk.ledger.bells.ring(LANE)
    desk.drain()
    assert states(desk, mails) == {"ready": 3}
    assert desk.rung == [LANE]
    assert desk.ledger.stats(LANE).paused_ms == 0
    other.gate.give_back(held)
    other.harbour.close()


def test_nobody_waits_for_a_limit_where_no_mail_does(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "1/s"}})
    desk.accept(count=1)
    desk.drain()
    desk.drain()
    assert desk.ledger.stats(LANE).paused_ms == 0


def test_a_probe_is_renewed_until_it_is_given_back(desk):  # noqa: F811
    desk.doorway.breakers["default"].switch(BreakerState.OPEN, open_ms=1)
    gate, harbour = desk.doorway.gate, desk.doorway.harbour
    leave = gate.enter(desk.lane, "w", 5)
    while isinstance(leave, Wait):
        leave = gate.enter(desk.lane, "w", 5)
    assert leave.is_probe
    assert len(harbour._kept) == 1
    gate.give_back(leave)
    gate.give_back(leave)
    assert not harbour._kept
    assert gate.enter(desk.lane, "another", 5).is_probe


def test_a_quota_that_is_used_up_teaches_no_rate(desk):  # noqa: F811
    desk.wire.script = lambda _, mail: receipt(
        mail, Phase.DOT, Reply(550, "5.4.5", ("Daily user sending limit exceeded.",))
    )
    desk.accept()
    desk.drain_once()
    assert desk.doorway.gate._limiter.lesson("default").rate is None


def test_a_relay_that_is_not_to_teach_is_left_alone_for_as_long_as_it_asks(desk):  # noqa: F811
    configured(desk, relays={"default": {"learns": False}})
    desk.wires["default"].script = lambda _, mail: receipt(
        mail, Phase.DOT, Reply(451, "4.7.1", ("Rate limit exceeded, try again in 300 seconds",))
    )
    desk.accept(count=2)
    desk.drain_once()
    assert desk.doorway.gate._limiter.lesson("default").rate is None
    assert desk.doorway.gate.enter(desk.lane, "another", 1).all_ms > 290_000


def test_a_relay_that_stays_down_is_no_news(desk, caplog):  # noqa: F811
    desk.wire.cannot_connect = DOWN
    desk.accept(count=2)
    desk.doorway.breakers["default"].failed("w", 0, "down", open_ms=1)
    for _ in range(5):
        desk.lift_pause(desk.redis)
        desk.drain()
        desk.doorway.breakers["default"].switch(BreakerState.OPEN, open_ms=1)
    assert desk.doorway.breakers["default"].report().opened > 5
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_host_is_named_by_a_digest_whatever_it_is_called(desk, client):  # noqa: F811
    configured(desk, relays={"default": {"host": "[::1%lo]", "host_connections": 2}})
    leave = desk.doorway.gate.enter(desk.lane, "w", 1)
    assert isinstance(leave, Pass)
    assert any(key.startswith(b"mw:{host:") for key in client.scan_iter())


@pytest.mark.parametrize("is_other_type", [True, False])
def test_nonsense_in_what_workers_share_stops_no_lane(desk, client, is_other_type, caplog):  # noqa: F811
    configured(desk, relays={"default": {"all_connections": 2}})
    fields = {"relay:default}:breaker": "epoch", "relay:default}:most": "most", "relay:default}:links": "somebody"}
    keys = {f"mw:{{{key}": field for key, field in fields.items()} | {"mw:{*}:lesson:default": "rate"}
    for key, field in keys.items():
        client.set(key, "garbage") if is_other_type else client.hset(key, field, "garbage")
    mails = desk.accept(count=12)
    desk.drain()
    assert states(desk, mails) == {"sent": 12}
    told = [
        record.getMessage().partition(" made no sense")[0] for record in caplog.records if record.levelname == "ERROR"
    ]
    assert sorted(told) == sorted(keys)


def test_a_limit_that_makes_no_sense_counts_as_used_up_and_its_cure_is_told(desk, client, caplog):  # noqa: F811
    configured(desk, relays={"default": {"limits": "10/min"}})
    client.set("mw:{*}:bucket:relay:default/mails/60", "garbage")
    mails = desk.accept(count=12)
    desk.drain()
    assert states(desk, mails) == {"ready": 12}
    assert 0 < desk.ledger.stats(LANE).paused_ms <= 60_000
    (cure,) = [r.getMessage().partition("redis-cli DEL ")[2] for r in caplog.records if r.levelname == "ERROR"]
    client.delete(cure.strip("'"))
    desk.ledger.pauses.resume(LANE)
    desk.drain()
    assert states(desk, mails) == {"sent": 10, "ready": 2}
