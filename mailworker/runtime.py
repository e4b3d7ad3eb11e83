"""The composition root: everything a process works with, built from the settings, at first use and after the fork.

Law: the only place where rooms are wired together. Nothing here opens a socket before it is needed, and nothing
survives a fork: a child that asks gets its own.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailworker.backoff import Backoff, Interval
from mailworker.delivery import Drain, LanePolicy, Tools
from mailworker.intake import Intake, Limits, Options, open_envelope
from mailworker.keys import lane_of
from mailworker.ledger import Ledger, LedgerPolicy, LedgerUnavailableError
from mailworker.log import mask_address
from mailworker.record import Acceptance, Accepted, Claiming, MailRecord, NewMail
from mailworker.renewal import Renewer
from mailworker.sealing import KeyRing, SealError
from mailworker.settings import RelaySettings, Settings, SettingsError
from smtp_transport.client import SmtpClient
from smtp_transport.config import Credentials, PoolConfig, SmtpConfig, TlsConfig, TlsMode
from smtp_transport.message import Email

Ring = Callable[[str], None]
# A Redis that restarts is back in about a second; a stale connection is replaced at the second try.
_ACCEPT_AGAIN_SECONDS = 0.1


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
    """All that is known of a mail and may be shown. Times are milliseconds since the epoch, by the ledger's clock."""

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


