"""The mails of one delivery, in order: taken as the link can carry them, and told of as they are done."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from smtp_transport.connection.fates import Fates
from smtp_transport.connection.transaction import Outgoing, Server, prepare
from smtp_transport.envelope import Transaction
from smtp_transport.errors import SmtpError
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt


@dataclass(slots=True)
class Carried:
    """How many mails and transactions were begun on one link."""

    mails: int = 0
    transactions: int = 0


class Course:
    """Prepares mails one after the other, when their turn has come, and counts those that are begun.

    A mail that cannot be sent to this server is done at once, and nobody else sees it.
    """

    def __init__(self, transactions: Sequence[Transaction], server: Server, carried: Carried) -> None:
        self._rest = iter(enumerate(transactions))
        self._server = server
        self._most = server.limits.mails
        self._carried = carried
        self._ready: deque[Outgoing] = deque()
        self._order: deque[Fates] = deque()

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
        if self._most is not None and following.is_first:
            # One that needs more transactions than a fresh link allows gets them all the same: the server will say no.
            begun = self._carried.transactions
            return following if not begun or self._most - begun >= len(ready) else None
        return following

    def take(self) -> Outgoing:
        """Begin the transaction that `peek` gave."""
        taken = self._ready.popleft()
        self._carried.transactions += 1
        self._carried.mails += taken.is_first
        return taken

    def finished(self) -> list[tuple[int, Receipt]]:
        """Give positions and receipts of the mails that are done since, in order."""
        order, now = self._order, time.monotonic()
        done: list[tuple[int, Receipt]] = []
        while order and not order[0].open:
            fates = order.popleft()
            done.append((fates.position, fates.receipt(now - fates.started)))
        return done
