"""What long runs with faults share at the command line: which kinds of faults, and where the evidence goes."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path


def kinds_of(options: argparse.ArgumentParser, told: str, known: Iterable[str]) -> tuple[str, ...]:
    """Read kinds, separated by commas. Ends the program where one is not known."""
    kinds, all_kinds = tuple(told.split(",")), tuple(known)
    if unknown := set(kinds) - set(all_kinds):
        options.error(f"no such kind: {', '.join(sorted(unknown))}; these are: {', '.join(all_kinds)}")
    return kinds


def folder_for(keep: Path | None, name: str) -> Path:
    """Make the folder of a run, a temporary one if none is to be kept; from here on SIGTERM leaves nothing running."""
    folder = keep or Path(tempfile.mkdtemp(prefix=f"{name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    return folder
