"""What a chaos run has shown: producers' evidence, the sink's truth and the ledger's records, held against each other.

Law: pure. It trusts the sink about what arrived, the producers about what was accepted, and the ledger about nothing.
"""

import statistics
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.evidence import Call
from tests.chaos.faults import KILLS, STRANDING, Fault
from tests.chaos.letters import HELD, lane_of_tag, recipients_of, tag_of_recipient

RECOVERY_SECONDS = 10.0
"""The promise: half of all faults of a kind are over sooner."""
LEAST_FAULTS = 10
"""A median of fewer says nothing."""
MOST_DOUBLED = 100
"""One window a kill: two children, each with a batch of at most 50 mails at the dot."""
_LEAST_LEASE_SECONDS = 5.0
"""A lease of 8 s that is renewed every 2.7 s has at least so much left when its owner dies."""
_CLOCK_SLACK_SECONDS = 0.05
_FINAL = frozenset({"sent", "partial", "dead", "in_doubt", "expired", "cancelled"})


@dataclass(frozen=True)
class Kept:
    """One record of the ledger. `history`: its notes. `letters`: one for each recipient."""

    id: str
    tag: str
    state: str
    letters: str
    duplicates: int
    history: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Findings:
    """All that was gathered. `taken` and `refused` are the sink's lines; `counts` the ledger's counters, all lanes."""

    calls: Sequence[Call]
    taken: Sequence[Mapping[str, Any]]
    refused: Sequence[Mapping[str, Any]]
    kept: Sequence[Kept]
    counts: Mapping[str, int]
    faults: Sequence[Fault]


