"""What makes no sense in the fleet's keys begins anew, is told once, and stops nobody."""

import pytest
from redis import Redis

from mailworker.fleet import (
    Breaker,
    BreakerPolicy,
    BreakerState,
    Bucket,
    FleetKeys,
    Limiter,
    Links,
    Tokens,
    UnreadableKeyError,
)
from mailworker.ledger import LedgerError, Server
from mailworker.mending import Mender

KEYS = FleetKeys("mw")
RELAY = "ses"
BREAKER, FAILURES, PROBES = KEYS.breaker(RELAY)
LEASES, LINKS, MOST = KEYS.links("relay", RELAY)
LESSON, SINCE, TILL = KEYS.lesson(RELAY), *KEYS.line(RELAY)
MINUTE = Bucket("relay:ses/mails/60", 10, 60_000)
TOKEN = KEYS.token(RELAY, "ann")
NUMBERS = ["garbage", "", "nan", "inf", "-5", "1e400", "\udcff"]


@pytest.fixture
def mender(redis: Redis) -> Mender:
    return Mender(Server(redis))


def breaker(mender: Mender) -> Breaker:
    return Breaker(mender.run, mender.read, KEYS, RELAY, BreakerPolicy(failures=3))


def work(mender: Mender) -> int:
    """Do what a worker does with a relay; how many of the limit were granted."""
    admission = breaker(mender).admit("one")
    assert breaker(mender).failed("one", admission.epoch, "down").now is BreakerState.CLOSED
    limiter = Limiter(mender.run, mender.read, KEYS, "one")
    grant = limiter.take(RELAY, 20, [(MINUTE, None)])
    limiter.refund(grant, grant.granted, [(MINUTE, 0)])
    limiter.throttle(RELAY, 0.0)
    links = Links(mender.run, mender.read, (LEASES, LINKS, MOST), 3)
    assert links.lease("one", 2, 20_000).links >= 1
    links.crowded("one")
    links.lease("one", 0, 20_000)
    assert Tokens(mender.run, TOKEN).take("one", None, 1, 1).state == "refresh"
    return grant.granted