class Runtime:
    """One process's tools. Parts are built when first asked for."""

    def __init__(
        self, settings: Settings, ring: Ring, interval: Interval, is_stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self.settings = settings
        self.pid = os.getpid()
        self._ring = ring
        self._interval = interval
        self._clients: dict[str, SmtpClient] = {}
        self._lock = threading.Lock()
        self._is_stopping = is_stopping

    @cached_property
    def redis(self) -> Redis:
        """The ledger's client: every call bounded, nothing repeated behind our back (a claim must not be)."""
        return self._redis(self.settings.redis.timeout_seconds)

    def _redis(self, timeout: float) -> Redis:
        return Redis.from_url(
            self.settings.redis.url.get_secret_value(),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=30,
        )

    @cached_property
    def ledger(self) -> Ledger:
        """The record of every mail."""
        return self._ledger(self.redis)

    @cached_property
    def watched_ledger(self) -> Ledger:
        """The ledger as the watch sees it: it runs in a worker's event loop, which must not wait long."""
        return self._ledger(self._redis(min(1.0, self.settings.redis.timeout_seconds)))

    def _ledger(self, redis: Redis) -> Ledger:
        keep = self.settings.retention
        return Ledger(
            redis,
            self.settings.redis.prefix,
            LedgerPolicy(
                sent_ms=keep.sent_seconds * 1000, failed_ms=keep.failed_seconds * 1000, key_ms=keep.key_seconds * 1000
            ),
        )

    @cached_property
    def keys(self) -> KeyRing:
        """The sealing keys. Raises SettingsError for a key that is none."""
        try:
            return KeyRing.parse(key.get_secret_value() for key in self.settings.sealing.keys)
        except ValueError as error:
            raise SettingsError(f"MAILWORKER_SEALING__KEYS: {error}") from None

    @cached_property
    def intake(self) -> Intake:
        """The door."""
        limits = self.settings.limits
        return Intake(
            Limits(limits.message_bytes, limits.recipients, limits.attachments),
            self.keys,
            {name: lane.max_age_seconds * 1000 for name, lane in self.settings.lanes.items()},
        )

    @cached_property
    def renewer(self) -> Renewer:
        """What keeps this process's claims alive."""
        return Renewer(self.ledger, self._lease_ms)

    @property
    def _lease_ms(self) -> int:
        return int(self.settings.worker.lease_seconds * 1000)

    def post(self, emails: Sequence[Email | Mapping[str, Any]], options: Sequence[Options]) -> list[Accepted]:
        """Make mails of emails, all of one lane, and ring if a bell is due.

        Raises RefusedError for an email, LookupError for a lane, LedgerError when the ledger did not answer in time.
        """
        lane = options[0].lane
        self.settings.lane(lane)
        acceptance = self._accept(lane, self.intake.admit(emails, options))
        if acceptance.bell_due:
            self._ring(lane)
        return list(acceptance.outcomes)

    def _accept(self, lane: str, mails: Sequence[NewMail]) -> Acceptance:
        """Insist for as long as one call may take: a mail's id is ours, so repeating makes no second one."""
        until = time.monotonic() + self.settings.redis.timeout_seconds
        while True:
            try:
                return self.ledger.accept(lane, mails)
            except LedgerUnavailableError:
                if time.monotonic() + _ACCEPT_AGAIN_SECONDS >= until:
                    raise
                time.sleep(_ACCEPT_AGAIN_SECONDS)

    def drain(self, lane: str) -> Drain:
        """Set up one go at a lane."""
        settings, worker = self.settings.lane(lane), self.settings.worker
        policy = LanePolicy(
            lane=lane,
            # One claim more than attempts are allowed: the last verdict is a verdict, not a crash-loop's end.
            claiming=Claiming(worker.batch_mails, worker.batch_bytes, self._lease_ms, settings.max_attempts + 1),
            max_attempts=settings.max_attempts,
            hold_in_doubt=settings.in_doubt == "hold",
            slice_seconds=worker.slice_seconds,
        )
        backoff = Backoff(
            self._interval,
            settings.quick_retries,
            int(settings.quick_first_seconds * 1000),
            int(settings.quick_max_seconds * 1000),
            int(settings.slow_first_seconds * 1000),
            int(settings.retry_max_seconds * 1000),
        )
        tools = Tools(
            self.ledger,
            self.client(settings.relay),
            self.keys,
            backoff,
            self.renewer,
            self._ring,
            self._is_stopping,
        )
        return Drain(policy, tools)

    def client(self, relay: str) -> SmtpClient:
        """The process's client of a relay, with its connection pool."""
        with self._lock:
            if relay not in self._clients:
                self._clients[relay] = SmtpClient(smtp_config(relay, self.settings.relays[relay]))
            return self._clients[relay]

    def report(self, mail_id: str) -> MailReport | None:
        """Tell all that may be shown of a mail; None if there is no such mail. Raises ValueError for what is no id."""
        record = self.ledger.read(mail_id)
        return None if record is None else _report(record, self.keys)

    def close(self) -> None:
        """Say QUIT on every link and close every socket."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.shutdown()
        for part in ("renewer", "redis"):
            if part in self.__dict__:
                self.__dict__[part].close()


def smtp_config(name: str, relay: RelaySettings) -> SmtpConfig:
    """Translate a relay's settings. Raises SettingsError that names the relay."""
    if relay.host is None:
        raise SettingsError(f"MAILWORKER_RELAYS__{name.upper()}__HOST (or relays.{name}.host in the file): is not set")
    password = relay.password.get_secret_value() if relay.password else ""
    fields: dict[str, Any] = {
        "host": relay.host,
        "port": relay.port,
        "tls": TlsMode(relay.tls) if relay.tls else None,
        "tls_config": TlsConfig(ca_certs=relay.ca_certs, server_name=relay.server_name),
        "credentials": Credentials.password(relay.username, password) if relay.username else None,
        "auth_method": relay.auth_method,
        "local_hostname": relay.local_hostname,
        "connect_timeout": relay.connect_timeout_seconds,
        "io_timeout": relay.io_timeout_seconds,
        "final_timeout": relay.final_seconds,
        "allow_plaintext": relay.allow_plaintext,
        "pool": PoolConfig(
            max_connections=relay.max_connections, idle_timeout=relay.idle_seconds, max_lifetime=relay.lifetime_seconds
        ),
    }
    try:
        return SmtpConfig(**{field: value for field, value in fields.items() if value is not None})
    except ValueError as error:
        raise SettingsError(f"relays.{name}: {error}") from None


_RECIPIENT_STATES = {"p": "pending", "d": "delivered", "b": "bounced", "i": "in_doubt"}


def _report(record: MailRecord, keys: KeyRing) -> MailReport:
    try:
        _, addresses, message_id = open_envelope(record.id, record.envelope, keys)
    except SealError:
        addresses, message_id = ("?",) * len(record.recipients), "?"
    details = json.loads(record.details) if record.details else [None] * len(addresses)
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
            RecipientReport(mask_address(address), _RECIPIENT_STATES[letter], **(detail or {}))
            for address, letter, detail in zip(addresses, record.recipients, details, strict=True)
        ),
        possible_duplicates=record.possible_duplicates,
        error=record.error,
        history=tuple(json.loads(note) for note in record.history),
    )
