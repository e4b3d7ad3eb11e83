"""What the pages say is so: commands run, names exist, links lead somewhere, tables and diagrams agree with code."""

import configparser
import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

import mailworker
from mailworker.cli import main
from mailworker.keys import LaneKeys
from mailworker.options import Options
from mailworker.record import PARKED_STATES
from mailworker.results import _CELERY_STATES
from mailworker.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT, ROOT / "ops", ROOT / "smtp_transport")
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(page for folder in FOLDERS for page in folder.glob("*.md"))])
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0]


def planned(*targets: str) -> list[str]:
    """What make would run, as it stands in the Makefile."""
    plan = ["make", "--dry-run", "--always-make", "PYTHON=python3", *targets]
    lines = subprocess.run(plan, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line.startswith(".venv/bin/")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"(?:^ {4}|`)make ([\w-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= known


def test_the_commands_without_make_are_those_that_make_runs() -> None:
    typed = {line.strip() for line in README.splitlines() if line.startswith("    .venv/bin/")}
    runs = [line.replace(" --quiet --disable-pip-version-check", "") for line in planned("demo", "test")]
    assert [line for line in runs if " || " not in line and line not in typed] == []
    assert "    python3 -m venv .venv\n" in README


def test_the_configuration_table_tells_names_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = re.findall(r"^\| `MAILWORKER_(\w+)` \| ([^|]*) \|", README, re.MULTILINE)
    assert len(rows) > 10
    plain = load_settings()
    for name, cell in rows:
        section, *path = name.lower().split("__")
        annotation: Any = Settings.model_fields[section].annotation
        if not path:
            continue
        fields = (annotation.__args__[1] if len(path) == 2 else annotation).model_fields
        assert path[-1] in fields, name
        default = re.fullmatch(r"`(\S+)`", cell)
        if default:
            monkeypatch.setenv(f"MAILWORKER_{name}", default[1])
            assert load_settings() == plain or name == "LANES__BULK__RELAY", name
            monkeypatch.delenv(f"MAILWORKER_{name}")


def test_the_table_of_commands_is_whole() -> None:
    named = set(
        re.findall(
            r"`(?:mailworker )?((?:config |keys |lane |mail |relay |stray |suppress |worker )?\w+)(?: [A-Z]+)?`",
            section(README, "The command line"),
        )
    )
    context = click.Context(main)
    known = set()
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        known |= {f"{name} {sub}" for sub in command.commands} if isinstance(command, click.Group) else {name}
    assert named == known


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    called: list[Options] = []

    class Recorder:
        id, state = "default-x", "PENDING"

        def delay(self, email: mailworker.Email) -> "Recorder":
            return self.apply_async((email,))

        def apply_async(self, args: tuple[mailworker.Email], **options: Any) -> "Recorder":
            assert isinstance(*args, mailworker.Email)
            called.append(Options(**options))
            return self

        def many(self, emails: list[mailworker.Email]) -> None:
            for email in emails:
                self.apply_async((email,))

    monkeypatch.setattr(mailworker, "send_email", Recorder(), raising=False)
    namespace: dict[str, Any] = {}
    examples = blocks(README, "python")
    assert len(examples[0].split("\n\n")[1].splitlines()) <= 5
    for example in examples:
        exec(compile(example, "README.md", "exec"), namespace)  # noqa: S102 - our own page, which is the point
    assert len(called) == 4
    assert capsys.readouterr().out == "default-x PENDING\n"


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    (drawn,) = (block for block in blocks(ARCHITECTURE, "") if block.startswith("smtp_transport\n"))
    for package in ("smtp_transport", "mailworker"):
        (checked,) = (c["layers"] for c in contracts.values() if c.get("containers", "") == package)
        lines = drawn.split(f"{package}\n", 1)[1].split("\n\n")[0].splitlines()
        layers = [re.split(r"\s{2,}", line.strip())[0].replace(" · ", " | ") for line in lines]
        assert [set(layer.split(" | ")) for layer in layers] == [
            set(layer.split(" | ")) for layer in checked.strip().splitlines()
        ]


def test_the_states_are_those_of_the_ledger() -> None:
    (diagram,) = (block for block in blocks(ARCHITECTURE, "mermaid") if block.startswith("stateDiagram"))
    drawn = set(itertools.chain.from_iterable(re.findall(r"^ *(\S+) --> (\w+|\[\*\])", diagram, re.MULTILINE)))
    assert drawn - {"[*]"} == set(_CELERY_STATES)


def test_the_keys_are_those_of_a_lane() -> None:
    told = set(re.findall(r"`(mw:\{lane\}:[^`]+)`", section(ARCHITECTURE, "Keys in Redis")))
    keys = LaneKeys("mw", "lane")
    mail_id = "lane-" + "0" * 26
    others = {keys.record(mail_id), keys.ended(mail_id), keys.idempotency("0" * 64), keys.untold, keys.telling}
    others |= {keys.file("0" * 64), *keys.suppressed, keys.turns, keys.recalled, keys.waiter}
    others |= {keys.parked(state) for state in (*PARKED_STATES, "unreadable")}
    assert {name.replace("<id>", mail_id).replace("<sha256>", "0" * 64) for name in told} == {*keys.every, *others}


def test_every_decision_has_its_number_and_its_parts() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [int(path.name[:4]) for path in files]
    assert numbers == list(range(1, len(files) + 1))
    parts = ["Why it came up", "What we do", "What else was considered"]
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]}: ")
        assert [part for part in parts if f"\n## {part}\n" not in text] == []
        assert re.search(r"^Status: (accepted|replaced by \d{4})$", text, re.MULTILINE)


def test_every_test_that_a_page_names_exists() -> None:
    named = [
        (name, page.parent / target)
        for page in PAGES
        for name, target in re.findall(r"\[`(test_\w+)`\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert len(named) > 20
    assert [name for name, file in named if f"def {name}(" not in file.read_text(encoding="utf-8")] == []
