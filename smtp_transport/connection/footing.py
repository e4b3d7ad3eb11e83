"""How fast a server can be talked to, as it has proven: where it stumbled, it is walked with more slowly.

Law: what a server offers is tried, and one that answers out of step is taken at its word no more. A stall or a lost
link may have other causes, so it takes two in a row. After an hour the faster way is tried again.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from smtp_transport.errors import ErrorKind, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.wire import WireMode

_OUT_OF_STEP: Final = frozenset({ErrorKind.INVALID_RESPONSE, ErrorKind.UNEXPECTED_RESPONSE})
_SUSPECT: Final = frozenset({ErrorKind.READ_TIMEOUT, ErrorKind.CONNECTION_RESET})
_ENOUGH: Final = 2
_FORGIVEN_AFTER: Final = 3_600.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stumble:
    """A server broke in `mode` for this `reason`, at this moment of the clock: slower modes only, from here on."""

    mode: WireMode
    reason: str
    at: float


class Footing:
    """What is remembered about one server, by all links to it. Safe for threads. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # a signal handler may send a mail while its thread is in here
        self._stumble: Stumble | None = None
        self._suspicions = 0
        self.knows_chunks = False
        """Whether the server has answered BDAT as it should."""

    @property
    def stumble(self) -> Stumble | None:
        """The stumble that counts now; None if none does."""
        stumble = self._stumble
        return stumble if stumble and self._clock() < stumble.at + _FORGIVEN_AFTER else None

    def within(self, mode: WireMode) -> WireMode:
        """Give this mode, or the fastest one below it that the server was not seen to break in."""
        stumble = self.stumble
        return mode if stumble is None or mode.rank < stumble.mode.rank else stumble.mode.slower

    def went_well(self) -> None:
        """Note a link that was in step to the end of a delivery."""
        self._suspicions = 0

    def broke(self, mode: WireMode, error: SmtpError, where: str) -> None:
        """Note how a link broke that was used in this mode; `where` names the server for the log."""
        is_suspect = error.kind in _SUSPECT and error.phase is not Phase.MAIL  # between mails any server may hang up
        if mode is WireMode.LOCKSTEP or error.code is not None or not (is_suspect or error.kind in _OUT_OF_STEP):
            return
        with self._lock:
            self._suspicions += 1
            if is_suspect and self._suspicions < _ENOUGH:
                return
            self._suspicions = 0
            stumble = self.stumble
            if stumble is not None and stumble.mode.rank < mode.rank:
                return  # another link has come to know more meanwhile
            self._stumble = Stumble(mode, error.message, self._clock())
        _logger.warning("%s stumbled in mode %s, now %s: %s", where, mode.value, mode.slower.value, error.message)
