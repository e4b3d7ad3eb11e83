"""Power loss: what a machine would find on its disk, as far as the server's own fsyncs tell.

The server runs with `preload.c`, which writes down the size that its file had when each successful fsync began: so much
is on the disk for sure. To cut the power, the server is killed, its files are copied, the one that grew is cut to that
size, and another server is started on the copy. What a disk would have kept beyond that, by luck, is lost on purpose.

What this proves: no answer is given before its fsync (`always`), and how much is given too early (`everysec`). What it
cannot prove: that the disk itself keeps what it has confirmed.
"""

import shutil
import struct
from pathlib import Path

from tests.chaos.installation import RedisServer

_RECORD = struct.Struct("qqq")


class PoweredServer:
    """A server whose power can be cut."""

    def __init__(self, folder: Path, library: Path, fsync: str) -> None:
        self._folder = folder
        self._syncs = folder / "syncs"
        self.server = RedisServer(folder, {"LD_PRELOAD": str(library), "CHAOS_SYNCS": str(self._syncs)})
        self.server.fsync = fsync
        self.server.start()

    def durable(self, file: Path) -> int:
        """How much of this file was covered by an fsync."""
        told = file.stat()
        data = self._syncs.read_bytes()
        sizes = [
            size
            for device, inode, size in _RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size])
            if (device, inode) == (told.st_dev, told.st_ino)
        ]
        return max(sizes, default=0)

    def ahead(self) -> int:
        """Octets that were written and are not on the disk."""
        return self.server.aof.stat().st_size - self.durable(self.server.aof)

    def start_again(self) -> int:
        """Start on what the disk has, after the server was killed. Octets that were written and are gone."""
        file = self.server.aof
        kept, written = self.durable(file), file.stat().st_size
        disk = self._folder / "disk"
        shutil.copytree(self.server.folder, disk)
        with (disk / "appendonlydir" / file.name).open("r+b") as copy:
            copy.truncate(kept)
        self.server.start(disk)
        return written - kept
