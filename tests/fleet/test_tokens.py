"""A token is fetched by one for all, replaced before it ends, and renewed once where the relay refused it."""

from __future__ import annotations

import pytest

from mailworker.fleet import TokenAnswer, Tokens
from tests.fleet.conftest import World

HOUR, EARLY, LEAVE = 3_600_000, 300_000, 20_000


@pytest.fixture
def tokens(world: World) -> Tokens:
    return Tokens(world.run, world.keys.token("ses", "a" * 16))


def take(tokens: Tokens, who: str, refused: int | None = None) -> TokenAnswer:
    return tokens.take(who, refused, LEAVE, EARLY)


def fetched(tokens: Tokens, who: str = "one", *, lives: int = HOUR) -> None:
    answer = take(tokens, who)
    assert answer.state == "refresh"
    assert tokens.keep(answer.version, b"t" + str(answer.version + 1).encode(), lives, was_refused=False)


def test_one_fetches_and_the_others_wait_for_it(tokens: Tokens) -> None:
    assert take(tokens, "one").state == "refresh"
    waiting = take(tokens, "two")
    assert (waiting.state, 0 < waiting.wait_ms <= 200) == ("wait", True)
    assert tokens.keep(0, b"t1", HOUR, was_refused=False)
    assert (take(tokens, "two").state, take(tokens, "two").blob) == ("held", b"t1")


def test_whoever_dies_while_it_fetches_is_followed_by_another(world: World, tokens: Tokens) -> None:
    take(tokens, "dead")
    world.now += LEAVE
    fetched(tokens, "two")
    assert not tokens.keep(0, b"late", HOUR, was_refused=False)
    assert take(tokens, "one").blob == b"t1"


def test_a_token_is_replaced_early_and_used_meanwhile(world: World, tokens: Tokens) -> None:
    fetched(tokens)
    world.now += HOUR - EARLY
    assert take(tokens, "two").state == "refresh"
    assert take(tokens, "one").blob == b"t1"
    world.now += EARLY
    assert take(tokens, "one").state == "refresh"


def test_a_token_that_lives_short_is_not_replaced_all_the_time(world: World, tokens: Tokens) -> None:
    fetched(tokens, lives=EARLY)
    assert take(tokens, "two").state == "held"
    world.now += EARLY * 3 // 4
    assert take(tokens, "two").state == "refresh"


def test_a_refused_token_is_renewed_once(world: World, tokens: Tokens) -> None:
    fetched(tokens)
    answer = take(tokens, "two", refused=1)
    assert (answer.state, answer.reason) == ("refresh", "refused")
    assert take(tokens, "three", refused=1).state == "wait"
    assert tokens.keep(1, b"t2", HOUR, was_refused=True)
    assert take(tokens, "three", refused=1).blob == b"t2"
    again = take(tokens, "two", refused=2)
    assert (again.state, "just been renewed" in again.reason) == ("failed", True)
    world.now += 60_000
    assert take(tokens, "two", refused=2).state == "refresh"


def test_a_failure_is_told_to_all_and_not_repeated_at_once(world: World, tokens: Tokens) -> None:
    take(tokens, "one")
    tokens.failed("one", 5_000, "credentials_expired|over")
    for who in ("one", "two"):
        told = take(tokens, who)
        assert (told.state, told.reason, told.wait_ms) == ("failed", "credentials_expired|over", 5_000)
    world.now += 5_000
    assert take(tokens, "two").state == "refresh"


def test_a_failure_to_replace_early_takes_nothing_away(world: World, tokens: Tokens) -> None:
    fetched(tokens)
    world.now += HOUR - EARLY
    take(tokens, "two")
    tokens.failed("two", 5_000, "|away")
    assert take(tokens, "one").blob == b"t1"
