"""Encoded files, kept for the next email that carries the same.

Law: what comes out is what encoding would give. The store is bounded, belongs to who made it, and nobody waits for it.
"""

import threading
from typing import Final

from smtp_transport.message.transfer import base64_lines

_LEAST: Final = 2048
"""Octets from which on looking up is cheaper than encoding."""
_LARGEST_SHARE: Final = 4
"""One file may take a quarter of the room, so that a few rare ones do not put out many frequent ones."""


class EncodedFiles:
    """Base64 of files by their content, at most `max_bytes` of memory in all; 0 keeps nothing. Safe for threads.

    The files used least recently go first.
    """

    def __init__(self, max_bytes: int) -> None:
        self._room = self._max_bytes = max_bytes
        # Keyed by the octets themselves: Python hashes them once for each object, and compares on a match.
        self._encoded: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def takes(self, octets: bytes) -> bool:
        """Whether so many octets are worth keeping, and not too many."""
        return _LEAST <= len(octets) <= self._max_bytes // _LARGEST_SHARE // 3

    def base64_lines(self, octets: bytes) -> bytes:
        """Encode as `transfer.base64_lines` does."""
        if not self.takes(octets):
            return base64_lines(octets)
        # Held in another thread, or, after a fork, for ever by one that is not here: then we do without.
        if not self._lock.acquire(blocking=False):
            return base64_lines(octets)
        try:
            found = self._encoded.pop(octets, None)
            if found is None:
                found = base64_lines(octets)
                self._make_room(len(octets) + len(found))
            self._encoded[octets] = found
        finally:
            self._lock.release()
        return found

    def _make_room(self, needed: int) -> None:
        self._room -= needed
        while self._room < 0:
            octets = next(iter(self._encoded))
            self._room += len(octets) + len(self._encoded.pop(octets))

    def __repr__(self) -> str:
        return f"<EncodedFiles with {len(self._encoded)} files, {self._max_bytes - self._room} bytes>"
