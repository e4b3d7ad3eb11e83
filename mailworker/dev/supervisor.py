"""Start processes, and leave none behind: not on Ctrl-C, not on SIGTERM, not on an exception, not even on kill -9.

Each child leads a session of its own, so a Ctrl-C in the terminal reaches only us, and we decide the order. To stop a
child its main process gets SIGTERM (a Celery worker then finishes what it is sending); its whole group gets SIGKILL
when the main process is gone or its grace is over. Stages stop from the last to the first, those of a stage together.

Law: whatever happens between two lines, a started child is known to somebody who will end it: to us, or to the warden.
"""

import contextlib
import enum
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from mailworker.dev import warden

_TICK_SECONDS = 0.02
_SAME_WISH_SECONDS = 1.0
# A child first waits at this gate: it goes on when the warden knows of it, and ends if we die before that.
_GATE = ("/bin/sh", "-c", 'read -r go && exec "$@"', "sh")


class Stage(enum.IntEnum):
    """The order of starting; the reverse is the order of stopping."""

    SERVER = 1
    MAILBOX = 2
    WORKER = 3
    DASHBOARD = 4


class Interrupted(KeyboardInterrupt):
    """A signal asked us to stop. `signum` is its number; the shell's exit status for it is `128 + signum`."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class ChildDiedError(Exception):
    """A child ended although nobody had asked it to. The text names the child, its exit status and its log."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. `env` is the whole environment (None: ours); `grace` is the time from SIGTERM to SIGKILL, in s."""

    name: str
    argv: Sequence[str]
    stage: Stage
    env: Mapping[str, str] | None = None
    pass_fds: Sequence[int] = ()
    grace: float = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """A process that was started; its standard output and error go to `log`."""

    command: Command
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        """The main process, and the number of its group."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the main process is there."""
        return self.process.poll() is None

    def check(self) -> None:
        """Raise ChildDiedError if the process has ended."""
        status = self.process.poll()
        if status is None:
            return
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise ChildDiedError(f"{self.command.name} ended by itself ({how}); its log is {self.log}")

    def last_lines(self, count: int = 10) -> list[str]:
        """The end of its log, for a person who has to find out why."""
        return self.log.read_text(errors="replace").splitlines()[-count:] if self.log.exists() else []


class Supervisor:
    """Starts children and stops them when the `with` block ends, in whatever way it ends.

    In the main thread, SIGINT, SIGTERM and SIGHUP raise `Interrupted` inside the block; one more of them, a second or
    more after stopping began, cuts all graces short. `log_folder` gets one file a child.
    """

    def __init__(self, log_folder: Path) -> None:
        self.log_folder = log_folder
        self._children: list[Child] = []
        self._warden: subprocess.Popen[bytes] | None = None
        self._old_handlers: dict[int, signal._HANDLER] = {}
        self._shielded = False
        self._pending: int | None = None
        self._stopping_since: float | None = None
        self._hurry = False

    def __enter__(self) -> Self:
        """Take over the signals that ask to stop."""
        if threading.current_thread() is threading.main_thread():
            wanted = [signal.SIGINT, signal.SIGTERM]
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
                wanted.append(signal.SIGHUP)
            self._old_handlers = {number: signal.signal(number, self._on_signal) for number in wanted}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, then give the signals back."""
        self._stopping_since = time.monotonic()
        try:
            self.stop_all()
        finally:
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
            self._stopping_since = None

    def start(self, command: Command) -> Child:
        """Start a child. A program that cannot be run shows as a child that died: `Child.check` tells."""
        self.log_folder.mkdir(parents=True, exist_ok=True)
        log = self.log_folder / f"{command.name}.log"
        with self._shield():
            guard = self._warden or self._start_warden()
            with log.open("ab") as output:
                process = subprocess.Popen(  # noqa: S603 - the caller chose the program; no shell reads its words
                    [*_GATE, *command.argv],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=command.env,
                    pass_fds=command.pass_fds,
                    start_new_session=True,
                )
            child = Child(command, log, process)
            self._children.append(child)
            _say(guard, f"+{process.pid}\n")
            _say(process, "go\n")
            _close_input(process)
        return child

    def stop(self, *children: Child) -> None:
        """Stop these children together: SIGTERM, their grace, SIGKILL to what is left of their groups."""
        began = time.monotonic()
        for child in children:
            if child.is_running:
                child.process.terminate()
        waiting = list(children)
        while waiting:
            waited = float("inf") if self._hurry else time.monotonic() - began
            for child in [c for c in waiting if not c.is_running or waited >= c.command.grace]:
                waiting.remove(child)
                self._bury(child)
            if waiting:
                time.sleep(_TICK_SECONDS)

    def stop_all(self) -> None:
        """Stop every child, the last stage first, and the warden at the end."""
        for stage in reversed(Stage):
            self.stop(*(child for child in self._children if child.command.stage is stage))
        if self._warden is not None:
            _close_input(self._warden)
            self._warden.wait()
            self._warden = None

    def check(self) -> None:
        """Raise ChildDiedError if some child has ended by itself."""
        for child in self._children:
            child.check()

    def watch(self) -> None:
        """Wait for ever, that is until a signal raises Interrupted or a child dies (ChildDiedError)."""
        while True:
            self.check()
            time.sleep(0.2)

    def _bury(self, child: Child) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.process.wait()
        self._children.remove(child)
        if self._warden is not None:
            _say(self._warden, f"-{child.pid}\n")

    def _start_warden(self) -> subprocess.Popen[bytes]:
        self._warden = subprocess.Popen(  # noqa: S603 - our own file, run by our own interpreter
            [sys.executable, "-I", "-S", warden.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._warden

    @contextlib.contextmanager
    def _shield(self) -> Iterator[None]:
        """Hold a signal back while a child is half started."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        if self._pending is not None:
            raise Interrupted(self._pending)

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        if self._stopping_since is not None:
            # Some wrappers pass on a Ctrl-C that the terminal has sent to us as well: those two mean one.
            self._hurry = time.monotonic() - self._stopping_since > _SAME_WISH_SECONDS
        elif self._shielded:
            self._pending = signum
        else:
            raise Interrupted(signum)


def _say(process: subprocess.Popen[bytes], line: str) -> None:
    """Write to a process that may be dead already."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(line.encode("ascii"))
            process.stdin.flush()


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
