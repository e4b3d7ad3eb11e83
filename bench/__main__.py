"""`python -m bench transport|queue|size [--json FILE] [--quick]`."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from bench import queue, size, transport
from bench.native import NoCompilerError
from bench.report import Section, machine, table

_WHAT: Mapping[str, Callable[..., Iterator[Section]]] = MappingProxyType(
    {"queue": queue.measured, "size": size.measured, "transport": transport.measured}
)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print tables, and write JSON if that is asked for; 2 if the machine lacks a compiler."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", choices=sorted(_WHAT), help="what to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="few mails: to see that it works, not how fast")
    asked = parser.parse_args(arguments)
    sections = []
    sys.stdout.write(f"{machine()}\n")
    try:
        for section in _WHAT[asked.what](quick=asked.quick):
            sections.append(section)
            sys.stdout.write(f"\n{table(section)}")
            sys.stdout.flush()
    except NoCompilerError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if asked.json is not None:
        told = {"machine": machine(), "sections": {section.name: section.plain() for section in sections}}
        asked.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
