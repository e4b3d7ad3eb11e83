"""A clock that a test moves."""


class Clock:
    """Stands still until it is moved, or waited for. `waits` are the seconds that were waited; `until` ends them."""

    def __init__(self):
        self.now = 1_000.0
        self.waits = []
        self.ended = False

    def __call__(self):
        return self.now

    def wait(self, seconds):
        if not self.ended:
            self.waits.append(seconds)
            self.now += max(0.0, seconds)
        return self.ended

    def end(self):
        self.ended = True
