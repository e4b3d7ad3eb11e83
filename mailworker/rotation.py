"""From one sealing key to the next: which keys the ledger's mails need, and putting all under the one that writes.

Law: mails go on being accepted and sent meanwhile; what is done is done, so whoever is interrupted just begins again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from mailworker.keys import check_digest, check_lane, lane_of
from mailworker.ledger.files import Files
from mailworker.ledger.seals import SEALED_FIELDS, Change, Heads, Seals
from mailworker.outcome import keys_of_history, reseal_history
from mailworker.sealing import HEAD_BYTES, KeyRing, SealError, sealed_by
from mailworker.strays import Strays
from mailworker.suppression import Suppressions

_MAILS_AT_ONCE = 200
# Values are read and written in portions of so many, as payloads may be large.
_VALUES_AT_ONCE = 50


@dataclass(slots=True)
class Census:
    """How many mails need each key: `open` ones, yet to be sent, and `ended` ones; and whatever else is sealed.

    Files are those that mails share, addresses those that are not tried again, strays messages that are not ours. "" is
    no key.
    """

    open: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    addresses: Counter[str] = field(default_factory=Counter)
    strays: Counter[str] = field(default_factory=Counter)

    def count(self, heads: Heads) -> None:
        """Add a mail."""
        counter = self.open if heads.state in _OPEN else self.ended
        counter.update(_keys_of(heads))


_OPEN = frozenset({"scheduled", "ready", "sending", "deferred"})


def take_census(seals: Seals, suppressions: Suppressions, strays: Strays) -> Census:
    """Count which keys are needed for what the ledger holds. Raises LedgerError."""
    census = Census(strays=Counter(stray.key_id for stray in strays.all()))
    for mails in _portions(seals):
        for heads in mails:
            census.count(heads)
    for lane, name in _files(seals):
        key_id = sealed_by(seals.file_head(lane, name, HEAD_BYTES))
        if key_id is not None:
            census.files[key_id] += 1
    for where in suppressions.lists():
        census.addresses.update(entry.key_id for entry in suppressions.entries(where))
    return census


def reseal(seals: Seals, files: Files, keys: KeyRing, progress: Callable[[int, int], None]) -> int:
    """Put every mail under the key that writes. `progress` hears how many mails were seen, and how many changed.

    Answers how many mails and files could not be opened. Raises LedgerError.
    """
    seen = changed = unreadable = 0
    for mails in _portions(seals):
        done, failed = _reseal(seals, mails, keys)
        seen, changed, unreadable = seen + len(mails), changed + len(done), unreadable + len(failed)
        progress(seen, changed)
    for lane, name in _files(seals):
        unreadable += not _reseal_file(seals, files, lane, name, keys)
    return unreadable


def reseal_addresses(suppressions: Suppressions) -> int:
    """Put every address that is not tried again under the key that writes. Answers how many could not be opened."""
    return sum(suppressions.reseal(lane)[1] for lane in suppressions.lists())


def _reseal_file(seals: Seals, files: Files, lane: str, name: str, keys: KeyRing) -> bool:
    """Put a file under the key that writes; it keeps its name, which mails know it by. False: it does not open."""
    if sealed_by(seals.file_head(lane, name, HEAD_BYTES)) in (None, keys.writer):
        return True
    old = files.read(lane, name)
    if old is not None:
        try:
            content = keys.open(old, name, "file")
        except SealError:
            return False
        seals.replace_file(lane, name, old, keys.seal(content, name, "file"))
    return True


def _files(seals: Seals) -> Iterator[tuple[str, str]]:
    for lane, name in seals.files():
        with suppress(ValueError):  # a key that is none of ours
            yield check_lane(lane), check_digest(name)


def _reseal(seals: Seals, mails: Sequence[Heads], keys: KeyRing) -> tuple[set[str], set[str]]:
    """Do a portion. Answers the ids of mails that were changed, and of those that could not be."""
    done, failed = set[str](), set[str]()
    wanted = [
        (mail.mail_id, name)
        for mail in mails
        for name, head in zip(SEALED_FIELDS, mail.heads, strict=True)
        if head and sealed_by(head) != keys.writer
    ]
    wanted += [(mail.mail_id, "history") for mail in mails if keys_of_history(mail.history) - {keys.writer}]
    for first in range(0, len(wanted), _VALUES_AT_ONCE):
        portion = wanted[first : first + _VALUES_AT_ONCE]
        changes = []
        for (mail_id, name), old in zip(portion, seals.read(portion), strict=True):
            try:
                new = None if old is None else _resealed(mail_id, name, old, keys)
            except (SealError, ValueError):
                failed.add(mail_id)
                continue
            if old is not None and new is not None:
                changes.append(Change(mail_id, name, old, new))
        if changes:
            seals.replace(changes)
            done.update(change.mail_id for change in changes)
    return done, failed


def _resealed(mail_id: str, name: str, old: bytes, keys: KeyRing) -> bytes:
    if name == "history":
        return reseal_history(old.decode(), mail_id, keys).encode()
    return keys.seal(keys.open(old, mail_id, name), mail_id, name)


def _keys_of(heads: Heads) -> set[str]:
    found = {sealed_by(head) for head in heads.heads if head} | keys_of_history(heads.history)
    return {key_id for key_id in found if key_id is not None}


def _portions(seals: Seals) -> Iterator[list[Heads]]:
    """Go through all mails, by lanes."""
    by_lane: dict[str, list[str]] = {}
    for mail_id in seals.mails():
        try:
            lane = lane_of(mail_id)
        except ValueError:  # a key that is none of ours
            continue
        waiting = by_lane.setdefault(lane, [])
        waiting.append(mail_id)
        if len(waiting) == _MAILS_AT_ONCE:
            yield seals.heads(by_lane.pop(lane), HEAD_BYTES)
    for mails in by_lane.values():
        yield seals.heads(mails, HEAD_BYTES)
