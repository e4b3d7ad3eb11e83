"""A real server for the session, and a lane in it for each test."""

import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from redis import Redis

from mailworker.dev.valkey import ValkeyServer
from mailworker.keys import LaneKeys, new_mail_id
from mailworker.ledger import Accepted, Batch, Claim, Claiming, Ledger, LedgerPolicy, NewMail, Settlement

LANE = "news"
# `make model`: other stories every time, and many of them.
settings.register_profile("model", max_examples=2000, stateful_step_count=80, deadline=None, print_blob=True)
EARLY = 1_700_000_000_000


_OLDEST = Path(__file__).parents[2] / ".servers" / "redis-6.2" / "redis-server"


def _servers() -> dict[str, Path | None]:
    """The wheel's Valkey always, the system's Redis and the oldest that serves where they are: scripts run on all."""
    outside = os.pathsep.join(p for p in os.get_exec_path() if not Path(p).is_relative_to(sys.prefix))
    found = shutil.which("redis-server", path=outside)
    system = {"redis": Path(found)} if found else {}
    return {"valkey": None} | system | ({"redis-6.2": _OLDEST} if _OLDEST.exists() else {})


class Rig:
    """A lane of a real ledger, and hands to turn its clocks with."""

    def __init__(self, redis: Redis, policy: LedgerPolicy | None = None) -> None:
        self.redis = redis
        self.ledger = Ledger(redis, policy=policy)
        self.keys = LaneKeys("mw", LANE)
        self._made = itertools.count()

    def new(self, **fields: object) -> NewMail:
        mail_id = new_mail_id(LANE, EARLY, bytes(10), next(self._made))
        return NewMail(**{"id": mail_id, "payload": b"\x00body\xff", "envelope": b"\xfeenvelope", **fields})

    def accept(self, **fields: object) -> str:
        """Accept one mail; its id."""
        (outcome,) = self.ledger.accept(LANE, [self.new(**fields)]).outcomes
        assert outcome.status == "accepted"
        return outcome.id

    def accept_outcome(self, mail: NewMail) -> Accepted:
        (outcome,) = self.ledger.accept(LANE, [mail]).outcomes
        return outcome

    def batch(self, *, answering: bool = False, waited: bool = False, **want: int) -> Batch:
        wanted = Claiming(**{"limit": 100, "max_bytes": 10**6, "lease_ms": 60_000, "max_attempts": 10, **want})
        return self.ledger.claim(LANE, wanted, answering=answering, waited=waited)

    def claim(self, **want: int) -> Claim:
        """Claim exactly one mail."""
        (claim,) = self.batch(**want).mails
        return claim

    def mark(self, claim: Claim) -> bool:
        (ours,) = self.ledger.mark_dot(LANE, [claim], 60_000)
        return ours

    def settle(self, claim: Claim, letters: str, **fields: object) -> str:
        (state,) = self.ledger.settle(LANE, [Settlement(claim, letters, **fields)])
        return state

    def end_leases(self) -> None:
        """Make every lease over, as if its worker had died long ago."""
        for mail_id in self.redis.zrange(self.keys.claims, 0, -1):
            self.redis.zadd(self.keys.claims, {mail_id: EARLY})

    def make_due(self) -> None:
        """Make everything on the schedule due, in its order."""
        for place, mail_id in enumerate(self.redis.zrange(self.keys.due, 0, -1)):
            self.redis.zadd(self.keys.due, {mail_id: EARLY + place})

    def end_pause(self) -> None:
        self.redis.hset(self.keys.pause, "until", EARLY)

    def expire(self, mail_id: str) -> None:
        """Make a mail's last moment past."""
        self.redis.hset(self.keys.record(mail_id), "expires", EARLY)

    def homes(self, mail_id: str) -> list[str]:
        """Names of the sets that the mail is in."""
        sets = ("ready", "due", "claims", "dead", "in_doubt")
        return [name for name in sets if self.redis.zscore(getattr(self.keys, name), mail_id) is not None]

    def state(self, mail_id: str) -> str:
        record = self.ledger.read(mail_id)
        return "gone" if record is None else record.state.value

    def counts(self) -> dict[str, int]:
        return self.ledger.stats(LANE).counts


@pytest.fixture(scope="session", params=_servers())
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("server"), _servers()[request.param]) as running:
        yield running


@pytest.fixture
def redis(server: ValkeyServer) -> Iterator[Redis]:
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def rig(redis: Redis) -> Rig:
    return Rig(redis)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell the long stories to the newest server and the oldest; the one in between hears everything else."""
    if _OLDEST.exists():
        items[:] = [item for item in items if "test_whole_model" not in item.nodeid or "[redis]" not in item.nodeid]
