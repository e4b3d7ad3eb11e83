"""`mailworker demo` and `mailworker dev`, run as a person runs them."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailworker.dev.mailbox import read_mails

pytestmark = pytest.mark.system

HOSTILE = {
    "MAILWORKER_RELAYS__DEFAULT__HOST": "relay.invalid",
    "MAILWORKER_REDIS__URL": "redis://ledger.invalid/0",
    "CELERY_BROKER_URL": "redis://broker.invalid/0",
}


def eventually(what: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


@dataclass
class Started:
    """Starts mailworker in a folder of its own, and finds each process that came of it by a mark in its environment."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    running: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MAILWORKER_")}
        return clean | {"TEST_MARK": self.mark}

    def start(self, *words: str, **env: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "mailworker", *words],
            cwd=self.folder,
            env=self.environ | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def run(self, *words: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*words, **env)
        out, err = process.communicate(timeout=100)
        return process.returncode, out, err

    def left(self) -> list[str]:
        """The command lines of the processes that still run."""
        found = []
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdecimal() and self.mark.encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path)
    yield started
    for process in started.running:
        process.kill()
        process.communicate()
    eventually(lambda: not started.left())


def mails_in(folder: Path) -> list[Path]:
    return list(folder.rglob("mails/*.eml"))


def test_the_demo_delivers_everything_and_leaves_nothing_running(started: Started) -> None:
    status, out, err = started.run("demo", "--mails=48", "--json", **HOSTILE)
    assert status == 0, err
    told = json.loads(out)
    assert told["faults"] == []
    assert (told["accepted"], told["delivered"], told["failed"]) == (48, 47, 1)
    assert told["retried"] >= 2
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert len(list(read_mails(Path(told["mailbox"])))) >= 47
    assert started.left() == []


def test_a_second_demo_starts_clean_and_tells_people_where_to_look(started: Started) -> None:
    for _ in range(2):
        status, out, err = started.run("demo", "--mails=8", "--workers=1")
        assert status == 0, err
        rows = dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines() if "  " in line)
        assert (rows["mails accepted"], rows["delivered"]) == ("8", "7")
        assert rows["verdict"] == "the mailbox holds exactly what it should"
        assert mails_in(Path(rows["mailbox"]).parent)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_the_demo_stops_everything(started: Started, signum: signal.Signals) -> None:
    process = started.start("demo", "--mails=20000")
    eventually(lambda: mails_in(started.folder))
    assert len(started.left()) > 5
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    assert err == "stopped\n"
    assert started.left() == []


def test_kill_9_of_the_demo_leaves_nothing_running(started: Started) -> None:
    process = started.start("demo", "--mails=20000")
    eventually(lambda: mails_in(started.folder))
    process.kill()
    eventually(lambda: not started.left())


def start_dev(started: Started, *words: str) -> tuple["subprocess.Popen[str]", dict[str, str], str]:
    process = started.start("dev", *words, **HOSTILE | {"MAILWORKER_LANES__BULK__RELAY": "default"})
    assert process.stdout
    told = ""
    while "Ctrl-C" not in told:
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        told += line
    exports = dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", told, re.MULTILINE))
    return process, exports, told


def test_dev_delivers_to_its_mailbox_and_keeps_its_data_over_a_restart(started: Started) -> None:
    process, exports, _ = start_dev(started, "--no-flower")
    bulk = {"MAILWORKER_LANES__BULK__RELAY": "default"}
    options = ["--from=shop@example.com", "--to=ann@example.org", "--text=hello", "--lane=bulk"]
    status, out, err = started.run("send", *options, "--wait=40", **exports | bulk)
    assert (status, out.split()[1:]) == (0, ["sent"]), err
    assert len(mails_in(started.folder)) == 1
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert started.left() == []

    process, exports, _ = start_dev(started, "--no-flower")
    status, shown, err = started.run("mail", "show", out.split()[0], **exports | bulk)
    assert (status, "delivered" in shown) == (0, True), err
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_dev_shows_flower_behind_a_password_and_read_only(started: Started) -> None:
    _, _, told = start_dev(started)
    found = re.search(r"^Flower +(http\S+) \(login (\S+)\)$", told, re.MULTILINE)
    assert found
    url, login = found.groups()
    token = base64.b64encode(login.encode()).decode()

    def ask(path: str, method: str = "GET", **headers: str) -> int:
        request = urllib.request.Request(url + path, method=method, headers=headers)  # noqa: S310 - http on loopback
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    eventually(lambda: ask("/") == 401)
    assert ask("/workers", Authorization=f"Basic {token}") == 200
    assert ask("/api/worker/shutdown/x", "POST", Authorization=f"Basic {token}") == 403


def test_a_second_dev_on_the_same_folder_is_one_clear_line(started: Started) -> None:
    start_dev(started, "--no-flower")
    status, _, err = started.run("dev", "--no-flower")
    assert (status, len(err.splitlines())) == (1, 1)
    assert "in use by another server" in err
