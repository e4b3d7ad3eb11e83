"""What Celery alone does not do: children that end with their parent."""

import os
import subprocess
import sys
import time

import pytest

# A child that waits on a pipe of which it holds the other end open, as a pool's processes may, never hears of the end.
CHILD_OF_A_KILLED_PARENT = """
import os, sys, threading, time
from mailworker.celery import app
from mailworker.prefork import end_with_parent
app.share_board()
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    while sys.argv[1] == "late" and os.getppid() == app.board.owner:
        time.sleep(0.01)
    threading.Thread(target=end_with_parent, args=(app.board.owner,)).start()
    os.read(reading, 1)
print(pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("begins", ["early", "late"])
def test_a_child_ends_when_its_parent_was_killed(begins):
    told = subprocess.run(
        [sys.executable, "-c", CHILD_OF_A_KILLED_PARENT, begins],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    child, until = int(told.stdout), time.monotonic() + 20
    while is_alive(child):
        if time.monotonic() > until:
            os.kill(child, 9)
            pytest.fail("the child waits for a parent that is gone")
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
