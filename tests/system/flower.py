"""A real Flower beside real workers, asked as a browser asks it."""

import base64
import contextlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.system.conftest import wait_until


class Flower:
    """One that is running. `get` gives None where it does not answer with success."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str) -> bytes | None:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"me:secret").decode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - ours
                content: bytes = answer.read()
                return content
        except OSError:
            return None


@contextlib.contextmanager
def flower_at(port: int, folder: Path) -> Iterator[Flower]:
    """Start it as a user would, and wait until it answers. Its log is `flower.log` in the folder."""
    environ = {**os.environ, "FLOWER_BASIC_AUTH": "me:secret"}
    command = ["-m", "celery", "-A", "mailworker", "flower", "--read-only=True", f"--port={port}", "--debug"]
    with (folder / "flower.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log, env=environ, cwd=folder)
    flower = Flower(port)
    try:
        wait_until(lambda: flower.get("/api/workers") is not None, "Flower answers")
        yield flower
    finally:
        process.terminate()
        process.wait(20)
