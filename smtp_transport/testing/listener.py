"""Where clients of a test come in: a port of the loopback interface, and a thread for each connection.

Law: after `close` no thread is left.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

Meet = Callable[[socket.socket], Callable[[], None]]
"""Told of a connection; gives what is to be done with it in a thread of its own."""
HOST: Final = "127.0.0.1"


class Listener:
    """Listens from `open` on. `stopping` is set when it has been told to close."""

    def __init__(self, name: str, meet: Meet) -> None:
        self._name = name
        self._meet = meet
        self._socket: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self.stopping = threading.Event()
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port since `open`. Raises RuntimeError before: many clients would take 0 for a server on port 25."""
        if self._port is None:
            raise RuntimeError(f"the {self._name} listens inside its `with` block only")
        return self._port

    def open(self) -> None:
        """Listen on a free port. Raises RuntimeError the second time."""
        if self._port is not None:
            raise RuntimeError(f"a {self._name} serves one `with` block; make another for the next")
        listening = self._socket = socket.create_server((HOST, 0))
        self._port = listening.getsockname()[1]
        self._start(lambda: self._accept(listening))

    def close(self, interrupt: Callable[[], None]) -> None:
        """Listen no more, and wait for every thread; `interrupt` wakes those that wait. May be repeated."""
        if self._socket is None or self.stopping.is_set():
            return
        self.stopping.set()
        # Closing a socket wakes nobody who waits in its accept(): a last client does.
        with suppress(OSError), socket.socket() as last:
            last.connect((HOST, self.port))
            self._threads[0].join()
        self._socket.close()
        interrupt()
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"{self._name} {self.port}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            accepted, _ = listening.accept()
            if self.stopping.is_set():
                accepted.close()
                return
            self._start(self._meet(accepted))
