"""A fleet on one machine: `python -m tests.fleet --workers 50 --seconds 60 --seed 1`.

Exit code 1 if a promise was not kept. `--json` has the findings; `--keep` leaves logs and what the relays saw.
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from mailworker.dev.valkey import ValkeyServer
from tests.evidence import folder_for, kinds_of
from tests.fleet.stage.hammer import hammered, verdict
from tests.fleet.stage.play import KINDS, Plan, Play
from tests.fleet.stage.verdicts import Finding, broken, findings


def table(found: list[Finding]) -> str:
    """A row for each finding."""
    rows = [("kind", "what", "found", "promised", "")]
    marks = {None: "", True: "kept", False: "NOT KEPT"}
    rows += [(each.kind, each.what, each.found, each.promised, marks[each.is_kept]) for each in found]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def play(plan: Plan, folder: Path) -> tuple[list[Finding], list[str]]:
    """Put the fleet on its stage."""
    told = Play(plan, folder).run()
    faults = f"{told.kills} workers killed, {told.restarts} restarts of Redis, {told.freezes} times frozen"
    return findings(told), [faults, f"{told.log_lines} lines logged as warning or worse"]


def hammer(plan: Plan, folder: Path) -> tuple[list[Finding], list[str]]:
    """Have the workers take of a limit, and do nothing else."""
    with ValkeyServer(folder / "redis", None) as server:
        return list(verdict(hammered(server.socket, plan.workers, plan.seconds))), []


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    options.add_argument("--workers", type=int, default=50)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--seed", default="1")
    options.add_argument("--kinds", default=",".join(KINDS), help="separated by commas")
    options.add_argument("--waiting", type=int, default=100_000, help="mails in the lane of the dead relay")
    options.add_argument("--calm", action="store_true", help="kill no worker and leave Redis alone")
    options.add_argument("--json", type=Path)
    options.add_argument("--keep", type=Path, help="leave logs and what the relays saw in this folder")
    options.add_argument("--hammer", action="store_true", help="nothing but processes that take of a limit")
    chosen = options.parse_args()
    kinds = kinds_of(options, chosen.kinds, KINDS)
    folder = folder_for(chosen.keep, "fleet")
    load = os.getloadavg()[0]
    plan = Plan(chosen.workers, chosen.seconds, chosen.seed, kinds, chosen.waiting, not chosen.calm)
    found, remarks = hammer(plan, folder) if chosen.hammer else play(plan, folder)
    remarks.append(f"load of the machine {load:.1f} before the run")
    sys.stdout.write("\n".join([table(found), *remarks, ""]))
    if chosen.json:
        whole = {"plan": asdict(plan), "remarks": remarks, "findings": [asdict(each) for each in found]}
        chosen.json.write_text(json.dumps(whole, indent=1))
    if not chosen.keep:
        shutil.rmtree(folder)
    sys.exit(1 if broken(found) else 0)


if __name__ == "__main__":
    main()
