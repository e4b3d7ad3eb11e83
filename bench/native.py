"""The two programs in C that measurements lean on: built when they are needed, into a folder that goes afterwards."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SOURCES = Path(__file__).parent / "native"
_PATIENCE = 10.0


class NoCompilerError(Exception):
    """There is no C compiler; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Native:
    """The built programs."""

    folder: Path

    @contextmanager
    def sink(self, *options: str) -> Iterator[int]:
        """Run the sink until the block ends; gives its port."""
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        process = subprocess.Popen([self.folder / "fastsink", "-p", str(port), *options], cwd=self.folder)
        try:
            _await(port)
            yield port
        finally:
            process.terminate()
            process.wait()

    def send(self, port: int, mails: int, octets: int, *mode: str) -> None:
        """Let the client in C send; raises `CalledProcessError` if the server refused one mail."""
        told = ["-p", str(port), "-s", "1", "-m", str(mails), "-l", str(octets), *mode]
        subprocess.run([self.folder / "fastsource", *told], check=True)


@contextmanager
def built() -> Iterator[Native]:
    """Compile both programs. Raises `NoCompilerError`, or `CalledProcessError` if the compiler gives up."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoCompilerError("a C compiler is needed (cc, or what CC names); on Debian: apt install gcc libc6-dev")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for source in sorted(_SOURCES.glob("*.c")):
            subprocess.run([compiler, "-O2", "-w", "-o", Path(folder, source.stem), source], check=True)
        yield Native(Path(folder))


def _await(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), _PATIENCE):
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the sink does not listen")
        time.sleep(0.01)
