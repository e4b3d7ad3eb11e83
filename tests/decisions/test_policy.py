"""What people write about relays and lanes means what they think."""

import datetime as dt
import random
from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailworker.policy.hours import Hours, wait_seconds
from mailworker.policy.rates import Rate
from mailworker.policy.routes import Route, for_domain, in_turn
from mailworker.policy.warmup import WarmUp

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("14/s", Rate(14, 1)),
        ("14 / second", Rate(14, 1)),
        ("100 recipients/min", Rate(100, 60, of_recipients=True)),
        ("1 recipient/h", Rate(1, 3600, of_recipients=True)),
        ("50000/day burst 200", Rate(50000, 86400, burst=200)),
        ("30/10min", Rate(30, 600)),
        ("2000 mails/d", Rate(2000, 86400)),
    ],
)
def test_a_rate_is_written_as_people_say_it(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text", ["", "14", "0/s", "-1/s", "14/fortnight", "10/s burst 11", "1e3/s", "10/0s", "14/s now"]
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"14/s|allows nothing"):
        Rate.parse(text)


@given(
    st.integers(1, 10**8), st.sampled_from([1, 60, 90, 600, 3600, 7200, 86400]), st.booleans(), st.integers(0, 10**8)
)
def test_a_rate_reads_what_it_writes(limit: int, window: int, recipients: bool, burst: int) -> None:  # noqa: FBT001 - hypothesis passes it
    rate = Rate(limit, window, recipients, min(burst, limit))
    assert Rate.parse(str(rate)) == rate


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(dt.UTC)


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (["mon-fri 08:00-20:00"], "2026-11-20T10:00", "2026-11-20T10:00"),
        (["mon-fri 08:00-20:00"], "2026-11-20T20:00", "2026-11-23T08:00"),
        (["mon-fri 08:00-20:00"], "2026-11-20T07:59", "2026-11-20T08:00"),
        (["22:00-06:00"], "2026-11-21T03:00", "2026-11-21T03:00"),
        (["22:00-06:00"], "2026-11-21T06:00", "2026-11-21T22:00"),
        (["sat,sun 10:00-24:00"], "2026-11-23T00:00", "2026-11-28T10:00"),
        (["sun-mon 10:00-11:00"], "2026-11-23T10:30", "2026-11-23T10:30"),
        (["mon 08:00-09:00", "wed 08:00-09:00"], "2026-11-23T09:00", "2026-11-25T08:00"),
        ([], "2026-11-23T09:00", "2026-11-23T09:00"),
        # The clocks go forward in the night: 02:30 does not exist, and nobody waits a day for it.
        (["02:30-04:00"], "2026-03-29T01:00", "2026-03-29T03:30"),
    ],
)
def test_a_lane_waits_for_its_hours(hours: list[str], now: str, until: str) -> None:
    spans = [Hours.parse(text) for text in hours]
    assert at(now) + dt.timedelta(seconds=wait_seconds(spans, BERLIN, at(now))) == at(until)


@pytest.mark.parametrize("text", ["", "8-20", "mon 25:00-26:00", "foo 08:00-20:00", "08:00-08:00", "mon- 08:00-09:00"])
def test_what_are_no_hours_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="mon-fri 08:00-20:00"):
        Hours.parse(text)


@given(
    st.integers(0, 366 * 86400),
    st.sampled_from(["mon 00:00-00:01", "fri 23:59-24:00"]),
)
def test_the_wait_ends_within_hours(second: int, text: str) -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=second)
    spans = [Hours.parse(text)]
    later = now + dt.timedelta(seconds=wait_seconds(spans, BERLIN, now))
    assert wait_seconds(spans, BERLIN, later) == 0
    assert later - now <= dt.timedelta(days=8)


def test_a_warm_up_grows_day_by_day_and_ends() -> None:
    plan = WarmUp(dt.date(2026, 11, 1), (50, 100, 200))
    caps = [plan.cap_on(dt.date(2026, 10, 30) + dt.timedelta(days=n)) for n in range(6)]
    assert caps == [50, 50, 50, 100, 200, None]
    for daily in ((), (0,), (5, 4)):
        with pytest.raises(ValueError, match="warm-up"):
            WarmUp(dt.date(2026, 11, 1), daily)


def test_later_relays_are_asked_only_after_all_earlier_ones() -> None:
    routes = [Route("backup", order=1), Route("a", weight=1), Route("b", weight=1)]
    for _ in range(50):
        *first, last = in_turn(routes, random.random)
        assert last == "backup"
        assert set(first) == {"a", "b"}


def test_weights_share_the_work() -> None:
    draw = random.Random(3).random
    firsts = Counter(next(in_turn([Route("a", weight=3), Route("b", weight=1)], draw)) for _ in range(4000))
    assert firsts["a"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_a_domain_keeps_its_relay_when_others_come_and_go() -> None:
    three = [Route(name) for name in ("a", "b", "c")]
    domains = [f"d{n}.example" for n in range(600)]
    before = {domain: next(for_domain(three, domain)) for domain in domains}
    assert all(count > 120 for count in Counter(before.values()).values())
    without_c = {domain: next(for_domain(three[:2], domain)) for domain in domains}
    assert all(without_c[domain] == before[domain] for domain in domains if before[domain] != "c")
    assert next(for_domain(three, "D1.EXAMPLE")) == before["d1.example"]
