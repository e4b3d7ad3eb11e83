from hypothesis import given
from hypothesis import strategies as st

from smtp_transport import PoolConfig
from smtp_transport.pool import limits

any_limits = st.builds(
    PoolConfig,
    max_connections=st.integers(5, 20),
    min_idle=st.integers(0, 5),
    max_lifetime=st.floats(1, 14_400),
    max_messages=st.none() | st.integers(1, 100),
    idle_timeout=st.floats(1, 1_800),
    health_check_after=st.floats(0, 3_600),
)


@given(any_limits, st.floats(0, 1))
def test_a_lifetime_is_never_longer_than_allowed_nor_much_shorter(config, chance):
    assert 0.9 * config.max_lifetime <= limits.lifetime(config, chance) * (1 + 1e-9)
    assert limits.lifetime(config, chance) <= config.max_lifetime


@given(any_limits, st.lists(st.floats(0, 4_000)))
def test_idle_links_go_when_they_are_overdue_and_the_minimum_stays(config, idle_for):
    idle_for.sort(reverse=True)
    going = limits.idled_out(idle_for, config)
    assert all(seconds > config.idle_timeout for seconds in idle_for[:going])
    kept = idle_for[going:]
    assert len(kept) >= min(len(idle_for), config.min_idle)
    assert all(seconds <= config.idle_timeout for seconds in kept) or len(kept) <= config.min_idle


@given(any_limits, st.integers(0, 40), st.integers(0, 40))
def test_a_surplus_is_what_does_not_fit_and_is_idle(config, idle, in_use):
    going = limits.surplus(idle, in_use, config)
    assert 0 <= going <= idle
    assert idle - going + in_use <= config.max_connections or going == idle
    assert going == 0 or idle - (going - 1) + in_use > config.max_connections


@given(any_limits, st.floats(0, 5_000), st.integers(0, 200))
def test_a_link_is_spent_by_age_or_by_mails(config, age, mails):
    allowed = limits.lifetime(config, 0.5)
    by_mails = config.max_messages is not None and mails >= config.max_messages
    assert limits.is_spent(age, allowed, mails, config) is (age >= allowed or by_mails)


@given(any_limits, st.floats(0, 5_000))
def test_a_link_that_was_spared_the_idle_timeout_is_checked(config, idle_for):
    assert limits.needs_check(idle_for, config) or idle_for <= min(config.idle_timeout, config.health_check_after)
