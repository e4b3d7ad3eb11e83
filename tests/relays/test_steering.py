"""What a person does to relays and lanes takes effect at once, everywhere."""

import datetime as dt
import re
import socket
from zoneinfo import ZoneInfo

import pytest

from mailworker import Email, app, send_email
from mailworker.fleet import BreakerState, FleetKeys, Links
from mailworker.health import Sign
from mailworker.ledger import Pause, Roll, Server
from mailworker.steering import Steering
from tests.relays.conftest import run, told

EMAIL = Email(from_="shop@example.com", to="ann@example.org", subject="Hi", text_body="Hi.")
HOURS_MS = 3_600_000


@pytest.fixture(autouse=True)
def settings(configure):
    configure(
        RELAYS__DEFAULT__HOST="localhost",
        RELAYS__B__HOST="b.example.com",
        RELAYS__B__LIMITS="5/s",
        RELAYS__B__ALL_CONNECTIONS="7",
        LANES__NEWS__RELAY="b, default",
    )


def ledger():
    return app.runtime.ledger


@pytest.mark.parametrize(("word", "state"), [("open", "open"), ("hold", "held")])
def test_a_breaker_is_opened_by_hand_with_its_reason_and_closed_again(word, state):
    assert run("relay", word, "b", "--reason", "maintenance") == f"relay b: closed -> {state}\n"
    shown = told("relay", "show", "b")
    assert (shown["state"], shown["reason"], shown["place"]) == (state, "maintenance", "b.example.com:587")
    assert (shown["retry_ms"] > 0) == (state == "open")
    assert "maintenance" in run("relay", "show", "b")
    assert "maintenance" in run("relay", "list")
    assert run("relay", "close", "b") == f"relay b: {state} -> closed\n"
    assert told("relay", "show", "b")["reason"] == ""


def test_closing_a_relay_ends_the_rests_of_its_lanes_and_rings(rung):
    for lane in ("news", "default"):
        send_email.apply_async((EMAIL,), lane=lane)
        ledger().pauses.rest(lane, 60_000, "relay b is left alone")
    rung.clear()
    run("relay", "close", "b")
    assert (ledger().stats("news").paused_ms, rung) == (0, ["news"])
    assert ledger().stats("default").paused_ms > 0


def test_closing_a_relay_leaves_a_lane_alone_that_a_person_paused(rung):
    send_email.apply_async((EMAIL,), lane="news")
    run("lane", "pause", "news")
    rung.clear()
    run("relay", "close", "b")
    assert ledger().stats("news").is_paused_by_hand
    assert rung == []


def test_a_rate_is_pinned_until_it_is_unpinned():
    run("relay", "pin", "b", "2.5")
    assert told("relay", "show", "b")["rate"] == 2.5
    assert "2.5/s pinned" in run("relay", "list")
    run("relay", "unpin", "b")
    assert (told("relay", "show", "b")["rate"], told("relay", "show", "b")["is_pinned"]) == (None, False)
    assert "Invalid value" in run("relay", "pin", "b", "0", status=2)


@pytest.mark.parametrize(
    ("limits", "rate", "warning"),
    [
        ("5/s", "50", "5/s is 5 mails a second"),
        ("5/s, 3600/h", "1.5", "3600/h is 1 mails a second"),
        ("60 recipients/min", "2", "60 recipients/min is 1 mails a second"),
        ("5/s", "5", None),
        ("5/s", "0.5", None),
        ("", "50", None),
    ],
)
def test_a_rate_that_is_pinned_above_the_limits_is_told_with_both_figures(configure, limits, rate, warning):
    configure(RELAYS__B__LIMITS=limits)
    output = run("relay", "pin", "b", rate)
    assert f"relay b is sent {rate} mails a second\n" in output
    assert ("warning" in output) == (warning is not None)
    assert warning is None or warning in output
    assert told("relay", "show", "b")["rate"] == float(rate)


def test_a_rate_that_is_pinned_above_the_warm_up_is_told_with_both_figures(configure):
    configure(RELAYS__B__WARM_UP_START="2026-01-01", RELAYS__B__WARM_UP_DAILY=",".join(["432"] * 20_000))
    assert "432 today, warming up is 0.005 mails a second" in run("relay", "pin", "b", "1")


def test_the_connections_that_are_held_are_shown():
    server = Server(app.runtime.redis)
    links = Links(server.run, server.read, FleetKeys("mw").links("relay", "b"), 7)
    links.lease("one", 3, 60_000)
    links.lease("two", 2, 60_000)
    shown = told("relay", "list")["b"]
    assert (shown["connections"], shown["processes"], shown["most_connections"]) == (5, 2, 7)
    assert "5/7" in run("relay", "list")


