"""Whether: a breaker for each relay, which all workers share.

Law: only what concerns the relay as a whole is told here. Whoever was admitted before the breaker's last change has no
say about the state after it: the epoch tells. While half open, exactly so many probes are out as the policy says.
"""

import enum
from dataclasses import dataclass

from mailworker.fleet.names import FleetKeys, Read, Run, UnreadableKeyError, number_in

_CALM_MS = 5000


class BreakerState(enum.Enum):
    """`HELD` is open by hand, until somebody closes it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    HELD = "held"


_WRITTEN = frozenset({"closed", "open", "half_open"})


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """So many failures within the window open it; after the recovery time so many probes at once try the relay."""

    failures: int = 5
    window_ms: int = 60_000
    recovery_ms: int = 30_000
    successes: int = 3
    probes: int = 1
    probe_ms: int = 15_000
    """After so long a probe that was not heard of is taken for dead: who is alive renews it."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to whoever wants to try a relay: go on if `wait_ms` is 0, with care if the state is half open."""

    state: BreakerState
    epoch: int
    wait_ms: int

    @property
    def is_probe(self) -> bool:
        """Whether a single mail is to find out how the relay does."""
        return self.state is BreakerState.HALF_OPEN


@dataclass(frozen=True, slots=True)
class Change:
    """What a report did to the breaker."""

    before: BreakerState
    now: BreakerState
    wait_ms: int


@dataclass(frozen=True, slots=True)
class BreakerReport:
    """A breaker as it was written down. Times in ms since the epoch, 0 for never."""

    state: BreakerState
    since_ms: int
    till_ms: int
    opened: int
    reason: str
    epoch: int


class Breaker:
    """One relay's breaker. `who` names the thread that asks, everywhere. Raises what `run` raises."""

    def __init__(self, run: Run, read: Read, keys: FleetKeys, relay: str, policy: BreakerPolicy) -> None:
        self._run = run
        self._read = read
        self._keys = keys.breaker(relay)
        self.policy = policy

    def admit(self, who: str) -> Admission:
        """Ask whether the relay may be tried."""
        told = self._run("relay/admit", self._keys, [who, self.policy.probe_ms, self.policy.probes])
        return Admission(BreakerState(told[0].decode()), told[1], told[2])

    def went_well(self, who: str, epoch: int) -> Change:
        """Tell that the relay did its part. Only a probe need do so: a closed breaker counts no successes."""
        return self._record(who, epoch, 1)

    def failed(self, who: str, epoch: int, reason: str, open_ms: int | None = None) -> Change:
        """Tell that the relay failed as a whole, and why; with `open_ms` one such failure opens it, for so long."""
        return self._record(who, epoch, 0, reason, open_ms)

    def withdraw(self, who: str, epoch: int) -> None:
        """Take an admission back that was not used, so that somebody else may probe."""
        self._record(who, epoch, "")

    def keep_probe(self, who: str, epoch: int) -> bool:
        """Tell that a probe is still under way. False: it is not awaited any more."""
        return bool(self._run("relay/keep_probe", self._keys, [who, epoch, self.policy.probe_ms]))

    def switch(self, state: BreakerState, reason: str = "by hand", open_ms: int | None = None) -> BreakerState:
        """Close it, open it for a recovery time or for `open_ms`, or hold it open. Gives the state before.

        Raises ValueError for half open.
        """
        if state is BreakerState.HALF_OPEN:
            raise ValueError("a breaker becomes half open by itself")
        words = [state.value, open_ms or self.policy.recovery_ms, reason, 0]
        before = self._run("relay/switch", self._keys, words)
        return BreakerState(before.decode())

    def report(self) -> BreakerReport:
        """Tell the state as it was written down: an open one whose time is over becomes half open when it is asked.

        Raises UnreadableKeyError.
        """
        key = self._keys[0]
        held = self._read(key)
        state = held.get("state", "closed")
        if state not in _WRITTEN:
            raise UnreadableKeyError(key)
        return BreakerReport(
            state=BreakerState.HELD if held.get("held") == "1" else BreakerState(state),
            since_ms=number_in(held, "since", key),
            till_ms=number_in(held, "till", key),
            opened=number_in(held, "opened", key),
            reason=held.get("reason", ""),
            epoch=number_in(held, "epoch", key),
        )

    def retry(self) -> None:
        """Have an open breaker tried now: whoever asks next is a probe. One that is held by hand stays.

        So does one that has just been opened, or workers that start again and again would try again and again.
        """
        self._run("relay/switch", self._keys, ["retry", 0, "", _CALM_MS])

    def _record(self, who: str, epoch: int, well: int | str, reason: str = "", open_ms: int | None = None) -> Change:
        policy = self.policy
        arguments: list[str | int] = [who, epoch, well, policy.failures, policy.window_ms]
        arguments += [open_ms or policy.recovery_ms, policy.successes, reason, int(open_ms is not None)]
        told = self._run("relay/record", self._keys, arguments)
        return Change(BreakerState(told[0].decode()), BreakerState(told[1].decode()), told[2])
