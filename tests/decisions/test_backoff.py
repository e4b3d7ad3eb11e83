"""When a mail is tried again."""

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
    assert 2 * 3_600_000 <= BACKOFF.wait_ms(40) <= 4 * 3_600_000


def test_mails_deferred_together_do_not_come_back_together():
    assert len({BACKOFF.wait_ms(5) for _ in range(50)}) > 25


def test_a_server_that_asks_for_time_gets_it_within_the_bound():
    assert BACKOFF.wait_ms(1, 300) == 300_000
    assert BACKOFF.wait_ms(1, 1e9) == BACKOFF.slow_max_ms
