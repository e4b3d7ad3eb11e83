"""When a mail is tried again."""

from dataclasses import replace
from itertools import accumulate

import pytest
from celery.utils.time import get_exponential_backoff_interval
from hypothesis import given
from hypothesis import strategies as st

from mailworker.backoff import Backoff

BACKOFF = Backoff(get_exponential_backoff_interval)


@given(st.integers(1, 10_000))
def test_a_wait_is_never_nothing_and_never_beyond_the_bound(attempts):
    assert 250 <= BACKOFF.wait_ms(attempts) <= BACKOFF.slow_max_ms


def test_the_first_three_retries_are_quick_and_double():
    for attempt, most in ((1, 500), (2, 1000), (3, 2000)):
        assert most // 2 <= BACKOFF.wait_ms(attempt) <= most


def test_later_retries_take_minutes_then_hours():
    assert 30_000 <= BACKOFF.wait_ms(4) <= 60_000
    assert 2 * 3_600_000 <= BACKOFF.wait_ms(12) <= 256 * 60_000
    assert 12 * 3_600_000 <= BACKOFF.wait_ms(40) <= 24 * 3_600_000


def test_mails_deferred_together_do_not_come_back_together():
    assert len({BACKOFF.wait_ms(5) for _ in range(50)}) > 25


def test_a_day_of_retries_is_a_dozen_and_five_days_fit_the_cap_of_attempts():
    longest = list(accumulate(BACKOFF.wait_ms(attempt) for attempt in range(1, 31)))
    assert sum(moment <= 86_400_000 for moment in longest) <= 15
    assert longest[-1] > 5 * 86_400_000


@pytest.mark.parametrize(("asked", "least"), [(300, 300_000), (0, 1000), (0.2, 1000), (1e9, 86_400_000)])
def test_a_server_that_asks_for_time_gets_it_within_the_bounds_and_a_tenth_more_at_most(asked, least):
    waits = {BACKOFF.wait_ms(1, asked) for _ in range(50)}
    assert least <= min(waits)
    assert max(waits) <= least * 1.1
    assert len(waits) > 10


def test_the_bounds_of_what_a_server_may_ask_for_can_be_set():
    strict = replace(BACKOFF, asked_min_ms=60_000, asked_max_ms=600_000)
    assert 60_000 <= strict.wait_ms(1, 1) <= 66_000
    assert 600_000 <= strict.wait_ms(1, 86_400) <= 660_000


def test_a_server_cannot_make_us_hurry():
    assert BACKOFF.wait_ms(10, 1) >= 32 * 60_000
