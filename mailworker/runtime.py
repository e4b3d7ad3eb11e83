"""The composition root of every process: web processes pay for this and no more. Workers add the workshop.

Law: rooms are wired together here and in the workshop, nowhere else. Nothing opens a socket before it is needed, and
nothing survives a fork: a child that asks gets its own.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from redis import Redis

from mailworker.files import seal_file
from mailworker.intake import Intake, Limits
from mailworker.keys import lane_of
from mailworker.ledger import Ledger, LedgerPolicy, LedgerUnavailableError, Server
from mailworker.options import Options, RefusedError
from mailworker.reach import connect
from mailworker.record import Acceptance, Accepted, NewMail
from mailworker.report import MailReport, report_on
from mailworker.sealing import KeyRing
from mailworker.settings import Settings, SettingsError
from mailworker.strays import Strays
from mailworker.suppression import Suppressions
from smtp_transport.message import AnyMessage

Ring = Callable[[str], bool]
# A Redis that restarts is back in about a second; a stale connection is replaced at the second try.
_ACCEPT_AGAIN_SECONDS = 0.1
_ACCEPT_BYTES = 4_000_000
_LEAST_WAIT_SECONDS = 0.05


class Runtime:
    """What every process of ours works with, web processes too: the door, the ledger, and what may be told of a mail.

    Wired at once, opening its sockets when first used. Raises SettingsError for settings that cannot be wired.
    """

    def __init__(self, settings: Settings, ring: Ring) -> None:
        self.settings = settings
        self.ring = ring
        self.pid = os.getpid()
        self.keys = key_ring(settings)
        self.redis = connect(settings.redis, settings.redis.timeout_seconds)
        self.ledger = ledger_over(self.redis, settings)
        self.suppressions = Suppressions(Server(self.redis), settings.redis.prefix, self.keys)
        self.strays = Strays(Server(self.redis), settings.redis.prefix, self.keys)
        self.intake = Intake(
            Limits(
                settings.limits.message_bytes,
                settings.limits.recipients,
                settings.limits.attachments,
                settings.redis.shared_file_bytes,
            ),
            self.keys,
            {name: lane.max_age_seconds * 1000 for name, lane in settings.lanes.items()},
            {name: {each.tenant: each.share for each in lane.tenant_weights} for name, lane in settings.lanes.items()},
        )

    def post(self, emails: Sequence[AnyMessage | Mapping[str, Any]], options: Sequence[Options]) -> list[Accepted]:
        """Make mails of emails, all of one lane, and ring if a bell is due.

        Raises RefusedError for an email or a lane, LedgerError when the ledger did not answer in time.
        """
        lane = options[0].lane
        self.check_lane(lane)
        outcomes: list[Accepted] = []
        for mails in _portions(self.intake.admit(emails, options)):
            acceptance = self._accept(lane, mails)
            if acceptance.bell_due:
                self.ring(lane)
            outcomes += acceptance.outcomes
        return outcomes

    def check_lane(self, lane: str) -> None:
        """Raise RefusedError for a lane that is not configured."""
        try:
            self.settings.lane(lane)
        except LookupError as error:
            raise RefusedError(f"lane: {error.args[0]}") from None

    def _accept(self, lane: str, mails: Sequence[NewMail]) -> Acceptance:
        """Insist for as long as one call may take: a mail's id is ours, so repeating makes no second one."""
        until = time.monotonic() + self.settings.redis.timeout_seconds
        while True:
            try:
                return self._accept_with_files(lane, mails)
            except LedgerUnavailableError:
                if time.monotonic() + _ACCEPT_AGAIN_SECONDS >= until:
                    raise
                time.sleep(_ACCEPT_AGAIN_SECONDS)

    def _accept_with_files(self, lane: str, mails: Sequence[NewMail]) -> Acceptance:
        """Store those files that mails share and the ledger has not yet, then the mails."""
        acceptance = self.ledger.accept(lane, mails)
        if acceptance.missing:
            files = {file.name: file for mail in mails for file in mail.files}
            for name in acceptance.missing:
                self.ledger.files.store(lane, name, seal_file(files[name], self.keys))
            acceptance = self.ledger.accept(lane, mails)
        if acceptance.missing:
            raise LedgerUnavailableError("the ledger has lost a file that it took just now")
        return acceptance

    def cancel(self, mail_id: str) -> str:
        """End a mail that nobody is sending: "cancelled", or the state that forbids it, or "unknown"."""
        (state,) = self.ledger.cancel(lane_of(mail_id), [mail_id])
        return state

    def requeue(self, lane: str, mail_ids: Sequence[str]) -> tuple[str, ...]:
        """Give ended mails of one lane another go, for as long as the lane lets a mail wait."""
        requeued = self.ledger.requeue(lane, mail_ids, self.settings.lane(lane).max_age_seconds * 1000)
        if requeued.bell_due:
            self.ring(lane)
        return requeued.states

    def wait_ended(self, mail_id: str, timeout: float | None = None) -> MailReport | None:
        """Wait up to `timeout` seconds for a mail to end, also where the ledger does not answer. None: it has not.

        Raises ValueError for what is no id, LedgerUnavailableError if the ledger was out of reach to the last.
        """
        usual = self.settings.redis.timeout_seconds
        if timeout is None or timeout >= 2 * usual:
            record = self.ledger.wait_ended(mail_id, timeout)
        else:
            # A call to a server that stands still must not last longer than whoever calls has time for.
            with closing(connect(self.settings.redis, max(timeout / 2, _LEAST_WAIT_SECONDS))) as hasty:
                record = ledger_over(hasty, self.settings).wait_ended(mail_id, timeout)
        return None if record is None else report_on(record, self.keys)

    def report(self, mail_id: str) -> MailReport | None:
        """Tell all that may be shown of a mail; None if there is no such mail. Raises ValueError for what is no id."""
        record = self.ledger.read(mail_id)
        return None if record is None else report_on(record, self.keys)

    def reports(self, mail_ids: Sequence[str]) -> list[MailReport]:
        """Tell of many mails at once; of those that there are."""
        return [report_on(record, self.keys) for record in self.ledger.read_all(mail_ids) if record is not None]

    def close(self) -> None:
        """Close every socket."""
        self.redis.close()


def key_ring(settings: Settings) -> KeyRing:
    """Make the ring of the sealing keys. Raises SettingsError."""
    try:
        return KeyRing.parse(key.get_secret_value() for key in settings.sealing.keys)
    except ValueError as error:
        raise SettingsError(f"MAILWORKER_SEALING__KEYS: {error}") from None


def ledger_over(redis: Redis, settings: Settings) -> Ledger:
    """Open the ledger that a Redis holds."""
    keep = {name.replace("_seconds", "_ms"): s * 1000 for name, s in settings.retention.model_dump().items()}
    wait_ms = int(settings.redis.timeout_seconds * 500)
    policy = LedgerPolicy(**keep, replicas=settings.redis.replicas, replicas_wait_ms=wait_ms)
    return Ledger(redis, settings.redis.prefix, policy)


def _portions(mails: Sequence[NewMail]) -> Iterator[Sequence[NewMail]]:
    """Cut what one script call may take: the ledger must not be kept from others for long."""
    first = size = 0
    for place, mail in enumerate(mails):
        if place > first and size + len(mail.payload) > _ACCEPT_BYTES:
            yield mails[first:place]
            first, size = place, 0
        size += len(mail.payload)
    yield mails[first:]
