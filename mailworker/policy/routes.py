"""Routes: which of a lane's relays comes first, which share the work, and which only help out.

Law: a relay of a later order is asked only when all of the earlier ones cannot be used now. Among those of one order,
chance decides by weight; with `sticky`, the recipient's domain does, so that one domain keeps meeting one relay.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Route:
    """One relay of a lane. Lower orders come first; in one order, weight 3 gets three times what weight 1 gets."""

    relay: str
    order: int = 0
    weight: int = 1


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
