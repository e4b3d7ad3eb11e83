"""What the tests of the pool share: a clock, and looks at the counts."""

import threading


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def counts(pool):
    status = pool.status()
    assert status.total == status.idle + status.in_use
    return status.idle, status.in_use, status.pending


def used(pool, **how):
    with pool.acquire(**how) as lease:
        return lease


def wait_for_pending(pool, pending):
    give_up = threading.Event()
    while pool.status().pending != pending:
        assert not give_up.wait(0.001)
