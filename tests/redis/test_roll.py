"""The roll of workers against a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailworker.health import Sign
from mailworker.ledger import LedgerFullError, Roll

if TYPE_CHECKING:
    from redis import Redis

    from tests.redis.conftest import Rig

SIGN = Sign(1, "1", "prefork", ("news",), 2, 0, 15)


@pytest.fixture
def roll(redis: Redis) -> Roll:
    return Roll(redis)


def test_a_worker_is_on_the_roll_by_its_last_sign_until_it_leaves(roll: Roll) -> None:
    roll.sign("b@host", SIGN)
    roll.sign("a@host", SIGN)
    first, second = roll.read()
    assert (first.name, second.name, first.sign) == ("a@host", "b@host", SIGN)
    assert 0 <= first.age_seconds < 5
    roll.leave("a@host")
    assert [seen.name for seen in roll.read()] == ["b@host"]


def test_a_silent_worker_grows_old_and_is_forgotten(roll: Roll, redis: Redis) -> None:
    roll.sign("silent@host", SIGN)
    redis.zincrby("mw:{@workers}:seen", -60_000, "silent@host")
    (seen,) = roll.read()
    assert seen.age_seconds >= 60
    assert not seen.is_alive
    redis.zincrby("mw:{@workers}:seen", -3_600_000, "silent@host")
    roll.sign("other@host", SIGN)
    assert [seen.name for seen in roll.read()] == ["other@host"]
    assert redis.hkeys("mw:{@workers}:signs") == [b"other@host"]


def test_a_roll_that_nobody_signs_ends_by_itself(roll: Roll, redis: Redis) -> None:
    roll.sign("a@host", SIGN)
    assert all(0 < redis.pttl(key) <= 3_600_000 for key in redis.keys("mw:{@workers}:*"))


def test_a_sign_that_cannot_be_read_is_passed_over(roll: Roll, redis: Redis) -> None:
    roll.sign("a@host", SIGN)
    redis.hset("mw:{@workers}:signs", "a@host", "no sign")
    assert roll.read() == ()


def test_a_full_ledger_takes_signs_and_no_mail(rig: Rig, roll: Roll, redis: Redis) -> None:
    rig.accept()
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(LedgerFullError):
            rig.accept()
        roll.sign("a@host", SIGN)
        assert [seen.name for seen in roll.read()] == ["a@host"]
    finally:
        redis.config_set("maxmemory", 0)


def test_no_lane_can_have_the_rolls_hash_tag(rig: Rig) -> None:
    with pytest.raises(ValueError, match="a lane's name"):
        rig.ledger.stats("@workers")
