"""The repository names no machine: it installs from where the machine's own settings say, into where it was cloned."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
IGNORED = {".git", "__pycache__", "build", "dist", "node_modules"}

# Spelled with a class of one letter, so that this file does not find itself.
REGISTRIES = re.compile(r"(?:[p]ypi\.org|[p]ythonhosted\.org|[r]egistry\.npmjs\.org|[p]roxy\.golang\.org|[c]rates\.io)")
MACHINE_PATHS = re.compile(r"(?<![\w.})\]/*-])/(?:[w]ork|[t]mp|[h]ome|[r]oot|[U]sers)(?=/)")


def texts() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") for part in parts[:-1] if part != ".ci")
        if path.is_file() and not hidden and not IGNORED.intersection(parts) and ".egg-info" not in str(path):
            try:
                yield str(Path(*parts)), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:  # a picture or another sample, not a text
                continue


def lines_with(pattern: re.Pattern[str], text: str) -> list[int]:
    return [number for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


def test_only_the_lock_names_a_package_registry() -> None:
    named = [(name, lines) for name, text in texts() if (lines := lines_with(REGISTRIES, text))]
    assert [found for found in named if found[0] != "uv.lock"] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert [(name, lines) for name, text in texts() if (lines := lines_with(MACHINE_PATHS, text))] == []


def test_the_patterns_find_what_they_look_for() -> None:
    names = {name for name, text in texts() if REGISTRIES.search(text)}
    assert names == {"uv.lock"}
    assert lines_with(MACHINE_PATHS, "a\ncd /" + "home/me/src\n") == [2]
    assert lines_with(MACHINE_PATHS, "https://example.org/" + "home/\ntests/" + "work/a") == []
