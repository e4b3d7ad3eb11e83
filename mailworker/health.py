"""What a worker says of itself, and what that means: does it live, and can it move mail?

Law: pure. A worker writes its sign into the ledger at each round of its watch; whoever checks it reads that and asks
here. A worker is taken for dead on evidence only: an outage that no restart would cure is no evidence.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from mailworker.verdict import CREDENTIALS

# A bell that a worker with a free process has held, or that it has rung in vain, for so long is not late: it is stuck.
_STUCK_SECONDS = 60.0
# Reasons of a lane's pause that only a person can mend.
_REFUSED = frozenset(kind.value for kind in CREDENTIALS)


@dataclass(frozen=True, slots=True)
class Sign:
    """A worker's sign of life. Times in seconds, ending when the sign was given.

    `patience_seconds`: an older sign means that the watch has stopped. `stuck_seconds`: for how long a bell has waited
    in this worker although a process was free. `unanswered_seconds`: for how long its own bells brought no drain to
    anybody, although a process was free. `drained_seconds`: since its last drain ended, None if there was none.
    """

    pid: int
    version: str
    pool: str
    lanes: tuple[str, ...]
    processes: int
    active: int
    patience_seconds: float
    stuck_seconds: float = 0.0
    unanswered_seconds: float = 0.0
    drained_seconds: float | None = None
    takes_bells: bool = True

    def to_json(self) -> str:
        """Write it for the ledger."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Sign":
        """Read it, also one that a newer version wrote with more in it. Raises ValueError if it is none."""
        try:
            told = json.loads(text)
            known = {name: told[name] for name in cls.__slots__ if name in told}
            return cls(**{**known, "lanes": tuple(known["lanes"])})
        except (TypeError, KeyError) as error:
            raise ValueError("not a worker's sign of life") from error


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker on the roll, and how long ago it gave its last sign."""

    name: str
    age_seconds: float
    sign: Sign

    @property
    def is_alive(self) -> bool:
        """Whether nothing speaks against it."""
        return not faults_of_life(self)


def faults_of_life(seen: Seen) -> tuple[str, ...]:
    """Tell why a worker should be restarted: its watch stands still, or its pool takes no bells."""
    sign, faults = seen.sign, []
    if seen.age_seconds > sign.patience_seconds:
        faults.append(f"its watch has not turned for {seen.age_seconds:.0f} s")
    if sign.stuck_seconds >= _STUCK_SECONDS:
        faults.append(f"its pool has not taken a bell for {sign.stuck_seconds:.0f} s, though a process is free")
    if sign.unanswered_seconds >= _STUCK_SECONDS:
        faults.append(f"its bells have gone unheard for {sign.unanswered_seconds:.0f} s: it consumes nothing")
    return tuple(faults)


def faults_of_readiness(seen: Seen, pauses: Mapping[str, str]) -> tuple[str, ...]:
    """Tell why a worker cannot move mail now. `pauses`: the reason of the pause, for each of its lanes that has one."""
    refused = [lane for lane in seen.sign.lanes if pauses.get(lane) in _REFUSED]
    faults = list(faults_of_life(seen))
    if not seen.sign.takes_bells:
        faults.append("the broker takes no bells")
    if refused:
        faults.append(f"the relay refuses our credentials: lane {', '.join(refused)}")
    return tuple(faults)


def find(roll: Sequence[Seen], name: str) -> Seen | None:
    """Find a worker by its name."""
    return next((seen for seen in roll if seen.name == name), None)