@dataclass
class Report:
    """What is to be told. `violations`: one line each, empty if every promise was kept."""

    mails: int = 0
    uncertain: int = 0
    deliveries: int = 0
    by_kind: dict[str, dict[str, Any]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def blame(self, fault: Fault | None, what: str) -> None:
        row = self.by_kind.get(fault.kind if fault else "none")
        if row is not None:
            row[what] += 1


def judge(found: Findings) -> Report:
    """Hold all against each other."""
    report = Report(deliveries=len(found.taken))
    for kind, number in sorted(Counter(fault.kind for fault in found.faults).items()):
        report.by_kind[kind] = {"faults": number, "lost": 0, "duplicates": 0, "unflagged": 0, "stuck": 0}
    arrivals: dict[str, list[float]] = defaultdict(list)
    for line in found.taken:
        for address in line["to"]:
            arrivals[address].append(line["at"])
    _check_accepted(found, arrivals, report)
    _check_duplicates(found, arrivals, report)
    _check_ledger(found, report)
    _check_recovery(found, report)
    return report


def _check_accepted(found: Findings, arrivals: Mapping[str, Sequence[float]], report: Report) -> None:
    """Every mail whose call returned has arrived, or failed for a reason that the sink knows of."""
    kept = {mail.id: mail for mail in found.kept}
    refused = {line["to"] for line in found.refused if "to" in line}
    refused_tags = {line["tag"] for line in found.refused if line["step"] in {"MAIL", "DATA", "DOT"}}
    tags: set[str] = set()
    for call in found.calls:
        tags.update(call.tags)
        ids = call.ids or []
        report.mails += len(ids)
        report.uncertain += len(call.tags) if call.is_open else 0
        for tag, mail_id in zip(call.tags, ids, strict=call.error is None and not call.is_open):
            mail = kept.get(mail_id)
            for place, address in enumerate(recipients_of(tag)):
                letter = mail.letters[place] if mail else "?"
                is_reason = (letter == "b" and (address in refused or tag in refused_tags)) or (
                    letter == "i" and lane_of_tag(tag) == HELD
                )
                if not arrivals.get(address) and not is_reason:
                    report.violations.append(f"lost: {mail_id} to {address}, letter {letter}")
                    report.blame(_last_before(found.faults, call.ended or call.began), "lost")
                if letter == "d" and not arrivals.get(address):
                    report.violations.append(f"said to be delivered, and never arrived: {mail_id} to {address}")
    for line in found.taken:
        if line["tag"] not in tags:
            report.violations.append(f"nobody sent what arrived: {line['tag']}")
        if not line["whole"]:
            report.violations.append(f"arrived maimed: {line['tag']}")


def _check_duplicates(found: Findings, arrivals: Mapping[str, Sequence[float]], report: Report) -> None:
    """Each further arrival was flagged before, and no kill has doubled more than was at the dot."""
    by_tag = {mail.tag: mail for mail in found.kept}
    doubled: dict[int, set[str]] = defaultdict(set)
    for address, unsorted in arrivals.items():
        times, tag = sorted(unsorted), tag_of_recipient(address)
        mail = by_tag.get(tag)
        for earlier, at in pairwise(times):
            cause = _cause_of_doubt(found.faults, earlier)
            report.blame(cause, "duplicates")
            if cause is not None:
                doubled[cause.number].add(tag)
            number = times.index(at)
            if mail is None or len([f for f in _flags(mail) if f <= at + _CLOCK_SLACK_SECONDS]) < number:
                report.violations.append(f"doubled without a flag: {tag}, {times}, {mail}")
                report.blame(cause, "unflagged")
            if lane_of_tag(tag) == HELD:
                report.violations.append(f"doubled although doubts are held: {tag}, {times}, {mail}")
    for fault in found.faults:
        if fault.kind in KILLS and len(doubled[fault.number]) > MOST_DOUBLED:
            report.violations.append(f"fault {fault.number} ({fault.kind}) doubled {len(doubled[fault.number])} mails")


def _flags(mail: Kept) -> list[float]:
    """When the ledger wrote down that a mail may arrive twice."""
    notes = [note for note in mail.history if _is_doubt(note)]
    return sorted(float(note["at"]) / 1000 for note in notes)[: mail.duplicates]


def _is_doubt(note: Mapping[str, Any]) -> bool:
    return note.get("event") == "recovered at the dot" or note.get("fate") == "in_doubt"


def _check_ledger(found: Findings, report: Report) -> None:
    """Everything has ended, each mail is there once, and the counters agree with the records."""
    for mail in found.kept:
        if mail.state not in _FINAL:
            report.violations.append(f"stuck: {mail}")
            report.blame(_last_before(found.faults, mail.history[-1]["at"] / 1000 if mail.history else 0.0), "stuck")
    for tag, times in Counter(mail.tag for mail in found.kept).items():
        if times > 1:
            report.violations.append(f"accepted {times} times: {tag}")
    states = Counter(mail.state for mail in found.kept)
    told = {state: found.counts.get("delivered" if state == "sent" else state, 0) for state in sorted(_FINAL)}
    if told != {state: states[state] for state in told} or found.counts.get("accepted", 0) != len(found.kept):
        report.violations.append(f"the counters say {dict(found.counts)}, the records are {dict(states)}")


def _check_recovery(found: Findings, report: Report) -> None:
    """From healing to the first arrival, and until the last mail was tried again that the fault had stranded."""
    moments = sorted(float(line["at"]) for line in found.taken)
    stranded = _stranded(found)
    times: dict[str, list[float]] = defaultdict(list)
    for fault in found.faults:
        place = bisect_right(moments, fault.healed)
        if place == len(moments):
            continue  # it was the last, and nothing was left to deliver
        last = max([moments[place], *stranded[fault.number]])
        fault.detail["recovery"] = round(last - fault.healed, 3)
        fault.detail["stranded"] = len(stranded[fault.number])
        times[fault.kind].append(last - fault.healed)
    for kind, seconds in times.items():
        median = statistics.median(seconds)
        report.by_kind[kind] |= {"recovery_median": round(median, 2), "recovery_max": round(max(seconds), 2)}
        if len(seconds) >= LEAST_FAULTS and median >= RECOVERY_SECONDS:
            report.violations.append(f"slow to recover: {kind}, {median:.1f} s in the median")


def _stranded(found: Findings) -> dict[int, list[float]]:
    """For each fault, when the mails that a watch had to free were tried again: laid to the last that may be it."""
    stranded: dict[int, list[float]] = defaultdict(list)
    faults = [fault for fault in found.faults if fault.kind in STRANDING]
    for mail in found.kept:
        for note, then in pairwise(mail.history):
            if str(note.get("event", "")).startswith("recovered"):
                # Where a process was known to be dead, nobody waited for its lease.
                waited = 0.0 if "why" in note else _LEAST_LEASE_SECONDS
                fault = _last_before(faults, note["at"] / 1000 - waited)
                if fault is not None:
                    stranded[fault.number].append(then["at"] / 1000)
    return stranded


def _last_before(faults: Iterable[Fault], moment: float) -> Fault | None:
    return max((fault for fault in faults if fault.at <= moment), key=lambda fault: fault.at, default=None)


def _cause_of_doubt(faults: Iterable[Fault], arrived: float) -> Fault | None:
    """The first fault that began or lasted after a mail had arrived: it kept somebody from knowing."""
    return min((f for f in faults if f.healed >= arrived - 0.5), key=lambda f: (max(f.at, arrived), f.at), default=None)
