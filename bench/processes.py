"""Programs that run beside a measurement, and the CPU that they and their children spend."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE = 60.0
_GRACE = 20.0


class NotReadyError(Exception):
    """A program ended, or did not get ready in time; the text holds its last words."""


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], log: Path, env: Mapping[str, str], ready: bytes, folder: Path | None = None
) -> Iterator[int]:
    """Run a program until the block ends, from when it has said `ready`; gives its process id."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=dict(env), cwd=folder, start_new_session=True
        )
    try:
        _await(process, log, ready)
        yield process.pid
    finally:
        _end(process)


def cpu_seconds(*roots: int) -> float:
    """Add up the CPU of these processes and all their descendants, also of those that have ended, so far."""
    children: dict[int, list[int]] = {}
    spent: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            pid = int(status.parent.name)
            children.setdefault(int(fields[1]), []).append(pid)
            spent[pid] = sum(map(int, fields[11:15]))
    found, ticks = list(roots), 0
    while found:
        pid = found.pop()
        ticks += spent.get(pid, 0)
        found += children.get(pid, ())
    return ticks / _TICKS


def _await(process: "subprocess.Popen[bytes]", log: Path, ready: bytes) -> None:
    deadline = time.monotonic() + _PATIENCE
    while ready not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(errors="replace")[-2000:]
            raise NotReadyError(f"{process.args!s} did not get ready: {last}")
        time.sleep(0.02)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
