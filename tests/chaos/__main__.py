"""Faults at random, for as long as it takes: `python -m tests.chaos --mails 20000 --faults 200 --seed 1`.

Exit code 1 if a promise was broken. `--json` has the whole: each fault, when it struck and healed, and what it cost.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from tests.chaos.faults import KINDS
from tests.chaos.run import Outcome, Plan, run
from tests.evidence import folder_for, kinds_of

_COLUMNS = ("faults", "lost", "duplicates", "unflagged", "stuck", "recovery_median", "recovery_max")


def table(outcome: Outcome) -> str:
    """A row for each kind."""
    rows = [("kind", *_COLUMNS)]
    rows += [
        (kind, *(str(row.get(column, "-")) for column in _COLUMNS)) for kind, row in outcome.report.by_kind.items()
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    options.add_argument("--mails", type=int, default=2000)
    options.add_argument("--faults", type=int, default=len(KINDS))
    options.add_argument("--seed", default="1")
    options.add_argument("--kinds", default=",".join(KINDS), help="separated by commas")
    options.add_argument("--gap", type=float, default=1.5, help="mean seconds between two faults")
    options.add_argument("--pace", type=float, default=0.002, help="seconds that the SMTP server takes for a mail")
    options.add_argument("--json", type=Path)
    options.add_argument("--keep", type=Path, help="leave logs and evidence in this folder")
    chosen = options.parse_args()
    kinds = kinds_of(options, chosen.kinds, KINDS)
    folder = folder_for(chosen.keep, "chaos")
    outcome = run(Plan(chosen.mails, chosen.faults, chosen.seed, kinds, chosen.gap, chosen.pace), folder)
    report = outcome.report
    broken = [*report.violations, *outcome.troubles]
    lines = [
        table(outcome),
        f"{report.mails} mails accepted, {report.uncertain} in calls cut short, {report.deliveries} that arrived",
        f"{outcome.seconds:.0f} s, {len(broken)} violations",
        *(f"  {line[:300]}" for line in broken[:50]),
    ]
    if broken:
        lines.append(f"logs and evidence are in {folder}")
    sys.stdout.write("\n".join([*lines, ""]))
    if chosen.json:
        whole = {"plan": {**vars(chosen), "json": None, "keep": None}, "report": asdict(report)}
        whole |= {"seconds": outcome.seconds, "troubles": outcome.troubles}
        whole["faults"] = [fault.as_dict() for fault in outcome.faults]
        chosen.json.write_text(json.dumps(whole, indent=1))
    if not broken and not chosen.keep:
        shutil.rmtree(folder)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
