"""Files that several mails carry, stored once: taken out of a mail when it is accepted, put back when it is sent.

Law: a file goes by what it holds, so that the same file has the same name, in whichever process it turns up; and under
a sealing key the name tells nothing to whoever lacks the key.
"""

import threading
from collections.abc import Callable
from typing import Any

from mailworker.record import SharedFile
from mailworker.sealing import KeyRing

# Where the octets stand in what `pack` makes of a file.
_DATA_AT = {"attachments": 2, "inline_images": 2}
# A version that does not know this field refuses the mail, which then waits for one that does.
_NAMES = "shared"
_LARGEST_SHARE = 4


class FileGoneError(LookupError):
    """There is no file of this name in the ledger."""


class FilesApart:
    """Takes files of at least `least` bytes out of mails that are accepted together; 0 takes none out."""

    def __init__(self, least: int, keys: KeyRing) -> None:
        self._least = least
        self._keys = keys
        # By identity, which is safe while the octets are held here: naming the same ones again would take longer.
        self._named: dict[int, SharedFile] = {}

    def take_out(self, packed: dict[str, Any]) -> tuple[SharedFile, ...]:
        """Leave the place of a file in an email that `pack` made, and say what was there."""
        taken: dict[str, SharedFile] = {}
        for kind, at in _DATA_AT.items():
            for values in packed.get(kind, ()):
                if self._least and len(values[at]) >= self._least:
                    file = self._file(values[at])
                    taken.setdefault(file.name, file)
                    values[at] = list(taken).index(file.name)
        if taken:
            packed[_NAMES] = list(taken)
        return tuple(taken.values())

    def _file(self, content: bytes) -> SharedFile:
        file = self._named.get(id(content))
        if file is None:
            file = self._named[id(content)] = SharedFile(self._keys.name(content), content)
        return file


def put_back(packed: dict[str, Any], read: Callable[[str], bytes]) -> None:
    """Undo `take_out`, in place. Raises LookupError or TypeError for what it did not make."""
    names = packed.pop(_NAMES, ())
    if names:
        for kind, at in _DATA_AT.items():
            for values in packed.get(kind, ()):
                if isinstance(values[at], int):
                    values[at] = read(names[values[at]])


class Shelf:
    """A process's opened files, at most `max_bytes` in all, those used least recently go first. Safe for threads.

    `read` gives the sealed octets of a file of a lane, None if there is none. Raises SealError and FileGoneError.
    """

    def __init__(self, read: Callable[[str, str], bytes | None], keys: KeyRing, max_bytes: int) -> None:
        self._read = read
        self._keys = keys
        self._max_bytes = self._room = max_bytes
        self._opened: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, lane: str, name: str) -> bytes:
        """Read a file, from the shelf if it stands there."""
        with self._lock:
            content = self._opened.pop(name, None)
            if content is not None:
                self._opened[name] = content
                return content
        sealed = self._read(lane, name)
        if sealed is None:
            raise FileGoneError(name)
        content = self._keys.open(sealed, name, "file")
        self._keep(name, content)
        return content

    def _keep(self, name: str, content: bytes) -> None:
        if len(content) > self._max_bytes // _LARGEST_SHARE:
            return
        with self._lock:
            if name not in self._opened:
                self._opened[name] = content
                self._room -= len(content)
                while self._room < 0:
                    self._room += len(self._opened.pop(next(iter(self._opened))))

    def __repr__(self) -> str:
        return f"<Shelf with {len(self._opened)} files, {self._max_bytes - self._room} bytes>"


def seal_file(file: SharedFile, keys: KeyRing) -> bytes:
    """Seal a file under its own name."""
    return keys.seal(file.content, file.name, "file")
