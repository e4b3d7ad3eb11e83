"""What a program needs of a client: the type to ask for, so that a test may hand in another."""

from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

from smtp_transport.client.results import BatchSendResult, SendResult
from smtp_transport.config import PoolConfig
from smtp_transport.connection import ConnectionInfo, Permit
from smtp_transport.envelope import Transaction
from smtp_transport.message import AnyMessage
from smtp_transport.pool import PoolStatus
from smtp_transport.receipt import Receipt


class MailClient(Protocol):
    """`SmtpClient` and whatever stands in for it; see there for what the methods promise."""

    def send(self, email: AnyMessage, /) -> SendResult:
        """Send one email."""
        ...

    def send_batch(self, emails: Iterable[AnyMessage], /) -> BatchSendResult:
        """Send several."""
        ...

    def deliver(
        self, transactions: Sequence[Transaction], permit: Permit | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        """Send what is ready for the wire."""
        ...

    def test_connection(self) -> ConnectionInfo:
        """Reach the server and authenticate."""
        ...

    def connection_info(self) -> ConnectionInfo | None:
        """Describe the newest connection."""
        ...

    def pool_status(self) -> PoolStatus:
        """Count connections."""
        ...

    def configure(self, pool: PoolConfig) -> None:
        """Change the pool's limits."""
        ...

    def shutdown(self, timeout: float | None = None) -> bool:
        """Close everything; wait up to `timeout` seconds for what is in use. Returns whether all came back."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
