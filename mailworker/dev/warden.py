"""The warden: a small process that stops what its owner started, should the owner die without doing so itself.

The owner holds the write end of the warden's standard input and says `+PID` when a child starts, `-PID` when it is
gone. When that pipe closes, for whatever reason (kill -9 included), the warden ends the children that are left: the
youngest first, SIGTERM to the process itself, then SIGKILL to its group.

Law: it watches from outside. The children know nothing of it, so a Celery worker's own children are treated as the
worker wishes. (PR_SET_PDEATHSIG would be bound to the starting thread, end everything at once, and exists on Linux
alone.) Only the standard library, and nothing of this package: it is run as a file, so it starts in milliseconds.
"""

import contextlib
import os
import select
import signal
import sys
import time

GRACE_SECONDS = 10.0


def main() -> None:
    """Keep the list of children until standard input ends, then end those that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    children: dict[int, int | None] = {}
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            children[pid] = _open_pidfd(pid)
        elif (pidfd := children.pop(pid, None)) is not None:
            os.close(pidfd)
    for pid, pidfd in reversed(children.items()):
        _end(pid, pidfd)


def _open_pidfd(pid: int) -> int | None:
    """Hold on to exactly this process, whoever gets its number later. None where the system cannot (not Linux)."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _end(pid: int, pidfd: int | None) -> None:
    with contextlib.suppress(ProcessLookupError):
        if pidfd is None:
            os.kill(pid, signal.SIGTERM)
        else:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    _wait(pid, pidfd)
    # The main process may have gone and left members of its group behind.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _wait(pid: int, pidfd: int | None) -> None:
    """Until the process has ended, or the grace is over. A pidfd is readable as soon as the process is a zombie."""
    if pidfd is not None:
        select.select([pidfd], [], [], GRACE_SECONDS)
        return
    until = time.monotonic() + GRACE_SECONDS
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(0.05)


if __name__ == "__main__":
    main()
