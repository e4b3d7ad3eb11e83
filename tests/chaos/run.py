"""A chaos run from start to end: traffic, faults at random moments, quiet, and then the reckoning."""

import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from mailworker.intake import open_envelope
from mailworker.ledger import Ledger, LedgerError
from mailworker.sealing import KeyRing
from tests.chaos.evidence import Call, read_calls, read_lines
from tests.chaos.faults import KINDS, Fault, Ground
from tests.chaos.installation import Installation, Producers, wait_until
from tests.chaos.judge import Findings, Kept, Report, judge
from tests.chaos.letters import LANES, tag_of_sender

_AT_ONCE = 4
_PRODUCERS = 2


@dataclass(frozen=True)
class Plan:
    """What is wanted. `gap`: mean seconds between faults. `pace`: seconds that the sink takes for each mail."""

    mails: int
    faults: int
    seed: str
    kinds: tuple[str, ...] = tuple(KINDS)
    gap: float = 1.5
    pace: float = 0.002
    workers: int = 2
    quiet_seconds: float = 600.0

    @property
    def rate(self) -> float:
        """Mails a second, so that traffic lasts about as long as the faults do."""
        return min(max(self.mails / max(self.faults * self.gap, 10.0), 20.0), 600.0)


@dataclass
class Outcome:
    """What came of a run: the report, each fault, and what there is to say besides."""

    report: Report
    faults: Sequence[Fault]
    seconds: float
    troubles: Sequence[str]


def run(plan: Plan, folder: Path) -> Outcome:
    """Do all of it in this folder."""
    began = time.monotonic()
    installation = Installation(folder, workers=plan.workers, pace=plan.pace, seed=plan.seed)
    producers = Producers(folder, installation.environment, plan.rate / _PRODUCERS, plan.seed)
    try:
        installation.start()
        for number in range(_PRODUCERS):
            producers.start(number)
        ground = Ground(installation, producers)
        faults, troubles = _strike_all(plan, ground)
        goal = time.monotonic() + 2 * plan.mails / plan.rate
        while _accepted(folder) < plan.mails and time.monotonic() < goal and not producers.dead():
            time.sleep(0.2)
        troubles += [f"producer {number} has died" for number in producers.dead()]
        producers.stop()
        _wait_for_quiet(installation, plan.quiet_seconds, troubles)
        _wait_for_orphans(installation, troubles)
        findings = _gather(installation, folder, faults)
    finally:
        for process in producers.processes.values():
            process.kill()
            process.wait()
        installation.stop()
    return Outcome(judge(findings), faults, time.monotonic() - began, troubles)


def _strike_all(plan: Plan, ground: Ground) -> tuple[list[Fault], list[str]]:
    """Strike at random moments, several at once; every kind as often as every other."""
    chance = random.Random(f"faults {plan.seed}")
    faults: list[Fault] = []
    troubles: list[str] = []
    free = threading.Semaphore(_AT_ONCE)

    def strike(fault: Fault) -> None:
        try:
            KINDS[fault.kind](fault, ground, random.Random(f"{plan.seed} {fault.number}"))
        except Exception as error:  # noqa: BLE001 - a fault that could not be is told, and the run goes on
            troubles.append(f"fault {fault.number} ({fault.kind}): {type(error).__name__}: {error}")
        finally:
            free.release()

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs: list[Future[None]] = []
        wait_until(lambda: _accepted(ground.installation.folder) > 0, "mails are accepted")
        for number, kind in enumerate(_shuffled(plan, chance)):
            time.sleep(min(chance.expovariate(1 / plan.gap), 4 * plan.gap))
            free.acquire()
            faults.append(Fault(number, kind))
            jobs.append(pool.submit(strike, faults[-1]))
    return [fault for fault in faults if fault.at], troubles


def _shuffled(plan: Plan, chance: random.Random) -> Iterator[str]:
    left: list[str] = []
    for _ in range(plan.faults):
        if not left:
            left = chance.sample(plan.kinds, len(plan.kinds))
        yield left.pop()


def _calls(folder: Path) -> list[Call]:
    return [call for path in sorted(folder.glob("producer-*.jsonl")) for call in read_calls(path)]


def _accepted(folder: Path) -> int:
    return sum(len(call.ids or ()) for call in _calls(folder))


def _wait_for_quiet(installation: Installation, seconds: float, troubles: list[str]) -> None:
    with installation.redis.client() as client:
        ledger = Ledger(client)

        def open_mails() -> int | None:
            with contextlib.suppress(LedgerError):
                return sum(lane.ready + lane.due + lane.claims for lane in map(ledger.stats, LANES))
            return None

        try:
            wait_until(lambda: open_mails() == 0, "every mail has ended", seconds)
        except TimeoutError:
            troubles.append(f"{open_mails()} mails were still open {seconds:g} s after the last fault")


def _wait_for_orphans(installation: Installation, troubles: list[str]) -> None:
    try:
        wait_until(lambda: not installation.orphans(), "children of killed workers have ended", 20)
    except TimeoutError:
        troubles.append(f"{len(installation.orphans())} children outlived their killed parents")


def _gather(installation: Installation, folder: Path, faults: Sequence[Fault]) -> Findings:
    truth = list(read_lines(installation.sink.truth))
    with installation.redis.client(60) as client:
        ledger = Ledger(client)
        counts: dict[str, int] = {}
        for lane in LANES:
            for name, number in ledger.stats(lane).counts.items():
                counts[name] = counts.get(name, 0) + number
        return Findings(
            calls=_calls(folder),
            taken=[line for line in truth if line["what"] == "taken"],
            refused=[line for line in truth if line["what"] == "refused"],
            kept=list(_kept(client, ledger)),
            counts=counts,
            faults=faults,
        )


def _kept(client: Redis, ledger: Ledger) -> Iterator[Kept]:
    keys = KeyRing.parse(())
    for lane in LANES:
        prefix = f"mw:{{{lane}}}:m:"
        for key in client.scan_iter(match=f"mw:{{{lane}}}:m:*", count=1000):
            mail_id = key.decode().removeprefix(prefix)
            record = ledger.read(mail_id)
            assert record is not None
            sender, _, _ = open_envelope(mail_id, record.envelope, keys)
            history = [json.loads(line) for line in record.history]
            yield Kept(
                mail_id, tag_of_sender(sender), record.state, record.recipients, record.possible_duplicates, history
            )
