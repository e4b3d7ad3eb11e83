from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailworker.keys import LaneKeys, check_lane, lane_of, made_at, new_mail_id

LANES = st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True)
TIMES = st.integers(0, 2**48 - 1)
RANDOMNESS = st.binary(min_size=10, max_size=10)


@given(LANES, TIMES, RANDOMNESS)
def test_an_id_tells_its_lane_and_its_time(lane: str, ms: int, randomness: bytes) -> None:
    mail_id = new_mail_id(lane, ms, randomness)
    assert lane_of(mail_id) == lane
    assert made_at(mail_id) == ms
    assert len(mail_id) == len(lane) + 27


@given(TIMES, TIMES, RANDOMNESS, RANDOMNESS)
def test_ids_of_a_lane_sort_by_time(one: int, two: int, first: bytes, second: bytes) -> None:
    by_id = sorted((new_mail_id("a", one, first), new_mail_id("a", two, second)))
    assert [made_at(mail_id) for mail_id in by_id] == sorted((one, two))


@given(TIMES, st.binary(min_size=10, max_size=10).filter(lambda b: b[:2] != b"\xff\xff"), st.integers(1, 5000))
def test_mails_made_together_keep_their_order(ms: int, randomness: bytes, place: int) -> None:
    assert new_mail_id("a", ms, randomness, place - 1) < new_mail_id("a", ms, randomness, place)


def test_a_known_ulid_is_written_as_its_specification_says() -> None:
    assert new_mail_id("a", 2**48 - 1, b"\xff" * 10) == "a-7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
    assert new_mail_id("a", 0, bytes(9) + b"\x20") == "a-00000000000000000000000010"


@pytest.mark.parametrize("lane", ["", "A", "a" * 33, "a}b", "a:b", "ä", "a b", "a\n"])
def test_a_lane_name_that_could_move_a_key_is_refused(lane: str) -> None:
    with pytest.raises(ValueError, match="lane"):
        check_lane(lane)
    with pytest.raises(ValueError, match="lane"):
        LaneKeys("mw", lane)


@pytest.mark.parametrize("prefix", ["", "m{w", "m w", "p" * 33, "mw\n"])
def test_a_prefix_that_could_move_the_hash_tag_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        LaneKeys(prefix, "news")


@pytest.mark.parametrize(
    "mail_id",
    [
        "",
        "news",
        "news-",
        "news-01HF7YAT00000000000000000",
        "news-01HF7YAT00000000000000000U",
        "news-8" + "0" * 25,
        "news-" + "0" * 26 + "\n",
        "news:" + "0" * 26,
        "News-" + "0" * 26,
        "-" + "0" * 26,
    ],
)
def test_what_is_no_id_is_refused(mail_id: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        lane_of(mail_id)
    with pytest.raises(ValueError, match="no id"):
        made_at(mail_id)


@pytest.mark.parametrize(("ms", "randomness", "place"), [(-1, bytes(10), 0), (2**48, bytes(10), 0), (0, b"", 0)])
def test_an_id_is_not_made_of_what_does_not_fit(ms: int, randomness: bytes, place: int) -> None:
    with pytest.raises(ValueError, match="an id needs"):
        new_mail_id("news", ms, randomness, place)


def test_all_keys_of_a_lane_share_one_hash_tag() -> None:
    keys = LaneKeys("mw", "news")
    mail_id = new_mail_id("news", 0, bytes(10))
    every = [*keys.every, keys.record(mail_id), keys.ended(mail_id), keys.idempotency("0" * 64)]
    assert all(key.startswith("mw:{news}:") and key.count("{") == key.count("}") == 1 for key in every)
    assert len(set(every)) == len(every)


def test_a_mail_of_another_lane_has_no_key_here() -> None:
    with pytest.raises(ValueError, match="another lane"):
        LaneKeys("mw", "news").record(new_mail_id("bulk", 0, bytes(10)))


def test_an_idempotency_key_is_never_stored_in_clear() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        LaneKeys("mw", "news").idempotency("order-4711:anna@example.com")
