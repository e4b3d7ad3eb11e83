"""The client: emails through a pool of connections to one server."""

import time
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing
from email.message import Message
from itertools import chain
from types import TracebackType
from typing import Self

from smtp_transport.client.interceptors import Hooks, Interceptor
from smtp_transport.client.outbox import Outbox, Ready
from smtp_transport.client.parts import in_parts
from smtp_transport.client.results import BatchSendResult, SendResult, result_of
from smtp_transport.config import PoolConfig, SmtpConfig
from smtp_transport.connection import Connection, ConnectionInfo, Footing, Permit, Stumble
from smtp_transport.connection.trouble import without_frames
from smtp_transport.dkim import Signer
from smtp_transport.envelope import Transaction
from smtp_transport.errors import ErrorKind, PoolError, SmtpError
from smtp_transport.message import AnyMessage, Email, RawEmail
from smtp_transport.observation import Observer, Observers
from smtp_transport.options import DeliveryOptions
from smtp_transport.phase import Phase
from smtp_transport.pool import ConnectionPool, HostLimits, PoolStatus
from smtp_transport.protocol.commands import Command
from smtp_transport.receipt import Receipt
from smtp_transport.reply import Reply
from smtp_transport.resilience import CircuitState, Errand, Outcome, Safeguards

_LINK_GONE = frozenset(
    {
        *(ErrorKind.CONNECTION_RESET, ErrorKind.SERVER_SHUTDOWN),
        # Out of step: a reply too many, from an earlier mail perhaps.
        *(ErrorKind.UNEXPECTED_RESPONSE, ErrorKind.INVALID_RESPONSE),
    }
)


