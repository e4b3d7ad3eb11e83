"""What workers share, on a real server; and the same scripts by a clock that a test moves."""

import itertools
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import pytest
from redis import Redis

from mailworker.dev.valkey import ValkeyServer
from mailworker.fleet import Breaker, BreakerPolicy, Bucket, FleetKeys, Limiter, Links
from mailworker.ledger.server import Server
from mailworker.scripts import load_script

START = 1_700_000_000_000
RELAY = "ses"
_CLOCK = (resources.files("mailworker.scripts") / "parts" / "clock.lua").read_text(encoding="utf-8")
_VIRTUAL = _CLOCK.replace("redis.call('TIME')", "{math.floor(ARGV[#ARGV] / 1000), ARGV[#ARGV] % 1000 * 1000}")


class World:
    """A deployment whose time stands still unless a test moves it; the scripts are the real ones but for the clock."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.server = Server(redis)
        self.now = START
        self.keys = FleetKeys("mw")
        self._scripts: dict[str, Any] = {}
        self._names = itertools.count()

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[bytes | str | int], /) -> Any:
        script = self._scripts.get(name)
        if script is None:
            text = load_script(name).text.decode()
            assert text.count(_CLOCK) == 1
            # Keys do not go by the server's own clock either.
            text = text.replace(_CLOCK, _VIRTUAL).replace("redis.call('PEXPIRE'", "tostring('PEXPIRE'")
            script = self._scripts[name] = self.redis.register_script(text)
        return script(keys, [*arguments, self.now])

    def limiter(self, who: str = "one") -> Limiter:
        return Limiter(self.run, self.server.read, self.keys, who)

    def breaker(self, **policy: int) -> Breaker:
        return Breaker(self.run, self.server.read, self.keys, RELAY, BreakerPolicy(**policy))

    def links(self, most: int) -> Links:
        return Links(self.run, self.server.read, self.keys.links("relay", RELAY), most)

    def bucket(self, limit: int, window_ms: int = 1000, burst: int = 0) -> Bucket:
        return Bucket(f"b{next(self._names)}", limit, window_ms, burst)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("server"), None) as running:
        yield running


@pytest.fixture
def redis(server: ValkeyServer) -> Iterator[Redis]:
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def world(redis: Redis) -> World:
    return World(redis)
