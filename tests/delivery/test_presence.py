"""Who is gone, told by real processes; whoever cannot be known is there."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mailworker.presence import Presence

SLEEPER = [sys.executable, "-c", "import sys; sys.stdin.read()"]
TELL_NAME = "from mailworker.presence import Presence; print(Presence.here().name)"


@pytest.fixture
def here() -> Presence:
    presence = Presence.here()
    if not presence.place:
        pytest.skip("this system does not tell")
    return presence


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEPER, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_process_is_gone_when_it_was_killed_and_waited_for_and_not_before(here, other):
    name = f"{here.place}:{other.pid}"
    assert not here.is_gone(name)
    os.kill(other.pid, signal.SIGSTOP)
    assert not here.is_gone(name), "it stands still, and will go on"
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert not here.is_gone(name), "its number cannot be another's yet"
    other.wait()
    assert here.is_gone(name)


def test_processes_of_one_machine_know_each_other_by_name(here):
    told = subprocess.run([sys.executable, "-c", TELL_NAME], stdout=subprocess.PIPE, text=True, check=True)
    name = told.stdout.strip()
    assert name != here.name
    assert here.is_gone(name)
    assert not here.is_gone(here.name)


def test_a_forked_process_has_a_name_of_its_own(here):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, here.name.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 100).decode() == f"{here.place}:{pid}"
    assert here.is_gone(f"{here.place}:{pid}")
    os.close(reading)
    os.close(writing)


def test_a_process_of_another_machine_is_never_said_to_be_gone(here, other):
    other.kill()
    other.wait()
    place = "0" * 12
    assert here.place != place
    assert not here.is_gone(f"{place}:{other.pid}")


@pytest.mark.parametrize("number", ["", "0", "-1", "1", "x", "99999999999", "4294967297", "9999999999"])
def test_what_is_no_number_of_a_process_tells_of_nobody(here, number):
    assert not here.is_gone(f"{here.place}:{number}")


def test_where_nothing_is_known_of_the_machine_nobody_has_a_name_and_nobody_is_gone(other):
    other.kill()
    other.wait()
    nowhere = Presence("")
    assert nowhere.name == ""
    assert not nowhere.is_gone("")
    assert not nowhere.is_gone(f":{other.pid}")


def test_another_users_process_is_there(here, monkeypatch):
    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not here.is_gone(f"{here.place}:1234")
