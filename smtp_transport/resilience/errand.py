"""Mails on their way through a client's safeguards, until each of them has come to its end.

Law: a mail passes the limiter once, the breaker before each try, and is tried again only for those recipients of whom
it is certain that they have not got it. Nobody waits while something else can be done: what is due goes at once, and
the next wait ends when the next mail is due.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from smtp_transport.envelope import Envelope, Transaction
from smtp_transport.errors import (
    CancelledError,
    CircuitOpenError,
    ErrorKind,
    PoolError,
    RateLimitError,
    SmtpError,
)
from smtp_transport.receipt import Receipt
from smtp_transport.resilience.breaker import Admission
from smtp_transport.resilience.health import health_after, health_by
from smtp_transport.resilience.retry import delay_before, left_to_try, passes
from smtp_transport.resilience.safeguards import Guard
from smtp_transport.resilience_config import RetryConfig

Deliver = Callable[[Sequence[Transaction]], Generator[tuple[int, Receipt], None, None]]
"""What `SmtpClient.deliver` does."""
Outcome = Receipt | SmtpError
"""What became of a mail; an error, if no try of it got as far as a receipt."""


@dataclass(frozen=True, slots=True)
class Again:
    """A mail that will be tried again: after which attempt, for how many recipients, and why."""

    position: int
    attempt: int
    recipients: int
    why: Outcome

    @property
    def has_lost_its_link(self) -> bool:
        """Whether it had a link, which broke."""
        return isinstance(self.why, Receipt) and self.why.error is not None


class Progress(Protocol):
    """Who hears what goes on meanwhile."""

    def retrying(self, again: Again, delay: float, /) -> None:
        """A mail will be tried again, in so many seconds."""
        ...

    def limited(self, wait: float, /, *, rejected: bool) -> None:
        """The limit is reached: the next mail waits for so many seconds, or all that are left are rejected."""
        ...


@dataclass(slots=True, eq=False)
class _Mail:
    """A mail, and what is known of it. `transaction` is for those of the recipients who are left, at `whom`."""

    position: int
    transaction: Transaction
    whom: Sequence[int] = field(init=False)
    receipt: Receipt | None = None
    attempts: int = 0
    due: float = -math.inf

    def __post_init__(self) -> None:
        self.whom = range(len(self.transaction.envelope.recipients))

    def note(self, receipt: Receipt) -> Receipt:
        """Add what the last try came to, of those who were left; give all that is known now."""
        known = self.receipt
        if known is None:
            self.receipt = receipt
            return receipt
        fates = list(known.recipients)
        for position, fate in zip(self.whom, receipt.recipients, strict=True):
            fates[position] = fate
        self.receipt = Receipt(tuple(fates), receipt.error, known.duration + receipt.duration)
        return self.receipt

    def fallen(self, error: SmtpError) -> Outcome:
        """Say what it came to, after a try that did not even get a connection."""
        known = self.receipt
        return error if known is None else Receipt(known.recipients, error, known.duration)

    def narrow(self, left: Sequence[int]) -> None:
        """Leave only these of the recipients of the last try."""
        if len(left) < len(self.whom):
            self.whom = [self.whom[position] for position in left]
            self.transaction = _part_of(self.transaction, left)


class Errand:
    """Brings mails to their ends. `deliver` sends some at once; `progress` hears of what is not an outcome."""

    def __init__(self, transactions: Sequence[Transaction], deliver: Deliver, guard: Guard, progress: Progress) -> None:
        self._fresh = deque(_Mail(position, transaction) for position, transaction in enumerate(transactions))
        self._passed: dict[int, _Mail] = {}  # by position; the limiter has let them pass
        self._turn: float | None = None  # when the limiter lets the next one pass
        self._deliver = deliver
        self._guard = guard
        self._retry = guard.retry or RetryConfig(max_attempts=1)
        self._progress = progress

    def outcomes(self) -> Generator[tuple[int, Outcome], None, None]:
        """Give the position and the outcome of each mail as soon as it is known."""
        clock = self._guard.clock
        while self._fresh or self._passed:
            yield from self._let_in()
            now = clock()
            due = [mail for mail in self._passed.values() if mail.due <= now]
            if due:
                yield from self._try(due)
                continue
            next_ones = [mail.due for mail in self._passed.values()]
            next_ones += [] if self._turn is None else [self._turn]
            if next_ones and clock.wait(min(next_ones) - now):
                yield from self._give_up()

    def _let_in(self) -> Iterator[tuple[int, Outcome]]:
        limiter, now = self._guard.limiter, self._guard.clock()
        if limiter is None:
            self._pass(len(self._fresh))
            return
        if self._turn is not None and self._turn <= now:
            self._turn = None
            self._pass(1)
        if self._turn is not None or not self._fresh:
            return
        self._pass(limiter.take(len(self._fresh)))
        if not self._fresh:
            return
        try:
            self._turn = limiter.reserve(self._guard.patience)
        except RateLimitError as error:
            self._progress.limited(0.0, rejected=True)
            while self._fresh:
                yield self._fresh.popleft().position, error
        else:
            self._progress.limited(max(0.0, self._turn - now), rejected=False)

    def _pass(self, count: int) -> None:
        for _ in range(count):
            mail = self._fresh.popleft()
            self._passed[mail.position] = mail

    def _try(self, due: list[_Mail]) -> Iterator[tuple[int, Outcome]]:
        breaker = self._guard.breaker
        if breaker is None:
            yield from self._run(due, None)
            return
        try:
            admission = breaker.admit(len(due))
        except CircuitOpenError as error:
            for mail in due:
                # What a try came to tells more than why there is no other.
                yield self._end(mail, mail.receipt or error)
            return
        try:
            yield from self._run(due[: admission.count], admission)
        finally:
            admission.end()

    def _run(self, mails: list[_Mail], admission: Admission | None) -> Iterator[tuple[int, Outcome]]:
        """Send them at once. What may be tried again is put off, and what the link was lost for was not tried."""
        again: list[Again] = []
        reached, gave_up = 0, None
        try:
            with closing(self._deliver([mail.transaction for mail in mails])) as deliveries:
                for place, receipt in deliveries:
                    reached = place + 1
                    yield from self._hear(mails[place], receipt, admission, again)
        except SmtpError as error:
            gave_up = error
        behind = mails[reached:]
        if behind and not reached:
            gave_up = gave_up or PoolError("no connection took the mail", ErrorKind.CONNECTION_UNHEALTHY)
        if gave_up is not None:
            yield from self._hear_nothing(behind, gave_up, admission, again)
            behind = []
        self._put_off(again, behind)

    def _hear(
        self, mail: _Mail, receipt: Receipt, admission: Admission | None, again: list[Again]
    ) -> Iterator[tuple[int, Outcome]]:
        mail.attempts += 1
        known = mail.note(receipt)
        left = left_to_try(receipt, self._retry.retry_on) if self._may_go_on(mail, admission) else ()
        if left:
            mail.narrow(left)
            again.append(Again(mail.position, mail.attempts, len(left), receipt))
            return
        if admission is not None:
            admission.record(health_by(receipt))
        yield self._end(mail, known)

    def _hear_nothing(
        self, mails: list[_Mail], error: SmtpError, admission: Admission | None, again: list[Again]
    ) -> Iterator[tuple[int, Outcome]]:
        """None of them got a connection. That is one failure, however many they are."""
        ended: list[_Mail] = []
        may_pass = passes(error, self._retry.retry_on)
        for mail in mails:
            mail.attempts += 1
            if may_pass and self._may_go_on(mail, admission):
                again.append(Again(mail.position, mail.attempts, len(mail.whom), error))
            else:
                ended.append(mail)
        if ended and admission is not None:
            admission.record(health_after(error), len(ended))
        for mail in ended:
            yield self._end(mail, mail.fallen(error))

    def _may_go_on(self, mail: _Mail, admission: Admission | None) -> bool:
        """Whether a mail has tries left. A probe has one: the breaker waits for it."""
        return mail.attempts < self._retry.max_attempts and not (admission is not None and admission.is_probe)

    def _put_off(self, again: list[Again], behind: list[_Mail]) -> None:
        """Have all that failed in one run go in one run again, and with them those whose link one of them lost."""
        now, chance, until = self._guard.clock(), self._guard.chance(), -math.inf
        for one in again:
            delay = delay_before(self._retry, one.attempt, chance)
            until = self._passed[one.position].due = now + delay
            self._progress.retrying(one, delay)
        if again and again[-1].has_lost_its_link:
            for mail in behind:
                mail.due = until

    def _end(self, mail: _Mail, outcome: Outcome) -> tuple[int, Outcome]:
        del self._passed[mail.position]
        return mail.position, outcome

    def _give_up(self) -> Iterator[tuple[int, Outcome]]:
        """Nobody waits any longer."""
        error = CancelledError("the client was shut down while the mail waited to be sent")
        self._pass(len(self._fresh))
        for mail in tuple(self._passed.values()):
            yield self._end(mail, mail.receipt or error)


def _part_of(transaction: Transaction, left: Sequence[int]) -> Transaction:
    """Give the transaction for these of its recipients."""
    envelope, options = transaction.envelope, transaction.options
    if options is not None and options.original_recipients:
        known = options.original_recipients
        options = replace(options, original_recipients=tuple(known[place] for place in left if place < len(known)))
    recipients = tuple(envelope.recipients[place] for place in left)
    return replace(transaction, envelope=Envelope(envelope.sender, recipients), options=options)
