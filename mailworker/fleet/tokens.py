"""As whom: the access token of a relay's account, fetched by one process for all.

Law: one process at a time has leave to fetch, and loses it with its life. A token is replaced before it ends, and goes
on being used meanwhile. What the relay refused is renewed once. Tokens are opaque here: sealed before they come.
"""

from dataclasses import dataclass, field
from typing import Literal, cast

from mailworker.fleet.names import Run

State = Literal["held", "refresh", "wait", "failed"]


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A token that is `held`, leave to `refresh` it, or a time to `wait`; `failed`: nobody tries now, for a reason."""

    state: State
    version: int
    blob: bytes = field(repr=False)
    wait_ms: int
    reason: str


class Tokens:
    """One account's token. `key` is its hash in Redis. Raises what `run` raises."""

    def __init__(self, run: Run, key: str) -> None:
        self._run = run
        self._key = key

    def take(self, who: str, refused: int | None, leave_ms: int, early_ms: int) -> TokenAnswer:
        """Ask for the token; `refused` is the version that the relay did not take.

        It is replaced `early_ms` before its end, or in the last quarter of its life, whichever is later.
        """
        arguments: list[str | int] = [who, "" if refused is None else refused, leave_ms, early_ms]
        state, version, blob, wait, reason = self._run("relay/token", [self._key], arguments)
        return TokenAnswer(cast("State", state.decode()), version, blob, wait, reason.decode("utf-8", "replace"))

    def keep(self, replaces: int, blob: bytes, lives_ms: int, *, was_refused: bool) -> bool:
        """Keep a token that was fetched in place of version `replaces`; False: another one was kept meanwhile."""
        return bool(self._run("relay/keep_token", [self._key], [replaces, blob, lives_ms, int(was_refused)]))

    def failed(self, who: str, hold_ms: int, reason: str) -> None:
        """Note that none could be fetched, so that nobody tries for so long."""
        self._run("relay/no_token", [self._key], [who, hold_ms, reason])
