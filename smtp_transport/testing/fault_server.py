"""A server that follows a script, over real sockets on the loopback interface.

    with FaultServer([*greeted("PIPELINING"), Expect("MAIL"), Say("421 4.3.2 going down"), Close()]) as server:
        client = SmtpClient(SmtpConfig(host=server.host, port=server.port, tls="none"))
        ...

Law: what the client does against the script is an `AssertionError` when the block ends, never a hanging test.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from smtp_transport.testing.peer import Conversation, Departed, HungUp, Peer, ScriptBroken
from smtp_transport.testing.steps import Step


class FaultServer:
    """Plays one script for each connection: the first for the first, and the last one for all that are left.

    `tls`: a server-side context for `StartTls`. After its last step a script hangs up. Leaving the `with` block stops
    the server and raises `ScriptBroken` if a client said something else than its script expected, or hung up instead,
    or if a step of your own raised anything (`strict=False`: `problems` tells, and that is all). `conversations` has
    what clients said.
    """

    def __init__(self, *scripts: Sequence[Step], tls: ssl.SSLContext | None = None, strict: bool = True) -> None:
        if not scripts:
            raise ValueError("a FaultServer needs at least one script: FaultServer([Say('220 hello'), ...])")
        self._scripts = scripts
        self._tls = tls
        self._strict = strict
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._peers: list[Peer] = []
        self._listener: socket.socket | None = None
        self.host = "127.0.0.1"
        self.port = 0
        self.conversations: list[Conversation] = []
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        """Listen on a free port of the loopback interface."""
        self._listener = socket.create_server((self.host, 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, wait for every thread, and complain if the script was broken and nothing else went wrong."""
        self.stop()
        if self._strict and self.problems and error is None:
            raise ScriptBroken("; ".join(self.problems))

    def stop(self) -> None:
        """Break every connection and listen no more; may be repeated."""
        if self._listener is None or self._stopping.is_set():
            return
        self._stopping.set()
        # Closing a socket wakes nobody who waits in its accept(): a last client does.
        with suppress(OSError), socket.socket() as last:
            last.connect((self.host, self.port))
            self._threads[0].join()
        self._listener.close()
        for peer in self._peers:
            peer.interrupt()
        for thread in self._threads:
            thread.join()

    def announce(self, line: str = "421 4.3.2 going down", *, leave: bool = True) -> None:
        """Say this line now on every open connection, whatever its script waits for; hang up behind it if `leave`."""
        for peer in self._peers:
            peer.interject(f"{line}\r\n".encode(), leave=leave)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for a state of the conversations; `TimeoutError` tells where they stand if it does not come."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition():
                if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise TimeoutError(f"not reached in {seconds} s: {self.conversations}")

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name=f"fault server {self.port}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            accepted, _ = listener.accept()
            if self._stopping.is_set():
                accepted.close()
                return
            conversation = Conversation(len(self.conversations) + 1)
            peer = Peer(accepted, conversation, self._tls, self._stopping, self._tell)
            self._peers.append(peer)
            self.conversations.append(conversation)
            self._tell()
            self._start(self._converse, peer)

    def _converse(self, peer: Peer) -> None:
        connection = peer.conversation.number
        script = self._scripts[min(connection, len(self._scripts)) - 1]
        for number, step in enumerate(script, 1):
            try:
                step.play(peer)
            except Departed as departure:
                if isinstance(departure, HungUp) and not self._stopping.is_set():
                    self.problems.append(f"connection {connection}, step {number} {step}: the client hung up")
                break
            except ScriptBroken as error:
                self.problems.append(f"connection {connection}, step {number}: {error}")
                break
            except Exception as error:  # noqa: BLE001 - a step of the test's own may raise anything, and its test must hear
                self.problems.append(f"connection {connection}, step {number} {step}: {type(error).__name__}: {error}")
                break
        peer.close()
        peer.conversation.is_over = True
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
