"""The logger. What it is told holds no whole address: `smtp_transport.observation` masks them."""

import logging
import time
import traceback
from collections.abc import Iterable

logger = logging.getLogger("mailworker")
_FRAMES = 6
_IN_ONE_LINE, _OLD_SECONDS = 50, 0.5


def described(error: BaseException) -> str:
    """Tell an error that nobody foresaw, by its sort and place: its own text could quote a mail."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    road = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {road}" if road else type(error).__name__


class SentLog:
    """Tells which mails were sent, many in one line: a line costs as much as a third of a mail."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._since = 0.0

    def add(self, mail_ids: Iterable[str]) -> None:
        """Note mails; a line is written when it is full, or something in it is old."""
        if not self._ids:
            self._since = time.monotonic()
        self._ids += mail_ids
        if len(self._ids) >= _IN_ONE_LINE or time.monotonic() - self._since > _OLD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was noted."""
        if self._ids:
            logger.info("sent: %s", " ".join(self._ids))
            self._ids.clear()
