"""Messages that are not ours, on a real server: kept whole and sealed, until somebody decides."""

from __future__ import annotations

import datetime as dt
import re
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from mailworker.keys import strays_of
from mailworker.ledger import LedgerError, Server
from mailworker.sealing import KeyRing, new_key
from mailworker.strays import Message, Strays

if TYPE_CHECKING:
    from redis import Redis

OLD, NEW = new_key("old"), new_key("new")
FOLDER = resources.files("mailworker.scripts") / "stray"
NAMES = sorted(f.name.removesuffix(".lua") for f in FOLDER.iterdir())
HEADERS = {"id": "4711", "task": "shop.charge", "at": dt.datetime(2026, 11, 21, tzinfo=dt.UTC), "n": {1: 2}}
CHARGE = Message("mail.default", "shop.charge", "why", b"marker-body\x00\xff", HEADERS, {"content_type": "a/b"})
PLAIN = Message("mail.default", "", "why", b"{}", {}, {})


def strays(redis: Redis, *keys: str) -> Strays:
    return Strays(Server(redis), "mw", KeyRing.parse(keys))


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_takes_and_answers(name: str) -> None:
    text = (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    assert text.startswith(f"-- {name}: ")
    for part in ("KEYS", "ARGV", "ANSWERS", "PARTS"):
        assert re.search(rf"^-- {part} +\S", text, re.MULTILINE), part


@pytest.mark.parametrize("keys", [(), (NEW,)])
def test_a_stray_comes_back_as_it_was(redis: Redis, keys: tuple[str, ...]) -> None:
    kept = strays(redis, *keys)
    stray_id = kept.keep(CHARGE)
    (stray,) = kept.all()
    assert (stray.id, stray.key_id) == (stray_id, "new" if keys else "")
    assert stray.message.body == CHARGE.body
    assert stray.message.headers == HEADERS | {"at": str(HEADERS["at"])}
    assert (stray.message.queue, stray.message.task, stray.message.reason) == ("mail.default", "shop.charge", "why")
    (held,) = redis.hvals(strays_of("mw")[0])
    assert (b"marker" in held) == (not keys)
    assert "marker" not in repr(stray)


def test_a_task_that_is_delivered_twice_is_kept_once_and_what_has_no_id_is_never_the_same(redis: Redis) -> None:
    kept = strays(redis)
    assert kept.keep(CHARGE) == kept.keep(CHARGE)
    assert kept.keep(PLAIN) != kept.keep(PLAIN)
    assert kept.count() == 3


def test_strays_are_found_and_dropped_by_their_ids(redis: Redis) -> None:
    kept = strays(redis)
    ids = [kept.keep(PLAIN) for _ in range(250)]
    assert [stray.id for stray in kept.all()] == sorted(
        ids, key=lambda each: (redis.zscore(strays_of("mw")[1], each), each)
    )
    assert set(kept.named([ids[7], "0" * 16])) == {ids[7]}
    assert kept.drop([*ids[:249], "0" * 16]) == 249
    assert [stray.id for stray in kept.all()] == [ids[249]]
    assert kept.drop([]) == 0


def test_strays_go_from_one_key_to_the_next(redis: Redis) -> None:
    stray_id = strays(redis, OLD).keep(CHARGE)
    (unread,) = strays(redis, NEW).all()
    assert (unread.id, unread.key_id, unread.message) == (stray_id, "old", None)
    assert strays(redis, NEW).reseal() == 1
    assert strays(redis, NEW, OLD).reseal() == 0
    (read,) = strays(redis, NEW).all()
    assert (read.key_id, read.message.body) == ("new", CHARGE.body)


def test_a_damaged_stray_keeps_nobody_from_the_others(redis: Redis) -> None:
    kept = strays(redis)
    damaged, whole = kept.keep(CHARGE), kept.keep(PLAIN)
    redis.hset(strays_of("mw")[0], damaged, b"MW\x00garbage")
    assert {stray.id: stray.message is None for stray in kept.all()} == {damaged: True, whole: False}


def test_a_key_that_holds_something_else_is_an_error_of_the_ledger(redis: Redis) -> None:
    redis.set(strays_of("mw")[0], b"x")
    with pytest.raises(LedgerError):
        strays(redis).keep(PLAIN)
