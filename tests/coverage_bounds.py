"""Hold what the tests of smtp_transport reach against what they must: `python -m tests.coverage_bounds FILE`.

FILE is what `coverage json` wrote. Statements and branches are counted apart: many statements can hide few branches.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STRICT = ("smtp_transport/protocol/", "smtp_transport/auth/", "smtp_transport/message/")
BOUNDS = {"protocol, auth, message": 95.0, "the rest": 85.0}


def reached(files: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Give the percentages of statements and branches for each group of files."""
    sums: dict[str, Counter[str]] = {group: Counter() for group in BOUNDS}
    for path, file in files.items():
        if path.startswith("smtp_transport/"):
            group = "protocol, auth, message" if path.startswith(STRICT) else "the rest"
            sums[group].update({name: count for name, count in file["summary"].items() if isinstance(count, int)})
    return {
        group: {
            "statements": 100 * seen["covered_lines"] / (seen["num_statements"] or 1),
            "branches": 100 * seen["covered_branches"] / (seen["num_branches"] or 1),
        }
        for group, seen in sums.items()
    }


def main(path: str) -> int:
    """Print each figure beside its bound; 1 if one is below."""
    below = False
    for group, figures in reached(json.loads(Path(path).read_text(encoding="utf-8"))["files"]).items():
        for what, percent in figures.items():
            below |= percent < BOUNDS[group]
            sys.stdout.write(f"smtp_transport, {group}: {percent:.1f} % of {what}, at least {BOUNDS[group]:.0f} %\n")
    return int(below)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
