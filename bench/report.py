"""Figures as a person reads them, and as a program does."""

import os
import platform
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

Figure = float | str | None


@dataclass(frozen=True, slots=True)
class Section:
    """One measurement: a row for each contender, whose figures are named with their units."""

    name: str
    told: str
    rows: Mapping[str, Mapping[str, Figure]]

    def plain(self) -> dict[str, object]:
        """Give plain values that JSON can carry."""
        return {"told": self.told, "rows": {name: dict(figures) for name, figures in self.rows.items()}}


def table(section: Section) -> str:
    """Draw a section as Markdown, its numbers under one another."""
    columns = list(dict.fromkeys(column for figures in section.rows.values() for column in figures))
    cells = [["", *columns], *([name, *(_cell(row.get(c)) for c in columns)] for name, row in section.rows.items())]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(cells[0]))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    drawn = [_line(line, widths) for line in (cells[0], rule, *cells[1:])]
    return "\n".join([f"## {section.name}", "", section.told, "", *drawn, ""])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return f"| {' | '.join([cells[0].ljust(widths[0]), *padded[1:]])} |"


def _cell(figure: Figure) -> str:
    if figure is None:
        return "-"
    if isinstance(figure, str):
        return figure
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def machine() -> str:
    """Tell the date, and what class of machine it is; not which one."""
    cores = os.cpu_count() or 1
    versions = f"CPython {platform.python_version()}, {ssl.OPENSSL_VERSION.split(' (')[0].strip()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {cores} cores, {platform.system()}, {versions}"


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
