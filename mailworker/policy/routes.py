"""Routes: which of a lane's relays comes first, which share the work, and which only help out.

Law: a relay of a later order is asked only when all of the earlier ones cannot be used now. Among those of one order,
chance decides by weight; with `sticky`, the recipient's domain does, so that one domain keeps meeting one relay.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

_ROUTE: Final = re.compile(r"(?P<relay>[A-Za-z0-9_.-]{1,64})(?:\s*\*\s*(?P<weight>\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class Route:
    """One relay of a lane. Lower orders come first; in one order, weight 3 gets three times what weight 1 gets."""

    relay: str
    order: int = 0
    weight: int = 1

    def __post_init__(self) -> None:
        """Refuse a weight that would give nothing."""
        if not 1 <= self.weight <= 1000:
            raise ValueError("a relay's weight is between 1 and 1000")

    @staticmethod
    def parse_all(text: str) -> "tuple[Route, ...]":
        """Read a lane's relays: commas part those that come one after the other, `+` those that share the work.

        Raises ValueError that shows how they are written.
        """
        routes: list[Route] = []
        for order, equals in enumerate(text.split(",")):
            for part in equals.split("+"):
                found = _ROUTE.fullmatch(part.strip())
                if not found:
                    raise ValueError(f"{text!r} names no relays; write e.g. 'ses, sendgrid' or 'a*3 + b, backup'")
                routes.append(Route(found["relay"], order, int(found["weight"] or 1)))
        if len({route.relay for route in routes}) < len(routes):
            raise ValueError(f"{text!r} names a relay twice")
        return tuple(routes)

    @staticmethod
    def write_all(routes: "Sequence[Route]") -> str:
        """Write a lane's relays as `parse_all` reads them."""
        orders = groupby(sorted(routes, key=_order), key=_order)
        return ", ".join(" + ".join(map(str, equals)) for _, equals in orders)

    def __str__(self) -> str:
        return self.relay if self.weight == 1 else f"{self.relay}*{self.weight}"


def in_turn(routes: Sequence[Route], chance: Callable[[], float]) -> Iterator[str]:
    """Give relays in the order in which to ask them now. `chance` gives numbers from 0 to below 1."""
    yield from _ranked(routes, lambda _: chance())


def for_domain(routes: Sequence[Route], domain: str) -> Iterator[str]:
    """Give relays in the order in which mail to this domain asks them, always the same."""
    yield from _ranked(routes, lambda route: _fixed(route.relay, domain))


def _ranked(routes: Sequence[Route], draw: Callable[[Route], float]) -> Iterator[str]:
    for _, equals in groupby(sorted(routes, key=_order), key=_order):
        # Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): the largest u^(1/weight) first.
        keyed = [(math.log(max(draw(route), 1e-300)) / route.weight, route.relay) for route in equals]
        yield from (relay for _, relay in sorted(keyed, reverse=True))


def _order(route: Route) -> int:
    return route.order


def _fixed(relay: str, domain: str) -> float:
    """Draw a number that belongs to a relay and a domain (rendezvous hashing): others coming or going move nothing."""
    digest = hashlib.sha256(f"{relay}\0{domain.lower()}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