@pytest.mark.parametrize(("time", "ms"), [("2h", 2 * HOURS_MS), ("90s", 90_000), ("30min", 1_800_000)])
def test_a_lane_is_paused_for_a_time_and_resumed(rung, time, ms):
    send_email.apply_async((EMAIL,), lane="news")
    run("lane", "pause", "news", "--for", time, "--reason", "stop the presses")
    lane = told("lane", "list")["news"]
    assert (lane["pause_reason"], lane["is_paused_by_hand"]) == ("stop the presses", True)
    assert ms - 10_000 < lane["pause_ends_ms"] <= lane["paused_ms"] <= ms
    assert "stop the presses" in run("lane", "list")
    rung.clear()
    assert run("lane", "resume", "news") == "lane news goes on\n"
    assert rung == ["news"]
    assert run("lane", "resume", "news") == "lane news was not paused\n"


def test_a_pause_without_an_end_lasts_until_it_is_resumed():
    run("lane", "pause", "news")
    assert "until resumed" in run("status")
    assert "30s, 5m, 2h or 1d" in run("lane", "pause", "news", "--for", "soon", status=2)


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (5 * HOURS_MS, r"until (\d{4}-\d\d-\d\d )?\d\d:\d\d Asia/Tokyo"),
        (40 * HOURS_MS, r"until \d{4}-\d\d-\d\d \d\d:\d\d Asia/Tokyo"),
        (90_000, r"for (89|90) s"),
        (None, r"for now, looked at again in (59|60) s"),
    ],
)
def test_people_see_until_when_a_lane_is_closed_not_when_it_is_looked_at(configure, ends, told):
    configure(LANES__NEWS__TIME_ZONE="Asia/Tokyo")
    ledger().pauses.rest("news", 60_000, "outside its hours", ends)
    assert re.search(f"paused {told}: outside its hours", run("status"))
    assert re.search(f"{told} +outside its hours", run("lane", "list"))


def test_the_moment_that_is_told_is_the_one_in_the_lane_s_time_zone(configure):
    configure(LANES__NEWS__TIME_ZONE="Asia/Tokyo")
    ledger().pauses.rest("news", 60_000, "outside its hours", 5 * HOURS_MS)
    end = dt.datetime.now(ZoneInfo("Asia/Tokyo")) + dt.timedelta(hours=5)
    around = {f"{end + dt.timedelta(minutes=late):%H:%M}" for late in (-1, 0)}
    shown = re.search(r"(\d\d:\d\d) Asia/Tokyo", run("lane", "list"))
    assert shown is not None
    assert shown[1] in around


def test_a_failure_after_a_closed_lane_was_opened_has_no_end_of_its_own(valkey):
    ledger().pauses.rest("news", 60_000, "outside its hours", 5 * HOURS_MS)
    with valkey.client() as client:
        client.hset("mw:{news}:pause", "until", 1)
    ledger().release("news", [], Pause(60_000, 60_000, "refused"))
    assert (ledger().stats("news").pause_reason, ledger().stats("news").pause_ends_ms) == ("refused", None)


def test_a_pause_by_hand_that_is_over_leaves_rests_to_the_drains(valkey):
    ledger().pauses.rest("news", 60_000, "a person", by_hand=True)
    with valkey.client() as client:
        client.hset("mw:{news}:pause", "until", 1)
    assert ledger().pauses.rest("news", 5_000, "a limit")
    assert ledger().stats("news").pause_reason == "a limit"


@pytest.mark.parametrize("words", [("relay", "show", "c"), ("relay", "close", "c"), ("lane", "pause", "newz")])
def test_unknown_names_are_told_with_those_that_there_are(words):
    assert "news" in run(*words, status=2) or "b" in run(*words, status=2)


def test_a_worker_whose_relays_all_refuse_our_credentials_is_not_ready():
    name = f"celery@{socket.gethostname()}"
    Roll(app.runtime.redis).sign(name, Sign(1, "1", "prefork", ("news",), 2, 0, 15))
    steering = Steering(app.runtime)
    for relay, faults in (("b", []), ("default", ["credentials"])):
        steering.switch(relay, BreakerState.OPEN, "credentials_expired: no OAuth token: answered 400")
        told_faults = told("worker", "check", "--ready", status=len(faults))["faults"]
        assert [word in fault for word, fault in zip(faults, told_faults, strict=True)] == [True] * len(faults)


def test_status_shows_relays_beside_lanes():
    run("relay", "hold", "b", "--reason", "maintenance")
    shown = told("status")
    assert shown["relays"]["b"]["state"] == "held"
    assert set(shown["relays"]) == {"b", "default"}
    assert "maintenance" in run("status")
