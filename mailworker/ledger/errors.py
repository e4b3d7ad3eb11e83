"""What the ledger raises, and the one place where Redis's errors become the ledger's.

Law: the texts are our own. A server's text may quote arguments, and those may be somebody's mail.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as redis


class LedgerError(Exception):
    """The ledger did not do what it was asked to. Holds plain text only."""


class LedgerUnavailableError(LedgerError):
    """The ledger could not be reached, or did not answer in time: whether the call was done is not known."""


class LedgerFullError(LedgerError):
    """The server is at its memory limit: nothing was written."""


class LedgerReadOnlyError(LedgerError):
    """The server takes no writes (it is a replica, or cannot save): nothing was written."""


class LedgerRefusedError(LedgerError):
    """The server did not do a command as it stood: a script failed, or a key holds another type."""


# Codes that redis-py has no class for. Before 7.0 a script's error comes wrapped besides, and so loses its class:
# "Error running script (...): @user_script: 9: -OOM command not allowed ...".
_CODE = re.compile(r"(?:^|[\s-])(OOM|READONLY|MISCONF|NOREPLICAS|BUSY)\s")

# What keys bring about that hold what they should not: every version names the line of a script that failed.
_OF_KEYS = re.compile(r"^WRONGTYPE|user_script")


@contextmanager
def translated() -> Iterator[None]:
    """Turn the Redis errors of a block into LedgerErrors."""
    try:
        yield
    except (redis.RedisError, redis.RedisClusterException) as error:
        raise _translate(error) from error


def _translate(error: Exception) -> LedgerError:
    match error:
        case redis.AuthenticationError() | redis.AuthorizationError() | redis.NoPermissionError():
            return LedgerError("the ledger's server refuses our credentials, or one of our commands")
        case redis.TimeoutError():
            return LedgerUnavailableError("the ledger's server did not answer in time")
        case redis.ConnectionError() | redis.ClusterDownError() | redis.TryAgainError() | redis.RedisClusterException():
            return LedgerUnavailableError(f"the ledger's server cannot be reached ({type(error).__name__})")
    kind = LedgerRefusedError if _OF_KEYS.search(str(error)) else LedgerError
    return _of_code(_code_of(error)) or kind(f"the ledger's server failed ({type(error).__name__})")


def _of_code(code: str) -> LedgerError | None:
    match code:
        case "OOM":
            return LedgerFullError("the ledger's server is at its memory limit")
        case "READONLY" | "MISCONF" | "NOREPLICAS":
            return LedgerReadOnlyError(f"the ledger's server takes no writes ({code})")
        case "BUSY":
            return LedgerUnavailableError("the ledger's server is busy with somebody's script")
    return None


def _code_of(error: Exception) -> str:
    # redis-py cuts a code off where it has a class for it.
    if isinstance(error, redis.OutOfMemoryError):
        return "OOM"
    if isinstance(error, redis.ReadOnlyError):
        return "READONLY"
    found = _CODE.search(str(error))
    return found[1] if found else ""
