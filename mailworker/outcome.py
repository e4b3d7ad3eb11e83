"""What servers said of a mail, kept for reports: sealed as the mail itself is, because replies quote whom and what.

Law: codes, fates and our own words may stand in the ledger in clear; a server's words only under the key. What cannot
be opened is left out: no mail waits for what was once said of it.
"""

import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from mailworker.sealing import KeyRing, SealError, sealed_by


@dataclass(frozen=True, slots=True)
class Said:
    """One reply: its code, its enhanced code (RFC 3463), and the text, masked."""

    code: int | None
    enhanced: str | None
    text: str


def seal_said(said: Sequence[Said | None], mail_id: str, keys: KeyRing) -> bytes:
    """Keep what was said last of each recipient, in envelope order."""
    plain = [None if one is None else (one.code, one.enhanced, one.text) for one in said]
    return keys.seal(msgpack.packb(plain), mail_id, "told")


def open_said(blob: bytes, mail_id: str, recipients: int, keys: KeyRing) -> list[Said | None]:
    """Read what was said last of each recipient; None where nothing was, or where it cannot be read."""
    try:
        if blob.startswith(b"["):  # version 1 of the record: JSON in clear
            said = [
                None if one is None else Said(one["code"], one["enhanced"], one["text"]) for one in json.loads(blob)
            ]
        elif blob:
            said = [None if one is None else Said(*one) for one in msgpack.unpackb(keys.open(blob, mail_id, "told"))]
        else:
            said = []
    except (SealError, TypeError, ValueError, LookupError, msgpack.UnpackException):
        said = []
    return said if len(said) == recipients else [None] * recipients


def note_of(attempt: int, fate: str, said: Said, mail_id: str, keys: KeyRing, relay: str = "") -> str:
    """Write a line for the history: an attempt (0: none), by which relay, what came of it; under seal what was said."""
    line: dict[str, Any] = {name: told for name, told in (("attempt", attempt), ("relay", relay)) if told}
    line |= {"fate": fate, "code": said.code}
    if said.text:
        sealed = keys.seal(said.text.encode("utf-8", "replace"), mail_id, "note")
        line["sealed"] = base64.b64encode(sealed).decode("ascii")
    return json.dumps(line, separators=(",", ":"))


def keys_of_history(history: str) -> set[str]:
    """Tell under which keys the lines of a history are; "" is no key."""
    return {key_id for line in history.split("\n") if (key_id := sealed_by(_sealed(line))) is not None}


def reseal_history(history: str, mail_id: str, keys: KeyRing) -> str:
    """Put every line under the key that writes. Raises SealError."""
    return "\n".join(_resealed(line, mail_id, keys) for line in history.split("\n"))


def _resealed(line: str, mail_id: str, keys: KeyRing) -> str:
    sealed = _sealed(line)
    if sealed_by(sealed) in (None, keys.writer):
        return line
    again = keys.seal(keys.open(sealed, mail_id, "note"), mail_id, "note")
    return json.dumps({**json.loads(line), "sealed": base64.b64encode(again).decode("ascii")}, separators=(",", ":"))


def _sealed(line: str) -> bytes:
    """Find what is sealed in a line; nothing in one that is not ours."""
    try:
        note = json.loads(line)
        return base64.b64decode(note["sealed"])
    except (TypeError, ValueError, LookupError):
        return b""


def open_note(line: str, mail_id: str, keys: KeyRing) -> Mapping[str, Any]:
    """Read a line of the history, with its text if that can be opened."""
    try:
        note = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(note, dict):
        return {}
    if note.pop("sealed", None) is not None:
        with contextlib.suppress(SealError, ValueError):
            note["text"] = keys.open(_sealed(line), mail_id, "note").decode()
    return note
