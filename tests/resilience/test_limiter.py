import math
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport import ErrorKind, RateLimitError
from smtp_transport.resilience import RateLimiter
from tests.resilience.clocks import Clock

# Eighths of a second are exact in binary, so that sums of them can be compared.
EIGHTHS = st.integers(0, 64).map(lambda eighths: eighths / 8)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), EIGHTHS),
        st.tuples(st.just("take"), st.integers(0, 5)),
        st.tuples(st.just("reserve"), st.one_of(EIGHTHS, st.just(math.inf))),
    ),
    max_size=60,
)


def earliest(moments, most, window, now):
    """Say when one more may go, the slow way: not before those in front, and no window over its limit."""
    candidates = sorted({now, *moments, *(moment + window for moment in moments)})
    return next(
        at
        for at in candidates
        if at >= max([now, *moments]) and sum(at - window < moment <= at for moment in moments) < most
    )


@given(steps=STEPS, most=st.integers(1, 4), window=st.integers(1, 40).map(lambda eighths: eighths / 8))
def test_no_window_has_more_than_allowed_and_nobody_waits_longer_than_that_needs(steps, most, window):
    clock = Clock()
    limiter = RateLimiter(most, window, clock, "mails")
    moments = []
    for what, how in steps:
        if what == "pass":
            clock.now += how
        elif what == "take":
            taken = limiter.take(how)
            for _ in range(taken):
                assert earliest(moments, most, window, clock.now) == clock.now
                moments.append(clock.now)
            assert taken == how or earliest(moments, most, window, clock.now) > clock.now
        else:
            due = earliest(moments, most, window, clock.now)
            if due - clock.now <= how:
                assert limiter.reserve(how) == due
                moments.append(due)
            else:
                with pytest.raises(RateLimitError):
                    limiter.reserve(how)
    for first, last in zip(moments, moments[most:], strict=False):
        assert last - first >= window
    assert all(before <= after for before, after in pairwise(moments))


def test_a_refusal_says_when_there_is_room(clock):
    limiter = RateLimiter(2, 10.0, clock, "mails")
    assert limiter.take(5) == 2
    clock.now += 3.0
    with pytest.raises(RateLimitError) as refused:
        limiter.reserve(6.9)
    assert refused.value.kind is ErrorKind.LOCAL_RATE_LIMIT_EXCEEDED
    assert refused.value.is_retryable
    assert "2 mails in 10 s" in refused.value.message
    assert "room in 7.0 s" in refused.value.message
    assert limiter.reserve(7.0) == clock.now + 7.0


def test_threads_together_take_no_more_than_one_would(clock):
    limiter = RateLimiter(1_000, 10.0, clock, "mails")
    taken = []
    together = threading.Barrier(8)

    def work():
        together.wait(10)
        taken.extend(limiter.take(1) for _ in range(400))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(taken), sum(taken)) == (3_200, 1_000)
