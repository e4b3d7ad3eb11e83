import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from mailworker.cli import main
from mailworker.cli.config import masked_url
from mailworker.dev.valkey import ValkeyServer
from mailworker.health import Sign
from mailworker.ledger import Ledger, Pause, Roll

RELAY = {"MAILWORKER_RELAYS__DEFAULT__HOST": "127.0.0.1", "MAILWORKER_RELAYS__DEFAULT__TLS": "none"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MAILWORKER_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with ValkeyServer(tmp_path_factory.mktemp("ledger")) as server:
        yield RELAY | {"MAILWORKER_REDIS__URL": server.url}


def invoke(*words: str, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, words, env=env)


def run(*words: str, env: Mapping[str, str], given: str = "") -> "subprocess.CompletedProcess[str]":
    """A process of its own, where a command needs the Celery app: that is configured once a process."""
    argv = [sys.executable, "-m", "mailworker", *words]
    return subprocess.run(
        argv, env=os.environ | env, capture_output=True, text=True, input=given, timeout=60, check=False
    )


def send(env: Mapping[str, str], *more: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return run(
        "send", "--from=shop@example.com", "--to=ann.lee@example.org", "--subject=secret", *more, env=env, given=given
    )


def test_help_lists_every_command_without_loading_what_they_need() -> None:
    script = """
import sys
from click.testing import CliRunner
from mailworker.cli import main
told = CliRunner().invoke(main, ["--help"]).output
assert all(name in told for name in ("config", "demo", "dev", "mail", "send", "status", "worker")), told
assert not {"celery", "redis", "pydantic", "rich", "aiosmtpd"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("name", ["config", "demo", "dev", "mail", "send", "status", "worker"])
def test_every_command_has_help(name: str) -> None:
    result = invoke(name, "--help")
    assert (result.exit_code, result.output[:6]) == (0, "Usage:")


@pytest.mark.parametrize(("module", "words"), [("aiosmtpd", ["demo"]), ("flower", ["dev"])])
def test_a_missing_extra_is_told_with_the_way_to_get_it(module: str, words: list[str], tmp_path: Path) -> None:
    script = f"import sys; sys.modules[{module!r}] = None; from mailworker.cli import main; main({words!r})"
    if module == "flower":
        script = "import importlib.util; importlib.util.find_spec = lambda name: None; " + script
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert result.returncode == 1
    assert re.fullmatch(rf"Error: this needs {module}: pip install 'mailworker\[\w+\]'\n", result.stderr)


def test_the_version_is_told() -> None:
    assert invoke("--version").output.startswith("mailworker, version ")


def test_an_unknown_command_is_wrong_usage() -> None:
    result = invoke("sned")
    assert (result.exit_code, "No such command" in result.stderr) == (2, True)


def test_an_unknown_setting_is_one_clear_line_and_status_2() -> None:
    result = invoke("config", "check", env={"MAILWORKER_REDIS__ULR": "x"})
    assert result.exit_code == 2
    assert result.stderr == "Error: MAILWORKER_REDIS__ULR is not a setting; did you mean MAILWORKER_REDIS__URL?\n"


def test_right_settings_are_told_to_be_right() -> None:
    result = invoke("config", "check", env=RELAY | {"MAILWORKER_LANES__BULK__RELAY": "default"})
    assert (result.exit_code, result.output) == (0, "the settings are right: lanes bulk, default\n")


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "MAILWORKER_RELAYS__DEFAULT__HOST"),
        (RELAY | {"MAILWORKER_SEALING__KEYS": "nonsense"}, "MAILWORKER_SEALING__KEYS"),
        (RELAY | {"MAILWORKER_LANES__BULK__RELAY": "other"}, "relay 'other'"),
    ],
)
def test_settings_with_which_no_worker_could_run_are_refused_with_their_name(env: dict[str, str], name: str) -> None:
    result = invoke("config", "check", env=env)
    assert result.exit_code == 2
    assert name in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"TLS": "opportunistic"}, "without allow_plaintext nothing is sent where no TLS is offered"),
        ({"TLS": "opportunistic", "ALLOW_PLAINTEXT": "true"}, "the password or token is not sent in clear text"),
        ({"TLS": "opportunistic", "ALLOW_PLAINTEXT": "true", "HOST": "localhost"}, None),
        ({"TLS": "opportunistic", "ALLOW_PLAINTEXT": "true", "PASSWORD": "", "USERNAME": ""}, None),
        ({"TLS": "starttls", "ALLOW_PLAINTEXT": "true"}, None),
    ],
)
def test_a_login_over_opportunistic_tls_is_warned_of_with_what_would_be_done(
    settings: dict[str, str], words: str | None
) -> None:
    """tests/protocol/test_authentication.py has the proof that it is done."""
    login = {"HOST": "mx.example.com", "USERNAME": "shop", "PASSWORD": "hush"} | settings
    env = {f"MAILWORKER_RELAYS__DEFAULT__{name}": value for name, value in login.items() if value}
    result = invoke("config", "check", env=env)
    assert (result.exit_code, result.stdout) == (0, "the settings are right: lanes default\n")
    assert (words or "") in result.stderr
    assert ("MAILWORKER_RELAYS__DEFAULT__TLS" in result.stderr) == (words is not None)
    assert "hush" not in result.stderr
    assert invoke("config", "check", "--role", "web", env=env).stderr == ""


def test_shown_settings_mask_every_secret() -> None:
    secrets = {
        "MAILWORKER_REDIS__URL": "redis://:hush-one@localhost/0",
        "MAILWORKER_RELAYS__DEFAULT__USERNAME": "shop",
        "MAILWORKER_RELAYS__DEFAULT__PASSWORD": "hush-two",
        "MAILWORKER_SEALING__KEYS": "a:" + "A" * 43 + "=",
    }
    for more in ([], ["--json"]):
        result = invoke("config", "show", *more, env=RELAY | secrets)
        assert result.exit_code == 0
        assert "hush" not in result.output
        assert "AAA" not in result.output
        assert "shop" in result.output


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("rediss://user:hu@sh@[::1]:6379/2", "rediss://**********@[::1]:6379/2"),
        ("redis://:hush@host", "redis://**********@host"),
        ("unix:///run/a%20b.sock?db=0", "unix:///run/a%20b.sock?db=0"),
        ("unix://hush@/run/x.sock?db=1&password=hush", "unix://**********@/run/x.sock?db=1&password=**********"),
        ("redis://[hush", "**********"),
        ("amqp://hush:hush@host//", "amqp://**********@host//"),
    ],
)
def test_a_shown_url_tells_the_place_and_hides_what_opens_it(url: str, shown: str) -> None:
    assert masked_url(url) == shown


def test_shown_settings_are_variables_that_are_understood() -> None:
    shown = invoke("config", "show", env=RELAY | {"MAILWORKER_LANES__BULK__MAX_ATTEMPTS": "7"}).output
    env = dict(line.split("=", 1) for line in shown.splitlines())
    assert env["MAILWORKER_LANES__BULK__MAX_ATTEMPTS"] == "7"
    assert invoke("config", "check", env=env).exit_code == 0


def test_a_sent_mail_can_be_shown_and_counted_without_its_secrets(ledger: dict[str, str]) -> None:
    sent = send(ledger, "--text=hush", "--json")
    assert (sent.returncode, sent.stderr) == (0, "")
    told = json.loads(sent.stdout)
    assert told["state"] == "ready"

    shown = run("mail", "show", told["id"], env=ledger)
    assert shown.returncode == 0
    assert "a***@example.org" in shown.stdout
    assert not any(word in shown.stdout for word in ("ann.lee", "hush", "secret"))
    assert (
        json.loads(run("mail", "show", told["id"], "--json", env=ledger).stdout)["recipients"][0]["state"] == "pending"
    )

    lanes = json.loads(run("status", "--json", env=ledger).stdout)["lanes"]
    assert lanes["default"]["ready"] >= 1
    assert run("status", env=ledger).stdout.splitlines()[1].startswith("default")


def test_the_same_key_makes_one_mail(ledger: dict[str, str]) -> None:
    ids = {send(ledger, "--text=x", "--key=order-17").stdout for _ in range(2)}
    assert len(ids) == 1


def test_a_body_is_read_from_standard_input_and_a_file_is_attached(ledger: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("attached")
    sent = send(
        ledger, "--text-file=-", f"--attach={tmp_path / 'a.txt'}", "--countdown=3600", "--json", given="hello\n"
    )
    assert json.loads(sent.stdout)["state"] == "scheduled"


def test_waiting_for_a_mail_that_does_not_arrive_is_status_1(ledger: dict[str, str]) -> None:
    sent = send(ledger, "--text=x", "--wait=0.1", "--json")
    assert (sent.returncode, json.loads(sent.stdout)["state"]) == (1, "ready")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--from=shop"], "from_.email: "),
        (["--cc=not an address"], "cc.0.email: "),
        (["--subject=a\nBcc: b@example.com"], "subject: "),
        (["--lane=bluk"], "there is no lane 'bluk'"),
        (["--text=x", "--text-file=-"], "not both"),
        (["--priority=10"], "--priority"),
        (["--attach=/nowhere/at.all"], "does not exist"),
    ],
)
def test_a_mistake_in_a_mail_is_told_with_its_field_and_status_2(
    ledger: dict[str, str], options: list[str], reason: str
) -> None:
    sent = send(ledger, *options)
    assert sent.returncode == 2
    assert reason in sent.stderr
    assert "Traceback" not in sent.stderr
    assert sent.stdout == ""


@pytest.mark.parametrize("words", [("status",), ("mail", "show", "default-01ARZ3NDEKTSV4RRFFQ69G5FAV")])
def test_a_ledger_out_of_reach_is_one_line_and_status_1(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = run(*words, env=RELAY | {"MAILWORKER_REDIS__URL": f"unix://{tmp_path}/none.sock"})
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1


def test_what_is_no_mail_is_told_apart_from_a_mail_that_is_not_known(ledger: dict[str, str]) -> None:
    assert run("mail", "show", "nonsense", env=ledger).returncode == 2
    unknown = run("mail", "show", "default-01ARZ3NDEKTSV4RRFFQ69G5FAV", env=ledger)
    assert (unknown.returncode, "knows no mail" in unknown.stderr) == (1, True)


def test_a_ledger_that_may_forget_mail_is_found_by_config_check(ledger: dict[str, str], tmp_path: Path) -> None:
    assert run("config", "check", "--connect", env=ledger).returncode == 0
    with ValkeyServer(tmp_path) as server, server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        result = run("config", "check", "--connect", env=RELAY | {"MAILWORKER_REDIS__URL": server.url})
    assert result.returncode == 1
    assert "noeviction" in result.stderr
    assert "appendonly" in result.stderr


def test_a_worker_is_not_started_with_wrong_settings() -> None:
    result = run("worker", "--pool=solo", env={"MAILWORKER_RELAYS__DEFAULT__PORT": "25"})
    assert result.returncode == 2
    assert "MAILWORKER_RELAYS__DEFAULT__HOST" in result.stderr


@pytest.mark.parametrize("words", [("-P", "gevent"), ("--pool=eventlet",), ("-Pgevent",)])
def test_pools_of_green_threads_are_refused_with_their_reason(words: tuple[str, ...]) -> None:
    result = run("worker", *words, env=RELAY)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "-P threads" in result.stderr


@pytest.mark.parametrize(("role", "status"), [("web", 0), ("worker", 2), (None, 2)])
def test_a_relay_is_asked_of_workers_only(role: str | None, status: int) -> None:
    result = invoke("config", "check", *(["--role", role] if role else []), env={})
    assert result.exit_code == status
    assert ("MAILWORKER_RELAYS__DEFAULT__HOST" in result.output) == (role != "web")
    assert ("--role web" in result.output) == (role is None)


def test_a_key_is_asked_of_both_roles() -> None:
    for role in ("web", "worker"):
        result = invoke("config", "check", "--role", role, env=RELAY | {"MAILWORKER_SEALING__KEYS": "x"})
        assert (result.exit_code, "SEALING__KEYS" in result.output) == (2, True)


def test_a_worker_that_gave_no_sign_is_neither_alive_nor_ready(ledger: dict[str, str]) -> None:
    for how in ("--live", "--ready"):
        result = invoke("worker", "check", how, "-n", "nobody@nowhere", env=ledger)
        assert result.exit_code == 1
        assert "nobody@nowhere" in result.output


def test_a_worker_is_checked_by_its_sign_and_its_lanes(ledger: dict[str, str]) -> None:
    name = f"celery@{socket.gethostname()}"
    with Redis.from_url(ledger["MAILWORKER_REDIS__URL"]) as client:
        roll, book = Roll(client), Ledger(client)
        roll.sign(name, Sign(1, "1", "prefork", ("default",), 2, 0, 15))
        assert invoke("worker", "check", env=ledger).exit_code == 0
        shown = run("status", "--json", env=ledger).stdout
        assert [(w["name"], w["alive"]) for w in json.loads(shown)["workers"]] == [(name, True)]
        assert name in run("status", env=ledger).stdout
        book.release("default", [], Pause(300_000, 300_000, "credentials_invalid"))
        assert invoke("worker", "check", "--live", env=ledger).exit_code == 0
        unready = invoke("worker", "check", "--ready", "--json", env=ledger)
        assert (unready.exit_code, "credentials" in json.loads(unready.stdout)["faults"][0]) == (1, True)
        roll.sign(name, Sign(1, "1", "prefork", ("default",), 2, 0, 15, unanswered_seconds=90))
        assert invoke("worker", "check", "--live", env=ledger).exit_code == 1
        client.flushall()


def test_a_ledger_out_of_reach_makes_a_worker_unready_but_not_dead() -> None:
    env = RELAY | {"MAILWORKER_REDIS__URL": "redis://127.0.0.1:1/0"}
    for how, status in (("--live", 0), ("--ready", 1)):
        result = invoke("worker", "check", how, "--timeout", "1", env=env)
        assert (result.exit_code, "cannot be judged" in result.output) == (status, True)


def test_worker_hands_its_options_to_celery() -> None:
    result = run("worker", "--pool=nonsense", env=RELAY)
    assert result.returncode == 2
    assert "celery worker" in result.stderr
    assert "nonsense" in result.stderr
