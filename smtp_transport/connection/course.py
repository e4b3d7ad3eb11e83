"""The mails of one delivery, in order: taken as the link can carry them, and told of as they are done."""

import time
from collections import deque
from collections.abc import Sequence

from smtp_transport.connection.fates import Fates
from smtp_transport.connection.transaction import Outgoing, Server, prepare
from smtp_transport.envelope import Transaction
from smtp_transport.errors import SmtpError
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt


class Course:
    """Prepares mails one after the other, when their turn has come.

    `room`: how many transactions may be begun on this link, which is fresh if none was begun on it before.

    A mail that cannot be sent to this server is done at once, and nobody else sees it.
    """

    def __init__(
        self,
        transactions: Sequence[Transaction],
        server: Server,
        room: int | None = None,
        *,
        is_fresh: bool = True,
    ) -> None:
        self._rest = iter(enumerate(transactions))
        self._server = server
        self._room = room
        self._is_fresh = is_fresh
        self._ready: deque[Outgoing] = deque()
        self._order: deque[Fates] = deque()
        self.mails = 0
        """How many mails were begun."""
        self.transactions = 0
        """How many transactions were begun."""

    def peek(self) -> Outgoing | None:
        """Give the next transaction; None if there is none, or no room for all of its mail."""
        ready = self._ready
        while ready and not ready[0].fates.open:
            ready.popleft()  # its mail was given up with an earlier one
        while not ready:
            position, transaction = next(self._rest, (0, None))
            if transaction is None:
                return None
            fates = Fates(transaction.envelope.recipients, position, time.monotonic())
            self._order.append(fates)
            try:
                ready.extend(prepare(transaction, fates, self._server))
            except SmtpError as unfit:
                fates.fail(unfit, Phase.MAIL)
        following = ready[0]
        if self._room is not None and following.is_first:
            # One that needs more transactions than a fresh link allows gets them all the same: the server will say no.
            left = self._room - self.transactions
            return following if left >= len(ready) or (self._is_fresh and not self.transactions) else None
        return following

    def take(self) -> Outgoing:
        """Begin the transaction that `peek` gave."""
        taken = self._ready.popleft()
        self.transactions += 1
        self.mails += taken.is_first
        return taken

    def finished(self) -> list[tuple[int, Receipt]]:
        """Give positions and receipts of the mails that are done since, in order."""
        order, now = self._order, time.monotonic()
        done: list[tuple[int, Receipt]] = []
        while order and not order[0].open:
            fates = order.popleft()
            done.append((fates.position, fates.receipt(now - fates.started)))
        return done
