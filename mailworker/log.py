"""The logger. What it is told holds no whole address: `smtp_transport.observation` masks them."""

import logging
import traceback

logger = logging.getLogger("mailworker")
_FRAMES = 6


def described(error: BaseException) -> str:
    """Tell an error that nobody foresaw, by its sort and place: its own text could quote a mail."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    road = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {road}" if road else type(error).__name__
