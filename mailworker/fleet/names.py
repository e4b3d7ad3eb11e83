"""Names in Redis of what belongs to no lane.

Law: what one script touches bears one hash tag. A relay's breaker and connections have the relay's, a host's
connections the host's; all limits share one, because a mail may count in a relay's, a lane's and a domain's at once.
No tag is the name of a lane: lanes have neither `:` nor `*`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9_.:@/-]{1,255}")
# No more than anything can be that is counted or timed, as parts/sound.lua has it.
_NUMBER = re.compile(r"[0-9]{1,13}")

Run = Callable[[str, Sequence[str], Sequence[bytes | str | int]], Any]
"""Runs a script of `mailworker.scripts` with these keys and arguments, and gives what it answers."""
Hash = Mapping[str, str]
Read = Callable[[str], Hash]
"""Reads a whole hash, as text."""


class UnreadableKeyError(Exception):
    """A key holds what it should not."""

    def __init__(self, key: str) -> None:
        """Name the key, and the cure."""
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"{self.key} makes no sense; the next worker that sends there mends it, or redis-cli DEL '{self.key}'"


def number_in(held: Hash, name: str, key: str) -> int:
    """Give a number that a hash holds, 0 if it is not there. Raises UnreadableKeyError that names the hash's key."""
    value = held.get(name, "0")
    if not _NUMBER.fullmatch(value):
        raise UnreadableKeyError(key)
    return int(value)


@dataclass(frozen=True, slots=True)
class FleetKeys:
    """The keys of one deployment. Methods raise ValueError for a name that could not be part of a key."""

    prefix: str

    def breaker(self, relay: str) -> tuple[str, str, str]:
        """Hash, list and sorted set: state, times of failures, probes under way."""
        return (
            self._of("relay", relay, "breaker"),
            self._of("relay", relay, "failures"),
            self._of("relay", relay, "probes"),
        )

    def links(self, scope: str, name: str) -> tuple[str, str, str]:
        """Sorted set and two hashes: ends of leases, who holds how many, what was learnt. `scope`: relay or host."""
        return self._of(scope, name, "leases"), self._of(scope, name, "links"), self._of(scope, name, "most")

    def token(self, relay: str, account: str) -> str:
        """Hash: an account's access token, sealed, and who is fetching the next."""
        return self._of("relay", relay, f"token:{_checked(account)}")

    def lesson(self, relay: str) -> str:
        """Hash: what the relay taught about its rate."""
        return self._limits("lesson", relay)

    def line(self, relay: str) -> tuple[str, str]:
        """Sorted sets: who waits for the relay's limits, by since when and by until when."""
        return self._limits("since", relay), self._limits("till", relay)

    def bucket(self, name: str) -> str:
        """Hash: what was taken of one limit."""
        return self._limits("bucket", name)

    def _of(self, scope: str, name: str, what: str) -> str:
        return f"{self.prefix}:{{{scope}:{_checked(name)}}}:{what}"

    def _limits(self, what: str, name: str) -> str:
        return f"{self.prefix}:{{*}}:{what}:{_checked(name)}"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a relay, host or limit is named in 1 to 255 of A-Z, a-z, 0-9 and _.:@/-")
    return name
