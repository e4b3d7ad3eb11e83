"""TLS sessions that may be taken up again, so that a new connection to a known server costs no certificates."""

import ssl
from typing import Final

_MOST: Final = 16


class TlsSessions:
    """The newest session of each server, for TLS 1.2 and 1.3 (RFC 8446 section 2.2).

    A session is taken up only with the context, the server's name and the place that it was proven with; a server that
    has forgotten it does a whole handshake, with all checks. Safe for threads and forks: each step is atomic by itself.
    """

    def __init__(self) -> None:
        self._newest: dict[tuple[ssl.SSLContext, str | None, str], ssl.SSLSession] = {}

    def recall(self, context: ssl.SSLContext, server_name: str, place: str) -> ssl.SSLSession | None:
        """Give the session to take up with a server, if there is one; `place` is where it is reached."""
        return self._newest.get((context, server_name, place))

    def keep(self, link: ssl.SSLSocket, place: str) -> None:
        """Remember a connection's session. With TLS 1.3 there is one only after the first read."""
        # Python copies a session whenever it is asked for, which costs as much as a handshake saves. One that was taken
        # up goes on being good until the server refuses it.
        session = None if link.session_reused else link.session
        if session is None or not (session.has_ticket or session.id):
            return
        whose = (link.context, link.server_hostname, place)
        if len(self._newest) >= _MOST and whose not in self._newest:
            self._newest.clear()
        self._newest[whose] = session

    def __len__(self) -> int:
        return len(self._newest)