@pytest.mark.parametrize("key", [BREAKER, FAILURES, PROBES, LEASES, LINKS, MOST, LESSON, SINCE, TILL, TOKEN])
@pytest.mark.parametrize("kind", ["string", "hash", "list", "zset"])
def test_a_key_of_another_type_stops_nobody_and_is_told_once(
    mender: Mender, redis: Redis, key: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    make = {
        "string": lambda: redis.set(key, "garbage"),
        "hash": lambda: redis.hset(key, "epoch", "garbage"),
        "list": lambda: redis.rpush(key, "garbage", "garbage"),
        "zset": lambda: redis.zadd(key, {"one": 1}),
    }[kind]
    make()
    assert work(mender) == 10
    told = [record.getMessage() for record in caplog.records]
    assert len(told) <= 1
    assert all(line.startswith(f"{key} made no sense") for line in told)
    caplog.clear()
    redis.delete(KEYS.bucket(MINUTE.name))
    work(mender)
    assert not caplog.records


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize(
    ("key", "field"),
    [
        *((BREAKER, field) for field in ("state", "epoch", "till", "since")),
        *((LESSON, field) for field in ("rate", "at", "ceiling", "hold", "tat", "pinned")),
        *((LINKS, who) for who in ("one", "other")),
        *((MOST, field) for field in ("most", "at", "from", "least")),
        *((TOKEN, field) for field in ("version", "ends", "lives", "leave", "hold", "renewed")),
    ],
)
def test_a_field_that_is_no_number_stops_nobody(mender: Mender, redis: Redis, key: str, field: str, value: str) -> None:
    sane = {BREAKER: {"state": "open"}, LESSON: {"rate": 10_000_000}, MOST: {"most": 2}}.get(key, {})
    for name, number in sane.items():
        redis.hset(key, name, number)
    redis.hset(key, field, value.encode("utf-8", "surrogateescape"))
    if key == BREAKER:
        admission = breaker(mender).admit("one")
        assert (admission.state, admission.wait_ms) == (BreakerState.CLOSED, 0)
    work(mender)


ABSURD = "9" * 18
COUNTED = {
    BREAKER: ("epoch", "till", "since", "opened", "successes"),
    LESSON: ("rate", "at", "ceiling", "hold", "tat", "s1700000000"),
    MOST: ("most", "at"),
    TOKEN: ("version", "ends", "lives", "leave", "hold", "renewed"),
}


@pytest.mark.parametrize("value", [ABSURD, "1" + "0" * 13])
@pytest.mark.parametrize(("key", "field"), [(key, field) for key, fields in COUNTED.items() for field in fields])
def test_a_number_that_cannot_be_is_mended_as_what_is_none(
    mender: Mender, redis: Redis, key: str, field: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    sane = {BREAKER: {"state": "open"}, LESSON: {"rate": 10_000_000}, MOST: {"most": 2}}.get(key, {})
    redis.hset(key, mapping=sane | {field: value})
    work(mender)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{key} made no sense")
    assert value.encode() not in redis.hvals(key)
    assert breaker(mender).report().opened == 0
    Limiter(mender.run, mender.read, KEYS, "one").lesson(RELAY)
    Links(mender.run, mender.read, (LEASES, LINKS, MOST), 3).report()


@pytest.mark.parametrize("value", [f"{ABSURD}/1/1", "100000/1/1", f"1/{ABSURD}/1", f"1/1/{ABSURD}"])
def test_connections_that_cannot_be_are_nobody_s(mender: Mender, redis: Redis, value: str) -> None:
    links = Links(mender.run, mender.read, (LEASES, LINKS, MOST), 3)
    redis.hset(LINKS, "other", value)
    with pytest.raises(UnreadableKeyError):
        links.report()
    assert links.lease("one", 3, 20_000).links == 3
    assert links.report().holders == {"one": 3}


@pytest.mark.parametrize(("key", "field"), [(BREAKER, "till"), (TOKEN, "leave"), (TOKEN, "hold"), (TOKEN, "renewed")])
def test_nobody_waits_for_years(mender: Mender, redis: Redis, key: str, field: str) -> None:
    """A moment that may be written, but that nothing of ours can be told to wait for."""
    sane = {BREAKER: {"state": "open"}, TOKEN: {"version": 3, "fetcher": "another"}}[key]
    redis.hset(key, mapping=sane | {field: 9_000_000_000_000})
    admission = breaker(mender).admit("one")
    assert (admission.state, admission.wait_ms) == (BreakerState.CLOSED, 0)
    assert Tokens(mender.run, TOKEN).take("one", 3 if field == "renewed" else None, 1, 1).state == "refresh"


def test_what_a_relay_stands_grows_again_whatever_was_written_beside_it(mender: Mender, redis: Redis) -> None:
    redis.hset(MOST, mapping={"most": 1, "at": ABSURD})
    assert Links(mender.run, mender.read, (LEASES, LINKS, MOST), 3).lease("one", 3, 20_000).links == 3


def test_a_token_that_is_said_to_live_for_ever_is_kept_as_long_as_any(mender: Mender, redis: Redis) -> None:
    tokens = Tokens(mender.run, TOKEN)
    assert tokens.take("one", None, 20_000, 1).state == "refresh"
    assert tokens.keep(0, b"sealed", 10**15, was_refused=False)
    assert tokens.take("two", None, 20_000, 1).state == "held"
    assert int(redis.hget(TOKEN, "lives") or 0) == 100 * 86_400_000


@pytest.mark.parametrize("value", [*NUMBERS, "9.9.9", "9" * 20, "9" * 18])
@pytest.mark.parametrize("field", ["slot", "garbage", "tat"])
def test_a_limit_whose_counts_make_no_sense_counts_as_used_up(
    mender: Mender, redis: Redis, field: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = Limiter(mender.run, mender.read, KEYS, "one")
    assert limiter.take(RELAY, 3, [(MINUTE, None)]).granted == 3
    key = KEYS.bucket(MINUTE.name)
    (slot,) = redis.hkeys(key)
    redis.hset(key, slot if field == "slot" else field, value.encode("utf-8", "surrogateescape"))
    for _ in range(3):
        grant = limiter.take(RELAY, 3, [(MINUTE, None)])
        assert grant.granted == 0
        assert 0 < grant.wait_ms <= 122_000
    (record,) = caplog.records
    assert f"redis-cli DEL '{key}'" in record.getMessage()
    assert redis.pttl(key) <= 62_000


def test_a_limit_of_another_type_counts_as_used_up(mender: Mender, redis: Redis) -> None:
    redis.set(KEYS.bucket(MINUTE.name), "garbage")
    assert work(mender) == 0


def test_leave_of_before_is_worth_nothing_to_a_breaker_that_began_anew(mender: Mender, redis: Redis) -> None:
    for _ in range(3):
        breaker(mender).switch(BreakerState.HELD)
    before = breaker(mender).report().epoch
    redis.hset(BREAKER, "epoch", "garbage")
    admission = breaker(mender).admit("one")
    assert (admission.state, admission.epoch > before) == (BreakerState.CLOSED, True)


def test_a_script_that_fails_for_another_reason_fails(mender: Mender) -> None:
    with pytest.raises(LedgerError):
        mender.run("relay/lease", [LEASES, LINKS, MOST], ["one"])
