"""Who is at work on this machine: what a process is called in the ledger, and whether it is gone.

Law: a process that is said to be gone is gone. What cannot be known is said to be there: its lease will tell.
"""

import hashlib
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NUMBERS = Path("/proc/self/ns/pid")
_NAME = re.compile(r"(?P<place>[0-9a-f]{12}):(?P<pid>[1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class Presence:
    """`place`: where a process's number means that process, "" where that cannot be told."""

    place: str

    @classmethod
    def here(cls) -> Self:
        """Look where we are: the machine, since it was last started, and the namespace of its processes' numbers."""
        try:
            facts = f"{_BOOT.read_text()} {_NUMBERS.readlink()} {socket.gethostname()}"
        except OSError:  # not Linux, or no /proc
            return cls("")
        return cls(hashlib.sha256(facts.encode()).hexdigest()[:12])

    @property
    def name(self) -> str:
        """What this process is called, after any fork."""
        return f"{self.place}:{os.getpid()}" if self.place else ""

    def is_gone(self, name: str) -> bool:
        """Whether the process that bore this name a moment ago, or longer, has ended.

        Its number may since be another's: then nobody can tell. One that has ended and was not yet waited for is there.
        """
        found = _NAME.fullmatch(name)
        if found is None or found["place"] != self.place:
            return False
        try:
            os.kill(int(found["pid"]), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False
