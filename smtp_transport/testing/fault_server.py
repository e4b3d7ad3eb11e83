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
from types import TracebackType
from typing import Self

from smtp_transport.testing.listener import HOST, Listener
from smtp_transport.testing.peer import Conversation, Departed, HungUp, Peer, ScriptBroken
from smtp_transport.testing.steps import Step, steps_of


class FaultServer:
    """Plays one script for each connection: the first for the first, and the last one for all that are left.

    A script is steps; text among them is said. `tls`: a server-side context for `StartTls`. After its last step a
    script hangs up. Leaving the `with` block stops the server and raises `ScriptBroken` if a client said something else
    than its script expected, or hung up instead, or if a step of your own raised anything (`strict=False`: `problems`
    tells, and that is all). Where the block ends with an error of its own, a note of that tells instead.
    `conversations` has what clients said.
    """

    def __init__(self, *scripts: Sequence[Step | str], tls: ssl.SSLContext | None = None, strict: bool = True) -> None:
        if not scripts:
            raise ValueError("a FaultServer needs at least one script: FaultServer([Say('220 hello'), ...])")
        self._scripts = tuple(map(steps_of, scripts))
        if tls is not None and getattr(tls, "protocol", ssl.PROTOCOL_TLS_CLIENT) == ssl.PROTOCOL_TLS_CLIENT:
            raise TypeError("tls: give a server's context, SSLContext(PROTOCOL_TLS_SERVER), with a certificate loaded")
        self._tls = tls
        self._strict = strict
        self._listener = Listener("fault server", self._meet)
        self._changed = threading.Condition()
        self._peers: list[Peer] = []
        self.host = HOST
        self.conversations: list[Conversation] = []
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        """Listen on a free port of the loopback interface."""
        self._listener.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, wait for every thread, and complain if the script was broken and nothing else went wrong."""
        self.stop()
        if self._strict and self.problems:
            told = "; ".join(self.problems)
            if error is None:
                raise ScriptBroken(told)
            error.add_note(f"of the fault server: {told}")

    @property
    def port(self) -> int:
        """Where it listens. Raises RuntimeError before the `with` block."""
        return self._listener.port

    def stop(self) -> None:
        """Break every connection and listen no more; may be repeated."""
        self._listener.close(self._interrupt)

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

    def _interrupt(self) -> None:
        for peer in self._peers:
            peer.interrupt()

    def _meet(self, accepted: socket.socket) -> Callable[[], None]:
        conversation = Conversation(len(self.conversations) + 1)
        peer = Peer(accepted, conversation, self._tls, self._listener.stopping, self._tell)
        self._peers.append(peer)
        self.conversations.append(conversation)
        self._tell()
        return lambda: self._converse(peer)

    def _converse(self, peer: Peer) -> None:
        connection = peer.conversation.number
        script = self._scripts[min(connection, len(self._scripts)) - 1]
        for number, step in enumerate(script, 1):
            try:
                step.play(peer)
            except Departed as departure:
                if isinstance(departure, HungUp) and not self._listener.stopping.is_set():
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
