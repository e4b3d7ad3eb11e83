"""Builds the library that steps a program's clock and spies on its fsyncs. It takes a C compiler.

Debian's libfaketime (0.9.10) would step a clock too, but under it Python's `time.sleep` fails with EINVAL as soon as
the monotonic clock is left alone, and a step of the wall clock leaves that alone.
"""

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("preload.c")


def compiler() -> str | None:
    return shutil.which("cc")


def build(folder: Path) -> Path:
    """Compile it. Raises FileNotFoundError where there is no compiler."""
    library = folder / "preload.so"
    command = [compiler() or "cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


class Clock:
    """A wall clock that can be wrong, for the processes started with `environment`."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(file)}
        file.write_bytes(bytes(8))

    def step(self, seconds: float) -> None:
        """Have the clock be wrong by so much from now on."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", int(seconds * 1e9)))
