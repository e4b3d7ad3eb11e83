"""The Procfile as it is: its lines run, and SIGTERM to the whole group at once loses nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from honcho.environ import parse_procfile

from mailworker import Email, send_email
from tests.system.conftest import wait_until

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


def lines() -> dict[str, str]:
    return parse_procfile((ROOT / "Procfile").read_text()).processes


def emails(count: int) -> list[Email]:
    return [
        Email(from_="shop@example.com", to="ann@example.org", subject=f"Order {n}", text_body="Thank you.")
        for n in range(count)
    ]


@pytest.fixture
def run(post, environment, tmp_path):
    """Start one line of the Procfile in a shell, as a process manager does, leading a group."""
    environment.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    started = []

    def start(name: str) -> tuple[subprocess.Popen[bytes], Path]:
        log = tmp_path / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["sh", "-c", lines()[name]], cwd=ROOT, stdout=output, stderr=output, start_new_session=True
            )
        started.append(process)
        return process, log

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_the_worker_line_survives_sigterm_to_its_whole_group(post, run):
    worker, log = run("worker")
    wait_until(lambda: b" ready." in log.read_bytes(), "the worker is ready")
    results = send_email.many(emails(300))
    wait_until(lambda: len(post.stored()) > 10, "the first mails")
    os.killpg(worker.pid, signal.SIGTERM)
    assert worker.wait(40) == 0
    assert "WorkerLostError" not in log.read_text()
    before = len(post.stored())
    assert {result.report().state for result in results} <= {"sent", "ready"}
    assert sum(result.report().state == "sent" for result in results) == before
    run("worker")
    for result in results:
        result.get(timeout=40)
    assert len(post.stored()) == 300


def test_idle_processes_leave_it_to_their_parent_to_end_them(post):
    """One has just drained, the others never have."""
    worker = post.worker("-c", "4")
    send_email.delay(emails(1)[0]).get(timeout=20)
    os.killpg(worker.process.pid, signal.SIGTERM)
    assert worker.process.wait(40) == 0
    log = worker.log.read_text()
    assert [word for word in ("WorkerLostError", "Traceback", "exited prematurely") if word in log] == []


def test_the_flower_line_needs_a_password_and_takes_no_commands(run, environment):
    environment.delenv("FLOWER_BASIC_AUTH", raising=False)
    flower, _ = run("flower")
    assert flower.wait(20) != 0
