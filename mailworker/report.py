"""What may be shown of a mail: everything but its contents, with addresses masked.

Law: whoever shows a mail, on a screen, in a result or a log, shows this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailworker.intake import open_envelope
from mailworker.keys import lane_of
from mailworker.outcome import Said, open_note, open_said
from mailworker.record import MailRecord
from mailworker.sealing import KeyRing, SealError
from smtp_transport.observation import masked_address


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """One recipient of a mail, masked, and what the relay said last."""

    address: str
    state: str
    code: int | None = None
    enhanced: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class MailReport:
    """All that is known of a mail and may be shown. Times are milliseconds since the epoch, by the ledger's clock.

    `relay`: which took the mail, or tried it last; "": none has.

    `error` is in our own words, fit for a log; what servers said stands with the recipients and in the history.
    """

    id: str
    lane: str
    state: str
    attempts: int
    accepted_ms: int
    due_ms: int | None
    expires_ms: int | None
    ended_ms: int | None
    message_id: str
    recipients: tuple[RecipientReport, ...]
    possible_duplicates: int
    error: str
    history: tuple[Mapping[str, Any], ...]
    tenant: str = ""
    relay: str = ""


_RECIPIENT_STATES = {"p": "pending", "d": "delivered", "b": "bounced", "i": "in_doubt"}


def report_on(record: MailRecord, keys: KeyRing) -> MailReport:
    """Describe a mail. Without the key that sealed it, its addresses and its Message-ID are question marks."""
    try:
        _, addresses, message_id = open_envelope(record.id, record.envelope, keys)
    except SealError:
        addresses, message_id = (), "?"
    if len(addresses) != len(record.recipients):
        addresses = ("?",) * len(record.recipients)
    said = open_said(record.told, record.id, len(addresses), keys)
    history = tuple(open_note(line, record.id, keys) for line in record.history)
    return MailReport(
        id=record.id,
        lane=lane_of(record.id),
        state=record.state,
        attempts=record.attempts,
        accepted_ms=record.accepted_ms,
        due_ms=record.due_ms,
        expires_ms=record.expires_ms,
        ended_ms=record.ended_ms,
        message_id=message_id,
        recipients=tuple(
            recipient_report(address, letter, one)
            for address, letter, one in zip(addresses, record.recipients, said, strict=True)
        ),
        possible_duplicates=record.possible_duplicates,
        error=record.error,
        history=history,
        tenant=record.tenant,
        relay=record.relay,
    )


def recipient_report(address: str, letter: str, said: Said | None) -> RecipientReport:
    """Describe a recipient by the letter of its fate and what was said of it; the address is masked here."""
    state = _RECIPIENT_STATES.get(letter, "?")
    if said is None:
        return RecipientReport(masked_address(address), state)
    return RecipientReport(masked_address(address), state, said.code, said.enhanced, said.text)
