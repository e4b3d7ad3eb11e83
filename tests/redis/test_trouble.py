from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailworker.ledger import (
    Accepted,
    Claiming,
    Ledger,
    LedgerError,
    LedgerFullError,
    LedgerReadOnlyError,
    LedgerRefusedError,
    LedgerUnavailableError,
    Pause,
    Settlement,
)
from mailworker.ledger.errors import translated

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"


class Unanswered:
    """A client to whom the server's answers never come, though the server does all that it is asked to."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def __getattr__(self, name: str) -> Any:
        return getattr(self.redis, name)

    def evalsha(self, *arguments: bytes | str | int) -> Any:
        self.redis.evalsha(*arguments)
        raise exceptions.TimeoutError("no answer")


@pytest.fixture
def full(redis: Redis) -> Iterator[Redis]:
    """The server, to be filled by `fill`, and with its room back afterwards."""
    yield redis
    redis.config_set("maxmemory", 0)


def fill(redis: Redis) -> None:
    """Put the server over its memory limit; it has forgotten the scripts besides, as after a restart."""
    redis.script_flush()
    redis.config_set("maxmemory", 1)
    with pytest.raises(exceptions.OutOfMemoryError):
        redis.set("x", "y")


def test_a_full_server_takes_no_mail_and_nothing_is_half_written(rig: Rig, full: Redis) -> None:
    rig.accept()
    before = full.dbsize()
    fill(full)
    with pytest.raises(LedgerFullError, match="memory limit"):
        rig.ledger.accept(LANE, [rig.new(key="a" * 64), rig.new(delay_ms=5), rig.new()])
    assert full.dbsize() == before
    assert rig.counts() == {"accepted": 1}
    full.config_set("maxmemory", 0)
    assert rig.ledger.accept(LANE, [rig.new(key="a" * 64)]).outcomes[0].status == "accepted"


def test_a_full_server_can_still_be_emptied(rig: Rig, full: Redis) -> None:
    ids = [rig.accept(recipients=2) for _ in range(4)]
    fill(full)
    sent, deferred, released, lost = rig.batch(answering=True).mails
    assert rig.ledger.mark_dot(LANE, [sent, deferred, lost], 60_000) == (True, True, True)
    assert rig.ledger.renew(LANE, [sent], 60_000) == (True,)
    told = {"told": b"[]", "error": "e", "note": '{"n":1}', "is_possible_duplicate": True}
    verdicts = [Settlement(sent, "dd", **told), Settlement(deferred, "d-", **told)]
    assert rig.ledger.settle(LANE, verdicts) == ("sent", "deferred")
    rig.ledger.release(LANE, [released], Pause(60_000, 60_000, "relay down"))
    full.config_set("maxmemory", 0)
    rig.end_pause()
    rig.end_leases()
    rig.make_due()
    fill(full)
    sweep = rig.ledger.sweep(LANE)
    assert (sweep.due, sweep.recovered, sweep.bell_due) == (1, 1, True)
    assert [rig.state(mail_id) for mail_id in ids] == ["sent", "ready", "ready", "ready"]
    assert {claim.id for claim in rig.batch().mails} == set(ids[1:])


@pytest.mark.parametrize("script", ["claim", "mark_dot", "renew", "settle", "release", "sweep", "ring"])
def test_no_worker_side_call_is_the_first_to_fail_on_a_full_server(rig: Rig, full: Redis, script: str) -> None:
    rig.accept()
    rig.accept(delay_ms=60_000)
    claim = rig.claim()
    rig.make_due()
    fill(full)
    {
        "claim": rig.batch,
        "mark_dot": lambda: rig.mark(claim),
        "renew": lambda: rig.ledger.renew(LANE, [claim], 60_000),
        "settle": lambda: rig.settle(claim, "-", error="later"),
        "release": lambda: rig.ledger.release(LANE, [claim], Pause(1, 1, "why")),
        "sweep": lambda: rig.ledger.sweep(LANE),
        "ring": lambda: rig.ledger.bells.ring(LANE),
    }[script]()


def test_a_full_server_can_be_read(rig: Rig, full: Redis) -> None:
    mail_id = rig.accept()
    fill(full)
    assert rig.state(mail_id) == "ready"
    assert rig.ledger.stats(LANE).ready == 1


def test_a_server_that_is_not_there_is_told_by_one_error(tmp_path: Path, rig: Rig) -> None:
    with Redis(unix_socket_path=str(tmp_path / "none.sock"), retry=Retry(NoBackoff(), 0)) as nowhere:
        ledger = Ledger(nowhere)
        mail = rig.new()
        for call in (
            lambda: ledger.accept(LANE, [mail]),
            lambda: ledger.claim(LANE, Claiming(1, 1, 1, 1), answering=True),
            lambda: ledger.sweep(LANE),
            lambda: ledger.bells.ring(LANE),
            lambda: ledger.read(mail.id),
            lambda: ledger.stats(LANE),
            lambda: ledger.wait_ended(mail.id, timeout=0),
        ):
            with pytest.raises(LedgerUnavailableError, match="cannot be reached"):
                call()


def test_a_server_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        options = {"retry": Retry(NoBackoff(), 0), "socket_timeout": 0.05, "socket_connect_timeout": 0.05}
        with (
            Redis(unix_socket_path=str(tmp_path / "s"), **options) as hanging,
            pytest.raises(LedgerUnavailableError, match="in time"),
        ):
            Ledger(hanging).bells.ring(LANE)


def test_a_mail_whose_acceptance_was_not_answered_can_be_accepted_again(rig: Rig) -> None:
    mail = rig.new(key="a" * 64)
    with pytest.raises(LedgerUnavailableError, match="in time"):
        Ledger(Unanswered(rig.redis)).accept(LANE, [mail])
    assert rig.accept_outcome(mail) == Accepted(mail.id, "already")
    again = rig.new(key="a" * 64)
    assert rig.accept_outcome(again) == Accepted(mail.id, "duplicate")
    assert rig.claim().id == mail.id


def test_a_claim_whose_answer_was_lost_comes_free_when_its_lease_is_over(rig: Rig) -> None:
    mail_id = rig.accept()
    with pytest.raises(LedgerUnavailableError):
        Ledger(Unanswered(rig.redis)).claim(LANE, Claiming(10, 1000, 60_000, 10), answering=True)
    assert rig.batch().mails == ()
    rig.end_leases()
    rig.ledger.sweep(LANE)
    assert rig.claim().id == mail_id


def test_a_replica_takes_no_writes(rig: Rig) -> None:
    rig.redis.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(LedgerReadOnlyError, match="no writes"):
            rig.ledger.accept(LANE, [rig.new()])
    finally:
        rig.redis.replicaof("NO", "ONE")


def test_a_claim_is_never_repeated_behind_our_back(rig: Rig) -> None:
    path = rig.redis.connection_pool.connection_kwargs["path"]
    with Redis(unix_socket_path=path) as retrying, pytest.raises(ValueError, match="without retries"):
        Ledger(retrying)
    with (
        Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0), decode_responses=True) as decoding,
        pytest.raises(ValueError, match="decode_responses"),
    ):
        Ledger(decoding)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (exceptions.OutOfMemoryError("command not allowed"), LedgerFullError),
        (
            exceptions.ResponseError("Error running script (call to f_1): @user_script:9: -OOM command not allowed"),
            LedgerFullError,
        ),
        (exceptions.ReadOnlyError("You can't write"), LedgerReadOnlyError),
        (exceptions.ResponseError("MISCONF Redis is configured to save"), LedgerReadOnlyError),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas"), LedgerReadOnlyError),
        (exceptions.ResponseError("BUSY Redis is busy running a script"), LedgerUnavailableError),
        (exceptions.BusyLoadingError("loading"), LedgerUnavailableError),
        (exceptions.MasterDownError("down"), LedgerUnavailableError),
        (exceptions.TryAgainError("resharding"), LedgerUnavailableError),
        (exceptions.TimeoutError("t"), LedgerUnavailableError),
        (exceptions.ConnectionError("c"), LedgerUnavailableError),
        (exceptions.MaxConnectionsError("m"), LedgerUnavailableError),
        (exceptions.RedisClusterException("c"), LedgerUnavailableError),
        (exceptions.AuthenticationError("WRONGPASS"), LedgerError),
        (exceptions.NoPermissionError("NOPERM"), LedgerError),
        (exceptions.ResponseError("unknown command 'X', with args beginning with: 'SECRET'"), LedgerError),
        (exceptions.DataError("SECRET"), LedgerError),
        (exceptions.ResponseError("WRONGTYPE Operation against SECRET"), LedgerRefusedError),
        (exceptions.ResponseError("user_script:9: SECRET script: f00, on @user_script:9."), LedgerRefusedError),
    ],
)
def test_every_redis_error_becomes_one_of_ours_and_quotes_nothing(
    raised: Exception, expected: type[LedgerError]
) -> None:
    with pytest.raises(LedgerError) as caught, translated():
        raise raised
    assert type(caught.value) is expected
    assert "SECRET" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (type(again), str(again)) == (expected, str(caught.value))


def test_threads_may_share_a_ledger(rig: Rig) -> None:
    mails = [[rig.new() for _ in range(20)] for _ in range(4)]
    threads = [threading.Thread(target=rig.ledger.accept, args=(LANE, chunk)) for chunk in mails]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rig.ledger.stats(LANE).ready == 80
