"""What makes no sense in the fleet's keys begins anew, is told once, and stops nobody."""

import pytest
from redis import Redis

from mailworker.fleet import Breaker, BreakerPolicy, BreakerState, Bucket, FleetKeys, Limiter, Links, Tokens
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


@pytest.mark.parametrize("value", [*NUMBERS, "9.9.9", "99999999999999999999"])
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