class SmtpClient:
    """Sends emails to one server. Safe for threads; opens nothing until it is used, and its own links after a fork.

    with SmtpClient(SmtpConfig(host="smtp.example.com")) as client:
        result = client.send(email)
    """

    def __init__(
        self,
        config: SmtpConfig,
        open: Callable[[SmtpConfig], Connection] | None = None,  # noqa: A002 - as in ConnectionPool
        *,
        observers: Iterable[Observer] | Observer = (),
        interceptors: Iterable[Interceptor] = (),
        signer: Signer | None = None,
        host_limits: HostLimits | None = None,
    ) -> None:
        """Keep a configuration; `observers` listen beside those that it names, `signer` signs what is sent.

        `host_limits`, shared with other clients, bounds their connections together. `open` may be `Connection.open`
        with a `Dialer` of your own.
        """
        _expect(config, SmtpConfig, "config")
        if host_limits is not None:
            _expect(host_limits, HostLimits, "host_limits")
        listening = config.observers + Observers.of(observers)
        if listening != config.observers:
            config = config.model_copy(update={"observers": listening})
        self._pool = ConnectionPool(config, open, host_limits=host_limits)
        self._hooks = Hooks(interceptors, config.observers)
        self._safeguards = Safeguards.of(config, self._hooks.circuit_changed)
        self._outbox = Outbox(self._hooks, signer)
        self._newest: ConnectionInfo | None = None
        self._footing = Footing()

    def send(self, email: AnyMessage, options: DeliveryOptions | None = None) -> SendResult:
        """Send one email; Message-ID and Date are fixed now if it has none. `options`: see `DeliveryOptions`.

        A message of the standard library and bytes are sent as they are, to whom their header names (see `RawEmail`).
        Returns a result if at least one recipient was accepted. Raises the `SmtpError` that says why nobody was. With a
        `rate_limit`, `circuit_breaker` or `retry` in the configuration they come in this order before that.
        """
        (result,) = self.send_batch((email,), options).results
        if isinstance(result, SmtpError):
            del email  # it may be bytes, and whoever keeps the variables of a traceback would keep the mail
            raise result
        return result

    def send_batch(
        self, emails: Iterable[AnyMessage], options: DeliveryOptions | None = None, *, connections: int = 1
    ) -> BatchSendResult:
        """Send emails one after the other, over one connection as long as it lasts. Never raises `SmtpError`.

        With more `connections`, so many parts of the batch go side by side, as far as the pool has room and the server
        allows; the results are in the order of the emails all the same. `options` are for each of them. An email whose
        turn did not come because no connection could be had has the error that said so. Raises TypeError for what is no
        mail, and ValueError for fewer connections than one.
        """
        started = time.monotonic()
        if options is not None:
            _expect(options, DeliveryOptions, "options")
        if isinstance(emails, Email | RawEmail | Message | bytes | str):
            raise TypeError(f"emails: give a list; this is one {type(emails).__name__}, for which there is `send`")
        if connections < 1:
            raise ValueError("connections: from 1 on")
        emails = tuple(emails)
        ready = [self._outbox.ready(email, options) for email in emails]
        sent = iter(self._side_by_side([one for one in ready if isinstance(one, Ready)], connections))
        results = tuple(
            next(sent) if isinstance(one, Ready) else self._refused(email, one)
            for email, one in zip(emails, ready, strict=True)
        )
        return BatchSendResult(results, time.monotonic() - started)

    def _refused(self, email: AnyMessage, refusal: SmtpError) -> SmtpError:
        self._hooks.refused(email, refusal)
        return without_frames(refusal)

    def _side_by_side(self, ready: Sequence[Ready], connections: int) -> list[SendResult | SmtpError]:
        for one in ready:
            self._hooks.started(one.message_id, len(one.transaction.envelope.recipients), one.has_attachments)
        shares = min(connections, len(ready), self._pool.status().max_size)
        return self._send_all(ready) if shares <= 1 else in_parts(ready, shares, self._send_part, self._send_all)

    def _send_part(self, ready: Sequence[Ready]) -> list[SendResult | SmtpError] | None:
        """Send a part of a batch; None if there is no connection for it, so that those that there are may carry it."""
        with closing(self._outcomes(ready)) as outcomes:
            first = next(outcomes)
            if isinstance(first[1], SmtpError) and self._safeguards is None:
                return None
            return self._results(ready, chain((first,), outcomes))

    def _send_all(self, ready: Sequence[Ready]) -> list[SendResult | SmtpError]:
        with closing(self._outcomes(ready)) as outcomes:
            return self._results(ready, outcomes)

    def _results(self, ready: Sequence[Ready], outcomes: Iterable[tuple[int, Outcome]]) -> list[SendResult | SmtpError]:
        results: dict[int, SendResult | SmtpError] = {}
        for position, outcome in outcomes:
            one, duration = ready[position], 0.0
            if isinstance(outcome, SmtpError):
                results[position] = outcome
            else:
                results[position], duration = result_of(one.message_id, outcome), outcome.duration
            self._hooks.done(one.email, one.message_id, results[position], duration)
        return [results[position] for position in range(len(ready))]

    def _outcomes(self, ready: Sequence[Ready]) -> Generator[tuple[int, Outcome], None, None]:
        transactions = [one.transaction for one in ready]
        if self._safeguards is None:
            return self._plainly(transactions)
        progress = self._hooks.progress([one.message_id for one in ready])
        return Errand(transactions, self.deliver, self._safeguards.here(), progress).outcomes()

    def _plainly(self, transactions: Sequence[Transaction]) -> Generator[tuple[int, Outcome], None, None]:
        begun = 0
        while begun < len(transactions):
            first = begun
            try:
                with closing(self.deliver(transactions[first:])) as deliveries:
                    for _, receipt in deliveries:
                        begun += 1
                        yield begun - 1, receipt
                gave_up = None
            except SmtpError as error:
                gave_up = error
            if begun == first:
                gave_up = gave_up or PoolError("no connection took the mail", ErrorKind.CONNECTION_UNHEALTHY)
            if gave_up is not None:
                yield from ((position, gave_up) for position in range(begun, len(transactions)))
                return

    def deliver(
        self, transactions: Sequence[Transaction], permit: Permit | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        """Send mails over one leased connection; give each one's position and receipt as soon as it is known.

        `permit`: see `Permit`; None permits all. A mail that met a link on which the server had hung up goes over a
        fresh one, and so do those behind the last that the server takes on one link. When a link is lost otherwise, the
        mails not begun get no receipt. Raises `SmtpError` if no link can be had.

        Whoever calls this decides for itself what to try again and when to stop: of what a client may do besides, only
        the bound on new connections (`RateLimitConfig.max_connections`) holds here.
        """
        for transaction in transactions:
            _expect(transaction, Transaction, "each of transactions")
        begun = 0
        fresh = False
        while begun < len(transactions):
            with self._pool.acquire(fresh=fresh) as lease:
                if not lease.is_reused:
                    self._newest = lease.connection.info()
                fresh = False
                first, stumble = begun, self._footing.stumble
                lease.connection.footing = self._footing
                rest = lease.connection.deliver(transactions[first:], _shifted(permit, first))
                for position, receipt in rest:
                    told = [(position, receipt)]
                    # A server that does not keep what it offers has the mail in the slower mode, if it was not sent.
                    slower = self._footing.stumble is not stumble
                    until = Phase.BODY if slower else Phase.DATA
                    if _met_a_closed_door(receipt, until) and (slower or lease.is_reused or position > 0):
                        behind = list(rest)
                        if all(_met_a_closed_door(other) for _, other in behind):
                            fresh = True
                            break
                        # Others in its window may have been taken: all of them keep the receipts that they have.
                        told += behind
                    for each, what in told:
                        begun = first + each + 1
                        yield first + each, what
                # A link without room for the next mail is given back, and another takes the rest.
                fresh = fresh or (lease.connection.is_full and (lease.is_reused or begun > first))
            if not fresh:
                return

    def command(self, command: Command) -> Reply:
        """Say one command on a connection that just proved to be alive, and give the reply, whatever it says.

        Raises as `Connection.command` does, and the `SmtpError` that prevents a connection.
        """
        _expect(command, Command, "command")
        with self._pool.acquire(check=True) as lease:
            return lease.connection.command(command)

    @property
    def stumble(self) -> Stumble | None:
        """Why mails go more slowly than the server offers; None if they do not."""
        return self._footing.stumble

    @property
    def circuit(self) -> CircuitState | None:
        """Whether this process leaves the server alone; None without a circuit breaker."""
        breaker = self._safeguards.here().breaker if self._safeguards is not None else None
        return breaker.state if breaker is not None else None

    def test_connection(self) -> ConnectionInfo:
        """Reach the server and authenticate without sending; raises the `SmtpError` that prevents it."""
        with self._pool.acquire(check=True) as lease:
            return lease.connection.info()

    def connection_info(self) -> ConnectionInfo | None:
        """Describe the newest connection that mails went over; None before the first."""
        return self._newest

    def pool_status(self) -> PoolStatus:
        """Count this process's connections."""
        return self._pool.status()

    def configure(self, pool: PoolConfig) -> None:
        """Change the pool's limits at run time."""
        _expect(pool, PoolConfig, "pool")
        self._pool.configure(pool)

    def close_idle(self) -> None:
        """Say QUIT on every connection that nobody uses; the next mail opens its own."""
        while self._pool.give_up_idle():
            pass

    def shutdown(self, timeout: float | None = None) -> bool:
        """Say QUIT on every connection, on busy ones when they come free; sending raises `CancelledError` then.

        `timeout`: wait up to so many seconds for the busy ones, and cut off what is left; None: do not wait. Returns
        whether all are closed.
        """
        if self._safeguards is not None:
            self._safeguards.end()
        return self._pool.close_all(timeout)

    def __repr__(self) -> str:
        return f"<SmtpClient of {self._pool.place}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


def _expect(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        told = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(f"{name} has to be of type {kind.__name__}, and this is {told}")


def _met_a_closed_door(receipt: Receipt, until: Phase = Phase.DATA) -> bool:
    """Whether the link was gone before any transaction of the mail came to its content, so that nothing was sent.

    `until`: the phase that none of them came to. In phase DATA the server had not asked for the content.
    """
    error = receipt.error
    if error is None or error.kind not in _LINK_GONE or error.phase is None or error.phase >= until:
        return False
    # Where the server limits recipients, the mail may have needed several, and the error is that of the last.
    return all(fate.phase < Phase.DATA or (fate.phase < until and fate.reply is None) for fate in receipt.recipients)


def _shifted(permit: Permit | None, first: int) -> Permit:
    """Ask for positions in the whole sequence about mails that are counted from `first` on."""
    if permit is None:
        return lambda positions: positions

    def ask(positions: Sequence[int]) -> Collection[int]:
        return {position - first for position in permit([first + position for position in positions])}

    return ask
