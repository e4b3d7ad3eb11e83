"""The gate of a process, wired from settings: for each relay its breaker, its connections and what it allows."""

import datetime as dt
import hashlib
import random
import secrets
from collections.abc import Callable

from redis import Redis

from mailworker.fleet import Breaker, BreakerPolicy, FleetKeys, Limiter, Links
from mailworker.gate import Door, Gate, LaneTerms, RelayTerms
from mailworker.ledger import Server
from mailworker.links import Berth, Harbour
from mailworker.mending import Mender
from mailworker.relay import smtp_config
from mailworker.relay_settings import LaneSettings, RelaySettings
from mailworker.sealing import KeyRing
from mailworker.settings import Settings
from mailworker.tokens import SharedTokens
from smtp_transport.config import SmtpConfig

# What stands for no bound that people set: leases are counted all the same, so that a relay's complaint can be one.
_UNBOUNDED = 10_000


class Doorway:
    """All of a process's doors.

    `allow` is told how many connections it may have to a relay, closes those beyond, and gives how many are open still.
    """

    def __init__(self, settings: Settings, redis: Redis, allow: Callable[[str, int], int]) -> None:
        self._server = Mender(Server(redis))
        self._keys = FleetKeys(settings.redis.prefix)
        self._settings = settings
        self._allow = allow
        self.who = secrets.token_hex(6)
        self.harbour = Harbour()
        self.breakers = {name: self._breaker(name, settings.relays[name]) for name in settings.used_relays}
        limiter = Limiter(self._server.run, self._server.read, self._keys, self.who)
        self.berths = {name: self._berth(name, settings.relays[name]) for name in settings.used_relays}
        doors = {name: self._door(name, settings.relays[name]) for name in settings.used_relays}
        self.gate = Gate(doors, limiter, random.random, lambda: dt.datetime.now(dt.UTC))

    def _door(self, name: str, relay: RelaySettings) -> Door:
        terms = RelayTerms(name, relay.limits, relay.domain_limits, relay.warm_up, relay.learns)
        return Door(terms, self.breakers[name], self.berths[name], self.harbour.keep)

    def _berth(self, name: str, relay: RelaySettings) -> Berth:
        pools = [self._links("relay", name, relay.all_connections or _UNBOUNDED)]
        if relay.host and relay.host_connections:
            # By its digest: a name that a person gave may hold what a key must not.
            host = hashlib.sha256(relay.host.lower().encode()).hexdigest()[:16]
            pools.append(self._links("host", host, relay.host_connections))
        return self.harbour.berth(pools, self.who, relay.max_connections, lambda links: self._allow(name, links))

    def _links(self, scope: str, name: str, most: int) -> Links:
        return Links(self._server.run, self._server.read, self._keys.links(scope, name), most)

    def _breaker(self, name: str, relay: RelaySettings) -> Breaker:
        return Breaker(self._server.run, self._server.read, self._keys, name, breaker_policy(relay))


def shared_config(name: str, settings: Settings, redis: Redis, ring: KeyRing) -> SmtpConfig:
    """Translate a relay's settings for its client, with the tokens that all processes share where it takes those.

    Raises SettingsError.
    """
    relay, tokens = settings.relays[name], None
    if relay.oauth_provider:
        keys = FleetKeys(settings.redis.prefix)
        tokens = SharedTokens(name, relay, Mender(Server(redis)).run, keys, ring)
    return smtp_config(name, relay, tokens)


def breaker_policy(relay: RelaySettings) -> BreakerPolicy:
    """Say when a relay's breaker opens and closes, as the fleet reads it."""
    return BreakerPolicy(
        failures=relay.breaker_failures,
        window_ms=int(relay.breaker_window_seconds * 1000),
        recovery_ms=int(relay.breaker_recovery_seconds * 1000),
        successes=relay.breaker_successes,
        probes=relay.breaker_probes,
    )


def lane_terms(name: str, lane: LaneSettings) -> LaneTerms:
    """Say what a lane may do, as the gate reads it."""
    return LaneTerms(name, lane.relay, lane.limits, lane.hours, lane.zone, lane.sticky_domains)
