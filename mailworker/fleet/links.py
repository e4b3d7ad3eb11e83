"""How many connections: leases of a relay's, or a host's, for all processes together.

Law: the sum of what is held never exceeds the most in force, save while that has just been lowered and holders have not
yet renewed. What is open counts until it is closed. A process that dies loses its share when its lease is over. While
somebody has none, nobody keeps more than an equal share, and where there are fewer links than processes they take
turns.
"""

import re
from dataclasses import dataclass

from mailworker.fleet.names import Read, Run, UnreadableKeyError, number_in

_HOLDS = re.compile(r"([0-9]{1,5})/[0-9]{1,5}/[0-9]{1,13}")


@dataclass(frozen=True, slots=True)
class Holding:
    """What a process may have: `links` connections, of `all_links` that all have together, of at most `most`.

    `waiting`: how many other processes have none and want one.
    """

    links: int
    all_links: int
    most: int
    waiting: int


@dataclass(frozen=True, slots=True)
class LinksReport:
    """Who holds connections: by holder how many. `learnt`: the most that the relay itself stands, None if unknown."""

    holders: dict[str, int]
    learnt: int | None


class Links:
    """The connections to one relay, or to one host. `most` is what is configured. Raises what `run` raises."""

    def __init__(self, run: Run, read: Read, keys: tuple[str, str, str], most: int) -> None:
        self._run = run
        self._read = read
        self._keys = keys
        self._most = most

    def lease(self, who: str, want: int, lease_ms: int, *, allowed: int | None = None, still_open: int = 0) -> Holding:
        """Ask for so many connections, or renew; the answer may be fewer than before, and 0. Want 0 to give back.

        `allowed`: as many as may be taken although more are wanted. `still_open`: what counts until it is closed.
        """
        arguments: list[str | int] = [who, want, want if allowed is None else allowed, still_open, lease_ms, self._most]
        return Holding(*self._run("relay/lease", self._keys, arguments))

    def crowded(self, who: str) -> tuple[int, bool]:
        """Note that the relay complained of too many: he who heard it has one less from now on, and so have all.

        Gives the most from now on, which grows again while all is quiet; and whether that is news.
        """
        most, is_news = self._run("relay/crowded", self._keys, [who, self._most])
        return most, is_news == 1

    def report(self) -> LinksReport:
        """Tell who holds how many, the dead not yet buried among them. Raises UnreadableKeyError."""
        _, links, most = self._keys
        told = {who: _HOLDS.fullmatch(has) for who, has in self._read(links).items()}
        held = {who: int(found[1]) for who, found in told.items() if found}
        if len(held) < len(told):
            raise UnreadableKeyError(links)
        return LinksReport(held, number_in(self._read(most), "most", most) or None)
