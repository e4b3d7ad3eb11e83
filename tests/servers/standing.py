"""What a test asks of a real mail server, whichever it is, and how a foreign program is started for one test session.

Law: nothing is installed here and nothing of the machine's own mail system is touched: folders and ports are private.
Where a program is missing the tests are skipped, but where CI is set they fail: there nothing may be missing.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

USER, PASSWORD = "sender", "correct horse"
REFUSED, LATER = "refused@example.org", "later@example.org"
SMALL = 20_000
"""Octets that the doors `small` and `mute` take."""
LARGE = 50_000_000
"""Octets that the other doors take: 25 MB are 34 MB in base64."""

UNPACKED = Path(__file__).parents[2] / ".servers"
"""Where `.ci/servers` puts what cannot be installed beside Postfix."""

_DEADLINE = 60.0
_TRACE = re.compile(rb"(?:(?:Return-Path|X-Original-To|Delivered-To|Received):.*\r\n(?:[ \t].*\r\n)*)+", re.IGNORECASE)
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^>]+>)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """A mail as the server keeps it; `accepted` sorts mails by when the server took them."""

    accepted: tuple[Any, ...]
    recipients: tuple[str, ...] = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def message_id(self) -> str:
        told = _MESSAGE_ID.search(self.content)
        return told[1].decode() if told else ""

    @property
    def as_sent(self) -> bytes:
        """The content with canonical line ends, less the headers that servers on the way put in front."""
        content = self.content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        trace = _TRACE.match(content)
        return content[trace.end() :] if trace else content


class Standing(Protocol):
    """A server that runs.

    Its doors: `plain`, `secure` (STARTTLS and AUTH required), `small`; Postfix has `mute` too, small without SIZE.
    """

    name: str
    doors: Mapping[str, int]

    def kept(self) -> Collection[Found]:
        """Give all mails that it keeps by now."""


def wait_until(what: Callable[[], bool], why: Callable[[], str] = str) -> None:
    """Ask until the answer is yes."""
    deadline = time.monotonic() + _DEADLINE
    while not what():
        assert time.monotonic() < deadline, f"it did not come about in {_DEADLINE:.0f} s: {why()}"
        time.sleep(0.02)


def found(server: Standing, message_ids: Collection[str]) -> list[Found]:
    """Give these mails in the order in which the server took them, once it has them all."""
    wanted = set(message_ids)
    kept: list[Found] = []

    def complete() -> bool:
        kept[:] = [mail for mail in server.kept() if mail.message_id in wanted]
        return {mail.message_id for mail in kept} == wanted

    wait_until(complete, lambda: f"{len(kept)} of {len(wanted)} mails are there")
    return sorted(kept, key=lambda mail: mail.accepted)


def program(name: str, *folders: str) -> str:
    """Find a program on PATH, in these folders, or among what `.ci/servers` unpacked."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", *folders, str(UNPACKED / "usr" / "sbin")]
    path = shutil.which(name, path=os.pathsep.join(places))
    return path or missing(f"{name} is not installed; .ci/servers installs it")


def missing(what: str) -> Any:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} (it must not be missing in CI)")
    pytest.skip(what)


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running(command: list[str], ports: Collection[int], log: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Run a program in the foreground until the block ends; the block begins when all ports answer."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
        )

    def answers() -> bool:
        assert process.poll() is None, f"{command[0]} ended: {log.read_text(errors='replace')[-2000:]}"
        return all(_answers(port) for port in ports)

    try:
        wait_until(answers, lambda: log.read_text(errors="replace")[-2000:])
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # What it had started for a connection would go on, and write its log into a folder that is gone.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as tried:
            return tried.recv(3) == b"220"
    except OSError:
        return False
