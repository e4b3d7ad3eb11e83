"""The short form of `make fleet`: real workers, relays that fail, workers killed, Redis restarted; and its judge."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.stage.play import LIMIT, Plan, Told
from tests.fleet.stage.verdicts import broken, findings

ROOT = Path(__file__).parents[2]


@pytest.mark.system
@pytest.mark.timeout(120)
def test_limits_caps_and_probes_hold_while_workers_and_redis_are_killed(tmp_path):
    """What a busy machine may make late is left to the long form."""
    words = ["--workers", "8", "--seconds", "9", "--waiting", "500", "--seed", "short"]
    told = tmp_path / "told.json"
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fleet", *words, "--json", str(told), "--keep", str(tmp_path / "stage")],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAILWORKER_")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert told.exists(), ran.stderr
    found = json.loads(told.read_text())["findings"]
    assert {each["kind"] for each in found} == {
        "limit",
        "small",
        "shared",
        "throttle",
        "cap",
        "crowd",
        "dead",
        "failover",
    }
    assert [each for each in found if each["is_kept"] is False and not each["is_timed"]] == []


def told(**left) -> Told:
    kinds = left.pop("kinds")
    return Told(Plan(2, 10.0, "x", kinds), began=0.0, wall_offset=0.0, **left)


def relay(**seen):
    return {
        "mails": [],
        "throttled": [],
        "let_in": [],
        "crowded": [],
        "dead": [],
        "peak": 0,
        "peaked": 0.0,
        "crowd": [],
        **seen,
    }


def names(found) -> list[str]:
    return [each.what for each in broken(found) if not each.is_timed]


@pytest.mark.parametrize(("more", "is_broken"), [(0, False), (1, True)])
def test_one_mail_more_in_a_second_is_found(more, is_broken):
    grants = [("w0", "limit", 300, LIMIT, 0), ("w1", "limit", 400, more, 0), ("w1", "limit", 402, 5, 0)]
    what = names(findings(told(kinds=("limit",), grants=grants, relays={"limit": relay()})))
    assert (what == ["granted in any second, at most"]) is is_broken


def test_what_was_given_back_is_not_counted():
    grants = [("w0", "limit", 300, LIMIT, 0), ("w0", "limit", 300, -20, 5), ("w1", "limit", 350, 20, 0)]
    assert not names(findings(told(kinds=("limit",), grants=grants, relays={"limit": relay()})))


@pytest.mark.parametrize(("late_ms", "is_broken"), [(390, True), (400, False)])
def test_more_mails_than_were_under_way_are_found(late_ms, is_broken):
    """Mails that were granted 1.4 s apart arrive at once."""
    mails = [(3.0, "w0", "bulk")] * (LIMIT + 5)
    grants = [("w0", "limit", 300, LIMIT, 0), ("w0", "limit", 440, 5, 0), ("w0", "limit", 300, 0, late_ms)]
    what = names(findings(told(kinds=("limit",), grants=grants, relays={"limit": relay(mails=mails)})))
    assert bool(what) is is_broken


def test_one_connection_more_is_found():
    assert names(findings(told(kinds=("cap",), relays={"cap": relay(peak=3)}))) == ["connections at once, at most"]


def test_attempts_that_a_dead_relay_cost_and_too_many_tries_are_found():
    relays = {"dead": relay(dead=[n / 10 for n in range(60)], mails=[(7.5, "w0", "dead")])}
    left = told(
        kinds=("dead",),
        relays=relays,
        moments={"heal dead": 7.0},
        attempts=[0, 1],
    )
    assert len(names(findings(left))) == 3
