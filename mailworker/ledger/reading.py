"""Reading Redis's answers back into the ledger's terms.

Law: what does not make sense is a LedgerError with the mail's id, never a half-read value.
"""

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from mailworker.ledger.errors import LedgerError, translated
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
    "tenant",
    "relay",
)


_NO_RECORD = {"state": MailState.QUARANTINED.value.encode(), "error": b"its key holds no record"}
_WAITING = frozenset({MailState.SCHEDULED.value.encode(), MailState.DEFERRED.value.encode()})
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


def read_record(mail_id: str, values: Any, payload_bytes: Any) -> MailRecord | None:
    """Read a record, or the error that there was instead; None if there is none.

    Raises LedgerError; of one that is quarantined it reads what it can.
    """
    if isinstance(values, ResponseError) and str(values).startswith("WRONGTYPE"):
        return _read(mail_id, dict.fromkeys(RECORD_FIELDS) | _NO_RECORD, 0)
    with translated():
        for answer in (values, payload_bytes):
            if isinstance(answer, Exception):
                raise answer
    return _read(mail_id, dict(zip(RECORD_FIELDS, values, strict=True)), payload_bytes) if any(values) else None


def _read(mail_id: str, field: Mapping[str, bytes | None], payload_bytes: int) -> MailRecord:
    is_damaged = field["state"] == MailState.QUARANTINED.value.encode()
    text, number, moment = _LENIENT if is_damaged else _STRICT
    try:
        history = text(field["history"])
        return MailRecord(
            id=mail_id,
            version=number(field["version"]),
            state=MailState(text(field["state"])),
            envelope=field["envelope"] or b"",
            recipients=text(field["recipients"]),
            # Version 1 kept it in clear, under another name.
            told=field["told"] or field["details"] or b"",
            attempts=number(field["attempts"]),
            fence=number(field["fence"]),
            phase=text(field["phase"]),
            priority=number(field["priority"]),
            accepted_ms=number(field["accepted"]),
            # A mail that is ready still tells there since when.
            due_ms=moment(field["due"]) if field["state"] in _WAITING else None,
            expires_ms=moment(field["expires"]),
            ended_ms=moment(field["ended"]),
            possible_duplicates=number(field["possible_duplicates"]),
            key=text(field["key"]) or None,
            error=text(field["error"]),
            history=tuple(history.split("\n")) if history else (),
            payload_bytes=payload_bytes,
            tenant=text(field["tenant"]).partition("*")[0],
            relay=text(field["relay"]),
        )
    except ValueError as error:
        raise LedgerError(f"the record of mail {mail_id!r} cannot be read") from error


def read_stats(answer: list[Any]) -> LaneStats:
    """Read the answer of the script `stats`."""
    homes, oldest, paused, failures, reason, counts, by_hand, ends = answer
    ready, due, claims, dead, in_doubt, quarantined, unreadable = homes
    return LaneStats(
        ready=ready,
        due=due,
        claims=claims,
        dead=dead,
        in_doubt=in_doubt,
        quarantined=quarantined,
        unreadable=unreadable,
        oldest_ready_age_ms=None if oldest < 0 else oldest,
        paused_ms=paused,
        pause_failures=failures,
        pause_reason=_text(reason),
        is_paused_by_hand=by_hand == 1,
        pause_ends_ms=ends if paused and ends >= 0 else None,
        # One that makes no sense begins anew when it next counts.
        counts={
            _any_text(name): int(number)
            for name, number in zip(counts[::2], counts[1::2], strict=True)
            if number.isdigit()
        },
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _number(value: bytes | None) -> int:
    return int(value or 0)


def _moment(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _any_text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _any_number(value: bytes | None) -> int:
    return _any_moment(value) or 0


def _any_moment(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() else None


_STRICT = (_text, _number, _moment)
_LENIENT = (_any_text, _any_number, _any_moment)
