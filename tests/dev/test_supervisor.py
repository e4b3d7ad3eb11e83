import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailworker.dev.supervisor import ChildDiedError, Command, Interrupted, Stage, Supervisor

Alive = Callable[[int], bool]
Eventually = Callable[..., None]

# Says when it is ready, and notes in the file NAME.ended when it was asked to stop.
POLITE = """
import signal, sys, time
def end(*_):
    print(f"{sys.argv[1]} {time.monotonic()}", file=open(sys.argv[1] + ".ended", "w"), flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True: signal.pause()
"""
STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("ready", grandchild.pid, flush=True)
while True: signal.pause()
"""


def python(name: str, script: str, stage: Stage, grace: float = 20.0) -> Command:
    return Command(name, [sys.executable, "-c", script, name], stage, grace=grace)


def is_ready(supervisor_log: Path) -> bool:
    return supervisor_log.exists() and "ready" in supervisor_log.read_text()


def test_stages_stop_from_the_last_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.chdir(tmp_path)
    stages = (Stage.WORKER, Stage.SERVER, Stage.DASHBOARD, Stage.MAILBOX)
    with Supervisor(tmp_path / "log") as supervisor:
        children = [supervisor.start(python(stage.name, POLITE, stage)) for stage in stages]
        eventually(lambda: all(is_ready(child.log) for child in children))
    ended = [path.read_text().split() for path in tmp_path.glob("*.ended")]
    assert [name for name, _ in sorted(ended, key=lambda e: float(e[1]))] == [
        "DASHBOARD",
        "WORKER",
        "MAILBOX",
        "SERVER",
    ]


def test_an_exception_in_the_block_stops_everything_too(tmp_path: Path, alive: Alive) -> None:
    with pytest.raises(LookupError), Supervisor(tmp_path) as supervisor:  # noqa: PT012 - the block is what is tested
        child = supervisor.start(python("child", POLITE, Stage.WORKER))
        assert alive(child.pid)
        raise LookupError
    assert not alive(child.pid)


def test_a_stubborn_child_and_its_children_are_killed_after_the_grace(
    tmp_path: Path, alive: Alive, eventually: Eventually
) -> None:
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start(python("child", STUBBORN, Stage.WORKER, grace=0.2))
        eventually(lambda: is_ready(child.log))
    grandchild = int(child.log.read_text().split()[1])
    assert child.process.returncode == -signal.SIGKILL
    eventually(lambda: not alive(grandchild))


def test_what_a_dead_child_left_behind_is_killed_as_well(tmp_path: Path, alive: Alive, eventually: Eventually) -> None:
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start(python("child", STUBBORN, Stage.WORKER))
        eventually(lambda: is_ready(child.log))
        os.kill(child.pid, signal.SIGKILL)
        grandchild = int(child.log.read_text().split()[1])
    eventually(lambda: not alive(grandchild))


def test_a_child_that_ends_by_itself_is_told_with_its_status_and_its_log(
    tmp_path: Path, eventually: Eventually
) -> None:
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start(python("child", "print('last words'); raise SystemExit(3)", Stage.WORKER))
        eventually(lambda: not child.is_running)
        with pytest.raises(ChildDiedError, match=r"child ended by itself \(exit status 3\).*child\.log"):
            supervisor.watch()
        assert child.last_lines() == ["last words"]


def test_a_program_that_is_not_there_is_a_child_that_died(tmp_path: Path, eventually: Eventually) -> None:
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start(Command("child", [str(tmp_path / "nothing")], Stage.WORKER))
        eventually(lambda: not child.is_running)
        with pytest.raises(ChildDiedError, match="exit status 127"):
            supervisor.check()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_the_block_and_everything_is_stopped(
    tmp_path: Path, alive: Alive, signum: signal.Signals
) -> None:
    before = signal.getsignal(signum)
    with pytest.raises(Interrupted) as caught, Supervisor(tmp_path) as supervisor:  # noqa: PT012 - the block is tested
        child = supervisor.start(python("child", POLITE, Stage.WORKER))
        os.kill(os.getpid(), signum)
        supervisor.watch()
    assert caught.value.signum == signum
    assert not alive(child.pid)
    assert signal.getsignal(signum) is before


def test_a_hangup_that_is_ignored_as_by_nohup_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Supervisor(tmp_path):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


# Starts a polite and a stubborn child in the background of a supervisor, tells their pids, and waits.
OWNER = """
import sys
from pathlib import Path
from mailworker.dev.supervisor import Command, Stage, Supervisor
with Supervisor(Path(sys.argv[1])) as supervisor:
    one = supervisor.start(Command("one", [sys.executable, "-c", sys.argv[2], "one"], Stage.SERVER))
    two = supervisor.start(Command("two", [sys.executable, "-c", sys.argv[3]], Stage.WORKER, grace=3600))
    while not (one.last_lines() and two.last_lines()): one.check()
    print(one.pid, two.pid, *two.last_lines()[0].split()[1:], flush=True)
    supervisor.watch()
"""


def owner(tmp_path: Path, second: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", OWNER, str(tmp_path), POLITE, second]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=tmp_path)


def test_kill_9_of_the_supervisor_leaves_no_child_and_stops_politely_what_can_be(
    tmp_path: Path, alive: Alive, eventually: Eventually
) -> None:
    with owner(tmp_path, POLITE.replace("sys.argv[1]", "'two'")) as process:
        assert process.stdout
        pids = [int(word) for word in process.stdout.readline().split()]
        assert all(alive(pid) for pid in pids)
        process.kill()
    eventually(lambda: not any(alive(pid) for pid in pids))
    assert sorted(path.name for path in tmp_path.glob("*.ended")) == ["one.ended", "two.ended"]


def test_a_second_wish_to_stop_does_not_wait_for_a_stubborn_child(
    tmp_path: Path, alive: Alive, eventually: Eventually
) -> None:
    with owner(tmp_path, STUBBORN) as process:
        assert process.stdout
        pids = [int(word) for word in process.stdout.readline().split()]
        process.terminate()
        # The stubborn child would be waited for an hour; signals are repeated until one counts as a second wish.
        eventually(lambda: process.send_signal(signal.SIGTERM) or process.poll() is not None)
    eventually(lambda: not any(alive(pid) for pid in pids))
