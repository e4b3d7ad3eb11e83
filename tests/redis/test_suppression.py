"""Lists of addresses that are not tried again, on a real server: found by who has the keys, hidden from others."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailworker.keys import LaneKeys, suppressed_everywhere
from mailworker.ledger import LedgerError, Server
from mailworker.scripts import load_script
from mailworker.sealing import KeyRing, new_key
from mailworker.suppression import Entry, Suppressions

if TYPE_CHECKING:
    from redis import Redis

ANN, BOB = "ann@example.org", "bob@example.org"
WHY = "550 5.1.1"
DAY_MS = 86_400_000
OLD, NEW = new_key("old"), new_key("new")
FOLDER = resources.files("mailworker.scripts") / "suppress"
NAMES = sorted(f.name.removesuffix(".lua") for f in FOLDER.iterdir())


class CountedServer(Server):
    """Counts calls."""

    calls = 0

    def run(self, *arguments: object) -> object:
        self.calls += 1
        return super().run(*arguments)


def lists(redis: Redis, *keys: str) -> Suppressions:
    return Suppressions(CountedServer(redis), "mw", KeyRing.parse(keys))


def calls(those: Suppressions) -> int:
    return those._server.calls


@pytest.mark.parametrize("keys", [(), (NEW,)], ids=["clear", "sealed"])
def test_an_address_is_suppressed_in_its_lane_or_in_all(redis: Redis, keys: tuple[str, ...]) -> None:
    those = lists(redis, *keys)
    assert those.add("news", [Entry(ANN, WHY)]) == 1
    assert those.add(None, [Entry(BOB, "asked us to stop")]) == 1
    assert set(those.reasons("news", [ANN, BOB, "eve@example.org"])) == {ANN, BOB}
    assert set(those.reasons("bulk", [ANN, BOB])) == {BOB}
    assert re.fullmatch(r"550 5\.1\.1, since 2\d{3}-\d\d-\d\d", those.reasons("news", [ANN])[ANN])
    assert those.remove(None, [BOB, ANN]) == 1
    assert set(those.reasons("news", [ANN, BOB])) == {ANN}


def test_an_address_is_found_however_its_letters_are_written(redis: Redis) -> None:
    those = lists(redis, NEW)
    those.add("news", [Entry("Ann@Example.org", WHY)])
    assert set(those.among("news", [ANN, "ANN@example.ORG"])) == {ANN, "ANN@example.ORG"}


def test_redis_learns_no_address_and_no_reason(redis: Redis) -> None:
    """NF-SEC-04: what lies in Redis tells neither who nor why; without keys only that the name is a hash."""
    lists(redis, NEW).add("news", [Entry(ANN, "wrote to bob@example.org")])
    lists(redis, NEW).add(None, [Entry(ANN, "wrote to bob@example.org")])
    stored = b"".join(redis.dump(key) or b"" for key in redis.scan_iter())
    assert not re.search(rb"ann|bob|example|wrote", stored)
    named = {name for key in redis.scan_iter("*till") for name in redis.zrange(key, 0, -1)}
    assert KeyRing().address_names(ANN.encode(), b"mw")[0] not in named


def test_names_of_two_deployments_without_keys_are_not_alike(redis: Redis) -> None:
    one, two = (KeyRing().address_names(ANN.encode(), salt) for salt in (b"mw", b"other"))
    assert one != two


def test_an_entry_ends_when_its_time_is_over_and_goes(redis: Redis) -> None:
    those = lists(redis)
    those.add("news", [Entry(ANN, WHY, lasting_ms=DAY_MS), Entry(BOB, WHY)])
    values, ends = LaneKeys("mw", "news").suppressed
    redis.zadd(ends, {those._names(ANN)[0]: 1_700_000_000_000})
    assert set(those.among("news", [ANN, BOB])) == {BOB}
    assert [entry.address for entry in those.entries("news")] == [BOB]
    those.add("news", [Entry("eve@example.org", WHY)])
    assert redis.hlen(values) == redis.zcard(ends) == 2


def test_days_are_counted_from_now_and_no_days_are_for_good(redis: Redis) -> None:
    those = lists(redis)
    those.add("news", [Entry(ANN, WHY, lasting_ms=2 * DAY_MS), Entry(BOB, WHY, lasting_ms=0)])
    ann, bob = those.get("news", ANN), those.get("news", BOB)
    assert ann.until_ms - ann.since_ms == 2 * DAY_MS
    assert bob.until_ms is None


def test_what_a_person_said_is_not_shortened_by_a_bounce(redis: Redis) -> None:
    those = lists(redis, NEW, OLD)
    lists(redis, OLD).add("news", [Entry(ANN, "by hand")])
    those.add("news", [Entry(BOB, "by hand")])
    assert (
        those.add("news", [Entry(ANN, WHY, lasting_ms=DAY_MS), Entry(BOB, WHY, lasting_ms=DAY_MS)], stays="known") == 0
    )
    assert {those.get("news", who).reason for who in (ANN, BOB)} == {"by hand"}
    assert those.add("news", [Entry(ANN, WHY, lasting_ms=DAY_MS)]) == 1
    assert [(entry.address, entry.key_id) for entry in those.entries("news") if entry.address == ANN] == [(ANN, "new")]


def test_old_entries_are_found_from_one_key_to_the_next(redis: Redis) -> None:
    """NF-SEC-04: from no key to the first, to the second, and when the first is gone."""
    lists(redis).add("news", [Entry(ANN, WHY, since_ms=1_700_000_000_000)])
    lists(redis, OLD).add("news", [Entry(BOB, WHY)])
    both = lists(redis, NEW, OLD)
    assert set(both.among("news", [ANN, BOB])) == {ANN, BOB}
    assert set(lists(redis, NEW).among("news", [ANN, BOB])) == {ANN}
    assert both.reseal("news") == (2, 0)
    assert both.reseal("news") == (0, 0)
    assert set(lists(redis, NEW).among("news", [ANN, BOB])) == {ANN, BOB}
    assert both.get("news", ANN).since_ms == 1_700_000_000_000
    assert redis.hlen(LaneKeys("mw", "news").suppressed[0]) == 2


def test_an_entry_whose_key_is_gone_stays_and_is_counted(redis: Redis) -> None:
    lists(redis, OLD).add("news", [Entry(ANN, WHY)])
    (entry,) = lists(redis, NEW).entries("news")
    assert (entry.address, entry.key_id) == ("", "old")
    assert lists(redis, NEW).reseal("news") == (0, 1)
    assert lists(redis, OLD).get("news", ANN).reason == WHY


def test_an_empty_list_is_asked_for_once_a_second_and_a_list_once_a_batch(redis: Redis) -> None:
    those = lists(redis, NEW)
    many = [f"u{n}@example.org" for n in range(200)]
    for _ in range(50):
        those.reasons("news", many)
    assert calls(those) == 2
    those.add("news", [Entry(ANN, WHY)])
    for _ in range(50):
        those.reasons("news", many)
    assert calls(those) == 53


def test_a_list_of_thousands_is_gone_through_and_looked_up_whole(redis: Redis) -> None:
    those = lists(redis, NEW)
    many = [f"u{n}@example.org" for n in range(2_500)]
    assert those.add(None, [Entry(address, WHY) for address in many]) == 2_500
    assert {entry.address for entry in those.entries(None)} == set(many)
    assert set(those.among("news", many)) == set(many)
    assert those.remove(None, many) == 2_500
    assert list(those.lists()) == []


def test_lists_are_found_whoever_made_them(redis: Redis) -> None:
    those = lists(redis)
    for lane in ("news", "bulk", None):
        those.add(lane, [Entry(ANN, WHY)])
    assert set(those.lists()) == {"news", "bulk", None}


def test_a_damaged_entry_is_told_as_such_and_stops_nobody(redis: Redis) -> None:
    those = lists(redis, NEW)
    those.add("news", [Entry(ANN, WHY), Entry(BOB, WHY)])
    redis.hset(LaneKeys("mw", "news").suppressed[0], those._names(ANN)[0], b"12:nonsense")
    held = those.among("news", [ANN, BOB])
    assert (held[ANN].reason, held[BOB].reason) == ("?", WHY)


def test_a_list_that_is_none_is_an_error_of_the_ledger(redis: Redis) -> None:
    redis.set(suppressed_everywhere("mw")[0], "x")
    with pytest.raises(LedgerError):
        lists(redis).among("news", [ANN])


ADDRESSES = st.sampled_from([f"{name}@example.org" for name in ("ann", "Ann", "bob", "eve", "zoë")])
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "bounce", "remove", "reseal"]), st.sampled_from(["news", None]), ADDRESSES),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_holds_what_was_put_there_and_not_taken_off(
    redis: Redis, steps: list[tuple[str, str | None, str]]
) -> None:
    redis.flushall()
    rings = [lists(redis), lists(redis, OLD), lists(redis, NEW, OLD)]
    model: dict[tuple[str | None, str], str] = {}
    for place, (step, lane, address) in enumerate(steps):
        those, key = rings[min(2, place // 4)], (lane, address.lower())
        if step == "add":
            those.add(lane, [Entry(address, "hand")])
            model[key] = "hand"
        elif step == "bounce":
            those.add(lane, [Entry(address, "bounce")], stays="known")
            model.setdefault(key, "bounce")
        elif step == "remove":
            assert those.remove(lane, [address]) == (model.pop(key, None) is not None)
        else:
            those.reseal(lane)
    last = rings[2]
    for lane in ("news", None):
        held = {entry.address.lower(): entry.reason for entry in last.entries(lane)}
        assert held == {who: why for (where, who), why in model.items() if where == lane}
        assert all(last.get(lane, who) for who in held)


def test_a_list_s_keys_share_a_cluster_slot_and_that_of_all_lanes_has_its_own() -> None:
    for keys, tag in ((LaneKeys("mw", "news").suppressed, "news"), (suppressed_everywhere("mw"), "@suppressed")):
        assert {re.search(r"\{(.+?)\}", key)[1] for key in keys} == {tag}


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_takes_and_runs_on_the_oldest_server(name: str) -> None:
    text = (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    assert text.startswith(f"-- {name}: ")
    for part in ("KEYS", "ARGV", "ANSWERS", "PARTS"):
        assert re.search(rf"^-- {part} +\S", text, re.MULTILINE), part
    assert load_script(f"suppress/{name}").sha
