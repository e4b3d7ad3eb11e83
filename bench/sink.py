"""What the sink has counted, asked over its control socket."""

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 10.0
_LOOK = 0.02


class StalledError(Exception):
    """Mails stopped arriving before all of them were there; a figure of this run would mean nothing."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Since the last reset. `span` is from the first mail accepted to the last, in seconds; latencies are in ms."""

    mails: int
    refused: int
    peak: int
    span: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink: its port, and the folder in which its control socket is."""

    port: int
    folder: Path

    def counts(self) -> Counts:
        """Read its counters."""
        told = json.loads(self._ask(b"XLABSTATS\r\n"))
        return Counts(told["msgs"], told["refused"], told["peak"], told["span_s"], told["p50"], told["p99"])

    def reset(self) -> None:
        """Begin to count anew."""
        self._ask(b"XLABRESET\r\n")

    def await_mails(self, mails: int, patience: float = 60.0) -> Counts:
        """Wait until so many mails have come. Raises `StalledError` when none came for `patience` seconds."""
        seen, moved = -1, time.monotonic()
        while (counts := self.counts()).mails < mails:
            if counts.mails != seen:
                seen, moved = counts.mails, time.monotonic()
            if time.monotonic() - moved > patience:
                raise StalledError(f"{counts.mails} of {mails} mails came, then none for {patience:g} s")
            time.sleep(_LOOK)
        return counts

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(_PATIENCE)
            control.connect(str(self.folder / f"ctl.{self.port}"))
            control.sendall(command)
            with control.makefile("rb") as answer:
                return answer.readline()
