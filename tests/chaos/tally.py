"""Several runs as one table: `python -m tests.chaos.tally run1.json run2.json ... [--json FILE]`."""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.judge import LEAST_FAULTS, RECOVERY_SECONDS

_SUMS = ("faults", "lost", "duplicates", "unflagged", "stuck")


def tallied(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give a row for each kind of fault, and one for all. Recoveries are in seconds."""
    kinds: dict[str, dict[str, Any]] = {}
    recoveries: dict[str, list[float]] = {}
    for run in runs:
        for kind, row in run["report"]["by_kind"].items():
            for name in (kind, "all"):
                sums = kinds.setdefault(name, dict.fromkeys(_SUMS, 0))
                for column in _SUMS:
                    sums[column] += row[column]
        for fault in run["faults"]:
            if "recovery" in fault["detail"]:
                for name in (fault["kind"], "all"):
                    recoveries.setdefault(name, []).append(fault["detail"]["recovery"])
    for kind, seconds in recoveries.items():
        kinds[kind] |= {"median": round(statistics.median(seconds), 1), "longest": round(max(seconds), 1)}
    return dict(sorted(kinds.items(), key=lambda item: (item[0] == "all", item[0])))


def page(runs: Sequence[Mapping[str, Any]]) -> str:
    """Write the table for a page, and a line of sums."""
    lines = [
        "| fault | times | lost | doubled | of these without a flag | stuck | recovery, median | longest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, row in tallied(runs).items():
        cells = (
            kind,
            *(row[column] for column in _SUMS),
            f"{row.get('median', '-')} s",
            f"{row.get('longest', '-')} s",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    mails = sum(run["report"]["mails"] for run in runs)
    uncertain = sum(run["report"]["uncertain"] for run in runs)
    broken = sum(len(run["report"]["violations"]) + len(run["troubles"]) for run in runs)
    broken += sum(_is_slow(row) for row in tallied(runs).values())
    lines += ["", f"{mails} mails accepted, {uncertain} in calls cut short, {broken} violations, {len(runs)} runs"]
    return "\n".join([*lines, ""])


def _is_slow(row: Mapping[str, Any]) -> bool:
    return bool(row["faults"] >= LEAST_FAULTS and row.get("median", 0.0) >= RECOVERY_SECONDS)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.chaos.tally", description=__doc__)
    options.add_argument("runs", nargs="+", type=Path)
    options.add_argument("--json", type=Path, help="keep all of it in one file, a line for each run")
    chosen = options.parse_args()
    runs = [json.loads(path.read_text()) for path in chosen.runs]
    sys.stdout.write(page(runs))
    if chosen.json:
        chosen.json.write_text("".join(json.dumps(run, separators=(",", ":")) + "\n" for run in runs))


if __name__ == "__main__":
    main()
