"""uv.lock is the truth: what pip reads and what pyproject.toml asks for agree with it."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FORM = ("--all-extras", "--no-hashes", "--no-emit-project", "--no-header", "--no-annotate")


def read_toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def own_entry(lock: dict[str, Any]) -> dict[str, Any]:
    (entry,) = [package for package in lock["package"] if package["source"].get("editable") == "."]
    return dict(entry)


def asked_in_pyproject(project: dict[str, Any]) -> set[str]:
    """Every requirement in one normal form, the extra as a part of its marker."""
    asked = {normal(Requirement(text), None) for text in project["dependencies"]}
    for extra, texts in project["optional-dependencies"].items():
        asked |= {normal(Requirement(text), extra) for text in texts}
    return asked


def asked_in_lock(entry: dict[str, Any]) -> set[str]:
    asked = set()
    for item in entry["metadata"]["requires-dist"]:
        extras = f"[{','.join(item['extras'])}]" if "extras" in item else ""
        marker = f"; {item['marker']}" if "marker" in item else ""
        asked.add(normal(Requirement(f"{item['name']}{extras}{item.get('specifier', '')}{marker}"), None))
    return asked


def normal(requirement: Requirement, extra: str | None) -> str:
    marker = str(requirement.marker or "")
    if extra is not None:
        marker = str(Marker(f"({marker}) and extra == '{extra}'" if marker else f"extra == '{extra}'"))
    name = canonicalize_name(requirement.name)
    return f"{name} {sorted(requirement.extras)} {requirement.specifier} {marker.replace('(', '').replace(')', '')}"


def test_the_constraints_for_pip_are_those_of_the_lock(tmp_path: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "export", "--frozen", "--offline", "--cache-dir", str(tmp_path), *FORM]
    exported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert exported == (ROOT / "constraints.txt").read_text(encoding="utf-8"), "run `make lock`"


def test_the_lock_answers_what_pyproject_asks() -> None:
    project = read_toml("pyproject.toml")["project"]
    lock = read_toml("uv.lock")
    entry = own_entry(lock)
    assert asked_in_lock(entry) == asked_in_pyproject(project), "run `make lock`"
    assert (entry["name"], entry["version"]) == (project["name"], project["version"])
    assert SpecifierSet(lock["requires-python"]) == SpecifierSet(project["requires-python"])


def test_a_changed_requirement_does_not_go_unnoticed() -> None:
    asked = asked_in_pyproject({"dependencies": ["Click>=8.1"], "optional-dependencies": {"dev": ["ruff>=1"]}})
    recorded = [{"name": "click", "specifier": ">=8.1"}, {"name": "ruff", "marker": "extra == 'dev'"}]
    assert asked != asked_in_lock({"metadata": {"requires-dist": recorded}})
    recorded[1]["specifier"] = ">=1"
    assert asked == asked_in_lock({"metadata": {"requires-dist": recorded}})
