"""Settings read again while a worker runs.

Law: whole or not at all. What cannot be used, or takes a restart, is refused with every fault; the old settings hold.
"""

from collections.abc import Iterator

from mailworker.relay import faults_of_relays
from mailworker.runtime import key_ring
from mailworker.settings import Settings, SettingsError, load_settings

# A worker's sockets, leases, queues and timers were made of these.
_FIXED = ("redis", "broker", "worker")


def reloaded(old: Settings) -> Settings:
    """Read file and environment again, for a worker that runs by `old`. Raises SettingsError with every fault."""
    new = load_settings()
    faults = [*_fixed(old, new), *_unusable(new)]
    if faults:
        raise SettingsError("\n".join(faults))
    return new


def _fixed(old: Settings, new: Settings) -> Iterator[str]:
    for section in _FIXED:
        if getattr(old, section) != getattr(new, section):
            yield f"{section}: was changed, which takes a restart of the worker"
    changed = sorted(set(old.lanes) ^ set(new.lanes))
    if changed:
        yield f"lanes: came or went ({', '.join(changed)}), which takes a restart of the worker"


def _unusable(new: Settings) -> Iterator[str]:
    yield from faults_of_relays(new.relays, new.used_relays)
    try:
        key_ring(new)
    except SettingsError as error:
        yield str(error)
