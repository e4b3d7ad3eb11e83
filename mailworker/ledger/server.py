"""The one door to Redis: scripts by their digest, errors translated.

Law: no call is repeated here. A claim whose answer was lost must run out; other calls are the caller's to repeat.
"""

from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

from mailworker.ledger.errors import LedgerUnavailableError, translated
from mailworker.scripts import Script, load_script

# What must outlive the server itself: that a mail was accepted, and that its final dot may have been written.
_REPLICATED = frozenset({"accept", "mark_dot", "turn"})


class Server:
    """A Redis client and the scripts that it runs. Opens no connection until the first call."""

    def __init__(self, redis: Redis, replicas: int = 0, wait_ms: int = 0) -> None:
        """Refuse a client that decodes what is opaque, or repeats what must not be repeated."""
        options = redis.get_connection_kwargs()
        if options.get("decode_responses"):
            raise ValueError("the ledger needs a Redis client without decode_responses: payloads are not text")
        retry = options.get("retry")
        if options.get("retry_on_timeout") or (retry is not None and retry.get_retries() != 0):
            raise ValueError("the ledger needs a Redis client without retries: retry=Retry(NoBackoff(), 0)")
        self.redis = redis
        self._replicas = replicas
        self._wait_ms = wait_ms
        self._scripts: dict[str, Script] = {}

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        """Run a script. Raises LedgerError."""
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = load_script(name)
        with translated():
            try:
                return self._run(script, keys, arguments)
            except NoScriptError:
                # The server is new or was restarted; the call did nothing.
                self.redis.script_load(script.text)
                return self._run(script, keys, arguments)

    def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        if not self._replicas or script.name not in _REPLICATED:
            return self.redis.evalsha(script.sha, len(keys), *keys, *arguments)
        # WAIT is about what its own connection has written. A repeated call finds all done and writes nothing, so
        # something is told to nobody, which replicas hear too.
        with self.redis.pipeline(transaction=False) as pipe:
            pipe.evalsha(script.sha, len(keys), *keys, *arguments)
            pipe.publish(f"{keys[0]}:replicas", "")
            pipe.execute_command("WAIT", self._replicas, self._wait_ms)  # type: ignore[no-untyped-call] # redis-py
            answer, _, reached = pipe.execute()
        if reached < self._replicas:
            raise LedgerUnavailableError(f"only {reached} of {self._replicas} replicas have heard of it in time")
        return answer

    def read(self, key: str) -> dict[str, str]:
        """Read a whole hash, as text. Raises LedgerError."""
        with translated():
            held: Any = self.redis.hgetall(key)
        return {name.decode(): value.decode("utf-8", "replace") for name, value in held.items()}
