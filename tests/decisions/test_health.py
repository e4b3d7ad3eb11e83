"""What a worker's sign of life means."""

from dataclasses import replace

import pytest

from mailworker.health import Seen, Sign, faults_of_life, faults_of_readiness, find

SIGN = Sign(
    pid=7,
    version="1",
    pool="prefork",
    lanes=("default", "bulk"),
    processes=4,
    active=1,
    patience_seconds=18,
    drained_seconds=2.5,
)
SEEN = Seen("celery@a", 0.4, SIGN)


def test_a_sign_comes_back_as_it_was_written():
    assert Sign.from_json(SIGN.to_json()) == SIGN


def test_a_sign_of_a_newer_version_is_read_as_far_as_it_is_known():
    assert Sign.from_json(SIGN.to_json()[:-1] + ',"mood":"good"}') == SIGN


@pytest.mark.parametrize("text", ["", "no", "[]", "{}", '{"lanes":5}', '{"lanes":["a"]}'])
def test_what_is_no_sign_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Sign.from_json(text)


def test_nothing_speaks_against_a_worker_that_gives_signs():
    assert faults_of_life(SEEN) == ()
    assert faults_of_readiness(SEEN, {}) == ()
    assert SEEN.is_alive


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        (replace(SEEN, age_seconds=18.1), "watch"),
        (replace(SEEN, sign=replace(SIGN, stuck_seconds=60)), "pool"),
        (replace(SEEN, sign=replace(SIGN, unanswered_seconds=60)), "consumes nothing"),
    ],
)
def test_a_worker_that_restarting_would_mend_is_not_alive_and_not_ready(seen, what):
    (fault,) = faults_of_life(seen)
    assert what in fault
    assert faults_of_readiness(seen, {}) == (fault,)
    assert not seen.is_alive


def test_a_worker_that_is_late_for_a_moment_lives():
    slow = replace(SEEN, age_seconds=17, sign=replace(SIGN, stuck_seconds=59, unanswered_seconds=59))
    assert faults_of_life(slow) == ()


@pytest.mark.parametrize(
    ("sign", "pauses", "what"),
    [
        (replace(SIGN, takes_bells=False), {}, "broker"),
        (SIGN, {"bulk": "credentials_invalid"}, "bulk"),
        (SIGN, {"default": "credentials_expired", "bulk": "authentication_required"}, "default, bulk"),
    ],
)
def test_what_restarting_would_not_mend_makes_a_worker_unready_but_not_dead(sign, pauses, what):
    seen = replace(SEEN, sign=sign)
    (fault,) = faults_of_readiness(seen, pauses)
    assert what in fault
    assert faults_of_life(seen) == ()


@pytest.mark.parametrize("pauses", [{"default": "connection_refused"}, {"other": "credentials_invalid"}])
def test_a_relay_that_is_down_for_a_while_and_another_lanes_trouble_do_not_matter(pauses):
    assert faults_of_readiness(SEEN, pauses) == ()


def test_a_worker_is_found_by_its_whole_name():
    assert find([SEEN], "celery@a") is SEEN
    assert find([SEEN], "celery") is None
