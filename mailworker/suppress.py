"""Addresses that are not tried again: who is on the lists, and what a person puts there or takes off.

    from mailworker import suppress

    suppress.add("ann@example.org", reason="asked us to stop")
    suppress.remove("bob@example.org")

Law: a bounce is written down for its lane; a person may speak for all lanes (`lane=None`). Workers obey within a
second.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

from pydantic import ValidationError

from mailworker.celery import app
from mailworker.options import RefusedError
from mailworker.suppression import Entry, Suppression
from smtp_transport.message import Address

_PORTION = 500


def add(
    addresses: str | Iterable[str],
    *,
    lane: str | None = None,
    reason: str = "by hand",
    expires: float | dt.datetime | None = None,
) -> int:
    """Do not try these addresses again, in one lane or in all, for good or until they expire. Answers how many.

    `expires` is in seconds from now, or an aware datetime. Raises RefusedError for what is no address, no lane or no
    time to come; then none of them is put on the list.
    """
    _check_lane(lane)
    lasting, until = _end(expires)
    every = (addresses,) if isinstance(addresses, str) else addresses
    entries = [Entry(checked(address), reason, lasting, until) for address in every]
    return app.runtime.suppressions.add(lane, entries)


def remove(addresses: str | Iterable[str], *, lane: str | None = None) -> int:
    """Let these addresses be tried again: by one lane, or by all where none is named. Answers how many entries went."""
    _check_lane(lane)
    wanted = [_read(address) for address in ((addresses,) if isinstance(addresses, str) else addresses)]
    return sum(app.runtime.suppressions.remove(where, wanted) for where in _lists(lane))


def find(address: str) -> list[Suppression]:
    """Tell on which lists an address is: of which lanes, since when and why; none if it is tried."""
    held = (app.runtime.suppressions.get(where, _read(address)) for where in _lists(None))
    return [one for one in held if one is not None]


def entries(lane: str | None = None) -> Iterator[Suppression]:
    """Go through the list of a lane, or through all lists. What is sealed with a key that is not here has no address.

    Addresses are whole. What comes or goes meanwhile may be told or not, or twice.
    """
    _check_lane(lane)
    return chain.from_iterable(app.runtime.suppressions.entries(where) for where in _lists(lane))


def load(those: Iterable[Suppression], progress: Callable[[int], object] | None = None) -> int:
    """Put what `entries` told back on its lists, with its dates. Answers how many; `progress` hears it on the way."""
    source, done = iter(those), 0
    while some := list(islice(source, _PORTION)):
        for lane in {one.lane for one in some}:
            _check_lane(lane)
            mine = (one for one in some if one.lane == lane)
            again = [Entry(checked(one.address), one.reason, None, one.until_ms, one.since_ms) for one in mine]
            done += app.runtime.suppressions.add(lane, again)
        if progress is not None:
            progress(done)
    return done


def checked(address: str) -> str:
    """Give an address as mails have it, its domain in A-labels. Raises RefusedError."""
    try:
        return Address.parse(address).email
    except ValidationError as error:
        raise RefusedError(f"address: {error.errors(include_input=False)[0]['msg']}") from None


def _read(address: str) -> str:
    """What is no address today may have got on a list by a server's word (5.1.3)."""
    try:
        return checked(address)
    except RefusedError:
        return address.strip()


def _lists(lane: str | None) -> Iterable[str | None]:
    return (lane,) if lane is not None else sorted(app.runtime.suppressions.lists(), key=str)


def _check_lane(lane: str | None) -> None:
    if lane is not None:
        app.runtime.check_lane(lane)


def _end(expires: float | dt.datetime | None) -> tuple[int | None, int | None]:
    """For how many ms, or until which."""
    if expires is None:
        return None, None
    if isinstance(expires, dt.datetime):
        if expires.utcoffset() is None:
            raise RefusedError("expires: needs a time zone, e.g. datetime.now(timezone.utc) + timedelta(days=90)")
        left = (expires - dt.datetime.now(dt.UTC)).total_seconds()
    else:
        left = expires
    if not 0 < left <= 100 * 366 * 86_400:
        raise RefusedError("expires: must be in the future, and not more than a hundred years away")
    return (
        (None, int(expires.timestamp() * 1000)) if isinstance(expires, dt.datetime) else (int(left * 1000) or 1, None)
    )
