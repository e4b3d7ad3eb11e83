"""The ledger's transitions: one Lua script a file, and the loader that puts a script and the parts it names together.

Law: a transition is one script, so nobody sees it half done, and it goes by one clock: the server's. Scripts run with
EVALSHA on Redis from 6.2 on and on Valkey; those of a lane take its eight keys first, then the records that the caller
knows of; those of `relay/`, `suppress/`, `stray/` and `broker/` have keys of their own. A script's header is its
contract: KEYS, ARGV, ANSWERS, and PARTS, the files of `parts/` that it begins with, or - for none.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

_PARTS = re.compile(r"^-- PARTS +([a-z ]+|-)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script as the server will hold it. `sha` is what EVALSHA wants: SHA-1 of the text, in hex."""

    name: str
    text: bytes
    sha: str


def load_script(name: str) -> Script:
    """Read one script from the package, e.g. "accept" or "relay/take". Raises FileNotFoundError if there is none."""
    folder = resources.files(__name__)
    body = (folder / f"{name}.lua").read_text(encoding="utf-8")
    named = _PARTS.search(body)
    if named is None:
        raise ValueError(f"{name}.lua names no PARTS")
    parts = [(folder / "parts" / f"{part}.lua").read_text(encoding="utf-8") for part in named[1].split() if part != "-"]
    text = "\n".join([*parts, body]).encode()
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest())
