"""A few bytes that a worker's parent and the children it forks share: what is asked of drains, and how they go on.

Law: no lock and no signal. Each field is written at once and read as it stands; a torn reading could only misjudge a
time, and only for a moment.
"""

import mmap
import os
import struct
import time

_STOP, _CUT = 1, 2
_MOMENTS = struct.Struct("=dd")
_WATCHED = 1
_VERSION = struct.Struct("=I")
_VERSION_AT = 4
_AT = 8


class Board:
    """Make it before the fork. Moments are of the machine's monotonic clock, which all its processes share."""

    def __init__(self) -> None:
        self._bytes = mmap.mmap(-1, _AT + _MOMENTS.size)
        # The parent's process id.
        self.owner = os.getpid()

    def ask_to_stop(self) -> None:
        """Let every drain end after the mails in hand. May be called in a signal handler."""
        self._bytes[0] = max(self._bytes[0], _STOP)

    def ask_to_cut(self) -> None:
        """Let processes obey a signal to end even with mails in hand."""
        self._bytes[0] = _CUT

    @property
    def is_stopping(self) -> bool:
        """Whether drains were asked to end."""
        return self._bytes[0] >= _STOP

    @property
    def is_cut(self) -> bool:
        """Whether they need not even finish what they have in hand."""
        return self._bytes[0] >= _CUT

    @property
    def is_watched(self) -> bool:
        """Whether events about mails are wanted."""
        return self._bytes[_WATCHED] == 1

    @is_watched.setter
    def is_watched(self, wanted: bool) -> None:
        self._bytes[_WATCHED] = wanted

    @property
    def settings_version(self) -> int:
        """How often the settings have been read again."""
        version: int = _VERSION.unpack_from(self._bytes, _VERSION_AT)[0]
        return version

    def settings_changed(self) -> None:
        """Let every process read them again before its next drain."""
        _VERSION.pack_into(self._bytes, _VERSION_AT, self.settings_version + 1)

    def drain_began(self) -> None:
        """Note it."""
        _, ended = self._moments()
        _MOMENTS.pack_into(self._bytes, _AT, time.monotonic(), ended)

    def drain_ended(self) -> None:
        """Note it."""
        began, _ = self._moments()
        _MOMENTS.pack_into(self._bytes, _AT, began, time.monotonic())

    @property
    def last_began(self) -> float:
        """When the youngest drain began; 0 if none did."""
        return self._moments()[0]

    @property
    def drained_seconds(self) -> float | None:
        """For how long no drain has ended; None if none ever did."""
        ended = self._moments()[1]
        return time.monotonic() - ended if ended else None

    def _moments(self) -> tuple[float, float]:
        began, ended = _MOMENTS.unpack_from(self._bytes, _AT)
        return began, ended
