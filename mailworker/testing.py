"""An outbox for the tests of programs that send mail: no Redis, no worker, no socket.

    def test_an_order_is_confirmed(mail_outbox):
        shop.order("book")
        (mail,) = mail_outbox.mails
        assert mail.email.subject == "Your order"

Law: emails and options are read and refused by the real door; only the ledger and the delivery are imagined. What is
imagined is told to have been delivered at once, unless a recipient was to be refused or the mail is for later.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mailworker.celery import app
from mailworker.intake import read_email
from mailworker.keys import lane_of
from mailworker.options import Options
from mailworker.record import Accepted
from mailworker.report import MailReport, RecipientReport
from mailworker.runtime import Runtime
from mailworker.settings import load_settings
from smtp_transport.message import AnyMessage, Email, RawEmail, envelope_of
from smtp_transport.observation import masked_address


@dataclass(frozen=True, slots=True)
class OutboxMail:
    """A mail that was accepted: the email as it was given, to whom it goes, and how it is to be treated."""

    id: str
    email: Email | RawEmail
    recipients: tuple[str, ...]
    options: Options


@dataclass(slots=True)
class Outbox:
    """Mails that were accepted, the oldest first."""

    mails: list[OutboxMail] = field(default_factory=list)
    _refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    _states: dict[str, str] = field(default_factory=dict)

    def refuse(self, address: str, code: int = 550, text: str = "no such user") -> None:
        """Let mails to this address bounce from now on."""
        self._refused[address.lower()] = (code, text)

    def to(self, address: str) -> list[OutboxMail]:
        """Those of the mails that go to an address."""
        return [mail for mail in self.mails if address.lower() in map(str.lower, mail.recipients)]

    def clear(self) -> None:
        """Forget all mails."""
        self.mails.clear()
        self._states.clear()

    def take(self, mail: OutboxMail) -> None:
        """Accept a mail, and have it end as its recipients' servers would."""
        self.mails.append(mail)
        refused = [address for address in mail.recipients if address.lower() in self._refused]
        if mail.options.is_for_later:
            state = "scheduled"
        elif not refused:
            state = "sent"
        else:
            state = "dead" if len(refused) == len(mail.recipients) else "partial"
        self._states[mail.id] = state

    def cancel(self, mail_id: str) -> str:
        """End a mail that is for later: as the ledger's answer."""
        if self._states.get(mail_id) == "scheduled":
            self._states[mail_id] = "cancelled"
        return self._states.get(mail_id, "unknown")

    def report(self, mail_id: str) -> MailReport | None:
        """Tell of a mail as the ledger would."""
        mail = next((mail for mail in self.mails if mail.id == mail_id), None)
        if mail is None:
            return None
        state, now = self._states[mail_id], time.time_ns() // 1_000_000
        return MailReport(
            id=mail_id,
            lane=lane_of(mail_id),
            state=state,
            attempts=int(state in {"sent", "partial", "dead"}),
            accepted_ms=now,
            due_ms=now if state == "scheduled" else None,
            expires_ms=None,
            ended_ms=None if state == "scheduled" else now,
            message_id=mail.email.message_id or "",
            recipients=tuple(self._recipient(address, state) for address in mail.recipients),
            possible_duplicates=0,
            error="" if state in {"sent", "scheduled"} else state,
            history=(),
            tenant=mail.options.tenant or "",
        )

    def _recipient(self, address: str, state: str) -> RecipientReport:
        if state in {"scheduled", "cancelled"}:
            return RecipientReport(masked_address(address), "pending")
        code, text = self._refused.get(address.lower(), (250, "ok"))
        return RecipientReport(masked_address(address), "delivered" if code == 250 else "bounced", code, None, text)


class _Imagined(Runtime):
    """A process's tools, of which the ledger is an outbox."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(load_settings(), ring=lambda _lane: True)
        self._outbox = outbox
        self._by_key: dict[tuple[str, str], str] = {}

    def post(self, emails: Sequence[AnyMessage | Mapping[str, Any]], options: Sequence[Options]) -> list[Accepted]:
        self.check_lane(options[0].lane)
        return [
            self._take(what, said, mail.id)
            for what, said, mail in zip(emails, options, self.intake.admit(emails, options), strict=True)
        ]

    def _take(self, what: AnyMessage | Mapping[str, Any], options: Options, mail_id: str) -> Accepted:
        if options.idempotency_key is not None:
            first = self._by_key.setdefault((options.lane, options.idempotency_key), mail_id)
            if first != mail_id:
                return Accepted(first, "duplicate")
        email = read_email(what)
        envelope = envelope_of(email) if isinstance(email, Email) else email.envelope
        self._outbox.take(OutboxMail(mail_id, email, tuple(envelope.recipients), options))
        return Accepted(mail_id, "accepted")

    def cancel(self, mail_id: str) -> str:
        lane_of(mail_id)
        return self._outbox.cancel(mail_id)

    def report(self, mail_id: str) -> MailReport | None:
        lane_of(mail_id)
        return self._outbox.report(mail_id)

    def wait_ended(self, mail_id: str, timeout: float | None = None) -> MailReport | None:
        """Tell at once: nothing happens while one waits."""
        del timeout
        report = self.report(mail_id)
        return None if report is None or report.state == "scheduled" else report


@contextmanager
def outbox() -> Iterator[Outbox]:
    """Have every mail of a block go into an outbox. For pytest there is the fixture `mail_outbox`."""
    box = Outbox()
    with app.working_with(_Imagined(box)):
        yield box
