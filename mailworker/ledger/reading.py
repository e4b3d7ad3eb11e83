"""Reading Redis's answers back into the ledger's terms.

Law: what does not make sense is a LedgerError with the mail's id, never a half-read value.
"""

from collections.abc import Mapping
from typing import Any

from mailworker.ledger.errors import LedgerError
from mailworker.record import Claim, InDoubt, LaneStats, MailRecord, MailState

# The record, save the payload and its size; in the order in which `read_record` takes the values.
RECORD_FIELDS = (
    "version",
    "state",
    "envelope",
    "recipients",
    "told",
    "details",
    "attempts",
    "fence",
    "phase",
    "priority",
    "accepted",
    "due",
    "expires",
    "ended",
    "possible_duplicates",
    "key",
    "error",
    "history",
)


_IN_DOUBT: Mapping[bytes | None, InDoubt | None] = {None: None, b"resend": "resend", b"hold": "hold"}


def read_claim(answer: list[Any]) -> Claim:
    """Read one mail of a claim's answer. Raises LedgerError."""
    mail_id, fence, attempts, payload, envelope, recipients, told, duplicates, priority, accepted, expires, *own = (
        answer
    )
    most_attempts, in_doubt = own
    try:
        return Claim(
            id=mail_id.decode(),
            fence=fence,
            attempts=attempts,
            payload=payload,
            envelope=envelope or b"",
            recipients=_text(recipients),
            told=told or b"",
            possible_duplicates=_number(duplicates),
            priority=_number(priority),
            accepted_ms=_number(accepted),
            expires_ms=_moment(expires),
            max_attempts=_moment(most_attempts),
            in_doubt=_IN_DOUBT[in_doubt],
        )
    except (ValueError, LookupError) as error:
        raise LedgerError(f"the record of mail {mail_id!r} cannot be read") from error


def read_record(mail_id: str, values: list[bytes | None], payload_bytes: int) -> MailRecord | None:
    """Read a record; None if there is none. Raises LedgerError."""
    field = dict(zip(RECORD_FIELDS, values, strict=True))
    if field["state"] is None:
        return None
    history = _text(field["history"])
    key = field["key"]
    try:
        return MailRecord(
            id=mail_id,
            version=_number(field["version"]),
            state=MailState(_text(field["state"])),
            envelope=field["envelope"] or b"",
            recipients=_text(field["recipients"]),
            # Version 1 kept it in clear, under another name.
            told=field["told"] or field["details"] or b"",
            attempts=_number(field["attempts"]),
            fence=_number(field["fence"]),
            phase=_text(field["phase"]),
            priority=_number(field["priority"]),
            accepted_ms=_number(field["accepted"]),
            due_ms=_moment(field["due"]),
            expires_ms=_moment(field["expires"]),
            ended_ms=_moment(field["ended"]),
            possible_duplicates=_number(field["possible_duplicates"]),
            key=None if key is None else _text(key),
            error=_text(field["error"]),
            history=tuple(history.split("\n")) if history else (),
            payload_bytes=payload_bytes,
        )
    except ValueError as error:
        raise LedgerError(f"the record of mail {mail_id!r} cannot be read") from error


def read_stats(answer: list[Any]) -> LaneStats:
    """Read the answer of the script `stats`."""
    (ready, due, claims, dead, in_doubt), oldest, paused, failures, reason, counts = answer
    return LaneStats(
        ready=ready,
        due=due,
        claims=claims,
        dead=dead,
        in_doubt=in_doubt,
        oldest_ready_age_ms=None if oldest < 0 else oldest,
        paused_ms=paused,
        pause_failures=failures,
        pause_reason=_text(reason),
        counts={_text(name): _number(number) for name, number in zip(counts[::2], counts[1::2], strict=True)},
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _number(value: bytes | None) -> int:
    return int(value or 0)


def _moment(value: bytes | None) -> int | None:
    return None if value is None else int(value)
