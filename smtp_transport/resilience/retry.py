"""What may be tried again, and when.

Law: pure. From the final dot on a mail without reply is in doubt, and is not tried again, whatever the conditions say.
"""

from smtp_transport.errors import ErrorKind, PoolError, SmtpConnectionError, SmtpError, SmtpTimeoutError, TlsError
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt, RecipientReceipt
from smtp_transport.resilience_config import RetryConditions, RetryConfig


def delay_before(config: RetryConfig, attempt: int, chance: float) -> float:
    """Seconds between attempt number `attempt`, from 1, and the next. `chance` is from 0 to 1."""
    delay: float = min(config.max_delay, config.initial_delay * config.multiplier ** (attempt - 1))
    return delay * (0.5 + chance / 2) if config.jitter else delay


def left_to_try(receipt: Receipt, conditions: RetryConditions) -> tuple[int, ...]:
    """Positions of recipients who have certainly not got the mail, and may be tried again."""
    is_passing = receipt.error is not None and passes(receipt.error, conditions)
    return tuple(
        position
        for position, fate in enumerate(receipt.recipients)
        if _may_be_tried(fate, conditions, is_passing=is_passing)
    )


def passes(error: SmtpError, conditions: RetryConditions) -> bool:
    """Whether the conditions name this error, of a mail that was not sent."""
    if error.code is not None:
        return _passes(error.code, conditions)
    if not error.is_retryable:
        return False
    if isinstance(error, SmtpTimeoutError) or error.kind is ErrorKind.CONNECTION_TIMEOUT:
        return conditions.timeouts
    is_broken = isinstance(error, SmtpConnectionError | TlsError) or (
        isinstance(error, PoolError) and error.kind is ErrorKind.CONNECTION_UNHEALTHY
    )
    return conditions.connection_errors and (is_broken or error.kind is ErrorKind.INVALID_RESPONSE)


def _passes(code: int, conditions: RetryConditions) -> bool:
    return code in conditions.error_codes or (conditions.temporary_failures and 400 <= code <= 499)


def _may_be_tried(fate: RecipientReceipt, conditions: RetryConditions, *, is_passing: bool) -> bool:
    if fate.reply is None:
        return is_passing and fate.phase < Phase.DOT
    return not fate.reply.is_positive and _passes(fate.reply.code, conditions)
