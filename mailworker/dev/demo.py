"""The whole road, shown and proven: producers, ledger, workers, a relay, and a look into the mailbox at the end.

Law: nothing here is a stand-in. Workers are started as a user starts them, mails go through `send_email.delay`, and the
verdict comes from the files in the mailbox after everything was stopped.
"""

import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailworker.dev.audit import audit
from mailworker.dev.letters import Letter, letters
from mailworker.dev.mailbox import read_mails
from mailworker.dev.stack import Stack
from mailworker.dev.supervisor import Child, Supervisor

LANE = "default"
_ENDED = ("delivered", "partial", "dead", "in_doubt", "expired", "cancelled")
_KEPT_RUNS = 5
_RUN_NAME = re.compile(r"run-\d{8}T\d{6}Z-\d+")

Show = Callable[[str, int, int], None]
"""Told what is going on: the step, how many are done, of how many (0: not countable)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to show: how many mails, with how many workers, kept below which folder."""

    mails: int
    workers: int
    folder: Path
    seed: int = 1
    patience_seconds: float = 60.0
    """How long no mail may end before those that are left count as faults."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, in mails. Times are from accepted to delivered, by the ledger's clock; NaN if none was.

    `faults`: everything that is not as it must be, one line each. `mailbox` and `logs`: where to look.
    """

    accepted: int
    delivered: int
    retried: int
    failed: int
    p50_ms: float
    p99_ms: float
    seconds: float
    mailbox: Path
    logs: Path
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fate:
    """How a letter ended, by the ledger."""

    letter: Letter
    state: str
    attempts: int
    ms: int | None


def run_demo(plan: Plan, show: Show) -> Outcome:
    """Run it and stop everything again. Raises Interrupted, ValkeyError, ChildDiedError, TimeoutError, LedgerError."""
    folder = _new_run(plan.folder)
    written = list(letters(plan.mails, plan.seed))
    began = time.monotonic()
    with Supervisor(folder / "log") as supervisor:
        stack = Stack(folder, supervisor)
        show("starting the server and the mailbox", 0, 0)
        stack.start_server()
        stack.start_mailbox()
        workers = [stack.start_worker(f"worker{n + 1}", "--concurrency=2") for n in range(plan.workers)]
        with _producer(stack):
            show("starting the workers", 0, 0)
            _wait_for_workers(workers)
            ids = _send(written, show)
            _wait_until_ended(len(ids), plan.patience_seconds, supervisor, show)
            fates = _read_fates(written, ids)
        show("stopping everything", 0, 0)
    show("checking the mailbox", 0, 0)
    faults = [*_wrong_fates(fates), *audit(written, read_mails(stack.mails))]
    return _outcome(fates, stack, faults, time.monotonic() - began)


def _new_run(folder: Path) -> Path:
    """Make a folder for this run, and remove all but the newest of earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    earlier = sorted(path for path in folder.iterdir() if _RUN_NAME.fullmatch(path.name))
    for path in earlier[: 1 - _KEPT_RUNS]:
        shutil.rmtree(path, ignore_errors=True)
    run = folder / f"run-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
    run.mkdir()
    return run.absolute()


@contextmanager
def _producer(stack: Stack) -> Iterator[None]:
    """Make this process a web app's: it knows the ledger by its environment and nothing else."""
    from mailworker.celery import app  # noqa: PLC0415 - it must not be configured before the environment is

    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(stack.environ)
    try:
        yield
    finally:
        app.forget_runtime()
        app.close()
        os.environ.clear()
        os.environ.update(before)


def _wait_for_workers(workers: Sequence[Child]) -> None:
    from mailworker.celery import app  # noqa: PLC0415 - as above

    until = time.monotonic() + 60
    while len(app.control.ping(timeout=1.0, limit=len(workers)) or ()) < len(workers):
        for worker in workers:
            worker.check()
        if time.monotonic() > until:
            raise TimeoutError(f"the workers did not answer within 60 s; their logs are in {workers[0].log.parent}")


def _send(written: Sequence[Letter], show: Show) -> list[str]:
    from mailworker import send_email  # noqa: PLC0415 - as above

    ids = []
    for letter in written:
        ids.append(send_email.delay(letter.email).id)
        show("accepted", len(ids), len(written))
    return ids


def _wait_until_ended(count: int, seconds: float, supervisor: Supervisor, show: Show) -> None:
    """Look at the lane's counters until every mail has ended, or none has for so long."""
    from mailworker.celery import app  # noqa: PLC0415 - as above

    until = time.monotonic() + seconds
    ended = 0
    while ended < count and time.monotonic() < until:
        supervisor.check()
        counts = app.runtime.ledger.stats(LANE).counts
        before, ended = ended, sum(counts.get(name, 0) for name in _ENDED)
        if ended > before:
            until = time.monotonic() + seconds
        show("ended", ended, count)
        if ended < count:
            time.sleep(0.02)


def _read_fates(written: Sequence[Letter], ids: Sequence[str]) -> list[_Fate]:
    from mailworker.celery import app  # noqa: PLC0415 - as above

    fates = []
    for letter, mail_id in zip(written, ids, strict=True):
        record = app.runtime.ledger.read(mail_id)
        if record is None:
            fates.append(_Fate(letter, "unknown to the ledger", 0, None))
        else:
            ms = None if record.ended_ms is None else record.ended_ms - record.accepted_ms
            fates.append(_Fate(letter, str(record.state), record.attempts, ms))
    return fates


def _wrong_fates(fates: Sequence[_Fate]) -> Iterator[str]:
    for fate in fates:
        number = fate.letter.number
        expected = "dead" if fate.letter.refused else "sent"
        if fate.state != expected:
            yield f"letter {number}: the ledger has it as {fate.state}, not {expected}"
        if fate.letter.put_off and fate.attempts < 2:
            yield f"letter {number}: was put off but not tried again"


def _outcome(fates: Sequence[_Fate], stack: Stack, faults: Sequence[str], seconds: float) -> Outcome:
    times = sorted(fate.ms for fate in fates if fate.state == "sent" and fate.ms is not None)
    return Outcome(
        accepted=len(fates),
        delivered=len(times),
        retried=sum(fate.attempts > 1 for fate in fates),
        failed=sum(fate.state != "sent" for fate in fates),
        p50_ms=_percentile(times, 50),
        p99_ms=_percentile(times, 99),
        seconds=seconds,
        mailbox=stack.mails,
        logs=stack.log_folder,
        faults=tuple(faults),
    )


def _percentile(ordered: Sequence[int], percent: int) -> float:
    """Nearest rank: the smallest value that so many percent do not exceed."""
    return float(ordered[math.ceil(len(ordered) * percent / 100) - 1]) if ordered else math.nan
