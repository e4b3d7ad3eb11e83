"""The one door to Redis: scripts by their digest, errors translated.

Law: no call is repeated here. A claim whose answer was lost must run out; other calls are the caller's to repeat.
"""

from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

from mailworker.ledger.errors import translated
from mailworker.scripts import Script, load_script


class Server:
    """A Redis client and the scripts that it runs. Opens no connection until the first call."""

    def __init__(self, redis: Redis) -> None:
        """Refuse a client that decodes what is opaque, or repeats what must not be repeated."""
        options = redis.get_connection_kwargs()
        if options.get("decode_responses"):
            raise ValueError("the ledger needs a Redis client without decode_responses: payloads are not text")
        retry = options.get("retry")
        if options.get("retry_on_timeout") or (retry is not None and retry.get_retries() != 0):
            raise ValueError("the ledger needs a Redis client without retries: retry=Retry(NoBackoff(), 0)")
        self.redis = redis
        self._scripts: dict[str, Script] = {}

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        """Run a script. Raises LedgerError."""
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = load_script(name)
        with translated():
            try:
                return self.redis.evalsha(script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                # The server is new or was restarted; the call did nothing.
                self.redis.script_load(script.text)
                return self.redis.evalsha(script.sha, len(keys), *keys, *arguments)

    def read(self, key: str) -> dict[str, str]:
        """Read a whole hash, as text. Raises LedgerError."""
        with translated():
            held: Any = self.redis.hgetall(key)
        return {name.decode(): value.decode("utf-8", "replace") for name, value in held.items()}
