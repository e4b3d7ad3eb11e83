"""The deployment files are checked as far as a machine without Docker and systemd running can check them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from honcho.environ import parse as parse_env
from honcho.environ import parse_procfile

from mailworker.settings import load_settings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
UNITS = sorted((ROOT / "ops" / "systemd").glob("*.service"))
EXPOSURE = "20"  # tenths: below 2.0 systemd calls a service OK


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    ran = subprocess.run(
        [str(word) for word in command], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def services() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"])


def procfile() -> dict[str, str]:
    return dict(parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes)


def example_environment() -> dict[str, str]:
    return dict(parse_env((ROOT / "ops" / "env.example").read_text(encoding="utf-8")))


def flower_commands() -> dict[str, list[str]]:
    """Each way in which Flower is started, as words."""
    unit = (ROOT / "ops" / "systemd" / "mailworker-flower.service").read_text(encoding="utf-8")
    started = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    return {
        "compose": services()["flower"]["command"],
        "Procfile": shlex.split(procfile()["flower"]),
        "systemd": shlex.split(*started),
    }


def test_compose_keeps_to_the_schema() -> None:
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_the_dockerfile_has_no_known_fault() -> None:
    run(BIN / "hadolint", "ops/Dockerfile")


def test_every_image_that_compose_builds_is_a_stage_of_the_dockerfile() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "ops" / "Dockerfile").read_text(), re.MULTILINE))
    assert {service["build"]["target"] for service in services().values() if "build" in service} <= stages


def test_the_image_is_made_of_files_that_reach_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "ops" / "Dockerfile").read_text(), re.MULTILINE)
    allowed = (ROOT / "ops" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}" in allowed


def test_the_ledger_of_a_deployment_forgets_nothing() -> None:
    ledger = services()["valkey"]
    command = " ".join(ledger["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "--maxmemory " in command
    assert ledger["volumes"] == ["ledger:/data"]
    assert "ports" not in ledger


def test_the_mailbox_of_the_dev_profile_knows_its_options() -> None:
    mailbox = services()["mailbox"]
    assert mailbox["profiles"] == ["dev"]
    interpreter, *words = mailbox["command"]
    assert interpreter == "python"
    told = run(sys.executable, *words[:2], "--help")
    assert [word for word in words[2:] if f"{word.split('=')[0]} " not in told] == []


def test_workers_get_the_time_to_finish_what_they_have_begun() -> None:
    worker = services()["worker"]
    assert worker["deploy"]["replicas"] == 2
    assert worker["stop_grace_period"] == "90s"
    unit = (ROOT / "ops" / "systemd" / "mailworker@.service").read_text(encoding="utf-8")
    assert "KillMode=mixed\n" in unit
    assert "TimeoutStopSec=90\n" in unit


@pytest.mark.parametrize("where", ["compose", "Procfile", "systemd"])
def test_the_dashboard_can_only_be_looked_at(where: str) -> None:
    assert "--read-only=True" in flower_commands()[where]


@pytest.mark.parametrize("where", ["compose", "Procfile", "systemd"])
def test_the_dashboard_knows_every_option_it_is_given(where: str) -> None:
    """Flower passes over an option that it does not know, a misspelt --read-only included."""
    given = [word[2:].split("=")[0].replace("-", "_") for word in flower_commands()[where] if word.startswith("--")]
    assert given
    # In a process of its own: importing Flower's options fixes process-wide choices of tornado and prometheus_client.
    known = run(sys.executable, "-c", "from flower.options import options; print(*options.as_dict())").split()
    assert [name for name in given if name not in known] == []


def test_the_dashboard_is_not_reachable_from_outside() -> None:
    commands = flower_commands()
    assert "--address=127.0.0.1" in commands["Procfile"]
    assert "--address=127.0.0.1" in commands["systemd"]
    assert all(port.startswith("127.0.0.1:") for s in services().values() for port in s.get("ports", []))


def test_no_process_of_the_procfile_hides_behind_a_shell() -> None:
    """A shell in between would get the signal in the worker's place."""
    assert [name for name, line in procfile().items() if not re.search(r"(^|; )exec celery ", line)] == []


@pytest.mark.parametrize("password", [None, "", "admin:secret"])
def test_the_dashboard_does_not_start_without_a_password(tmp_path: Path, password: str | None) -> None:
    stub = tmp_path / "celery"
    stub.write_text("#!/bin/sh\necho started\n")
    stub.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"} | ({} if password is None else {"FLOWER_BASIC_AUTH": password})
    shell = ["sh", "-c", procfile()["flower"]]
    ran = subprocess.run(shell, env=environment, check=False, capture_output=True, text=True)
    assert (ran.stdout == "started\n") == bool(password)
    assert (ran.returncode == 0) == bool(password)
    assert services()["flower"]["environment"]["FLOWER_BASIC_AUTH"].startswith("${FLOWER_BASIC_AUTH:?")


def test_the_example_environment_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    example = example_environment()
    assert "FLOWER_BASIC_AUTH" in example
    for name in [name for name in os.environ if name.startswith("MAILWORKER_")]:
        monkeypatch.delenv(name)
    for name, value in example.items():
        monkeypatch.setenv(name, value)
    assert load_settings().relays["default"].host == example["MAILWORKER_RELAYS__DEFAULT__HOST"]


def test_what_compose_needs_is_in_the_example_environment() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required
    assert required <= set(example_environment())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_valid_and_confined(unit: Path, tmp_path: Path) -> None:
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text(encoding="utf-8").replace("/opt/mailworker/bin", str(BIN)))
    run("systemd-analyze", "verify", installed)
    run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", installed)
