"""The ledger as its users see it: one method a transition, batches in, batches out.

Law: all mails of one call are of one lane, since a script touches one lane's keys. A call that raised
LedgerUnavailableError may have been done. Every other call can be repeated as it is; a claim cannot: what it took comes
free when the lease is over, so the Redis client must not repeat it either.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from mailworker.keys import LaneKeys, lane_of
from mailworker.ledger.bells import Bells
from mailworker.ledger.departed import Departed
from mailworker.ledger.errors import LedgerError, LedgerUnavailableError, translated
from mailworker.ledger.files import Files
from mailworker.ledger.outbox import Outbox
from mailworker.ledger.pauses import Pauses
from mailworker.ledger.reading import RECORD_FIELDS, read_claim, read_record, read_stats
from mailworker.ledger.seals import Seals
from mailworker.ledger.server import Server
from mailworker.ledger.upkeep import Upkeep
from mailworker.log import logger
from mailworker.record import (
    FINAL_STATES,
    Acceptance,
    Accepted,
    Batch,
    Claim,
    Claiming,
    Ended,
    LaneStats,
    MailRecord,
    MailState,
    NewMail,
    Pause,
    Requeued,
    Settlement,
    Sweep,
    Unreadable,
)

_DAY_MS = 86_400_000
# A script keeps everybody else waiting; so many mails take some ten milliseconds.
MOST_AT_ONCE = 1000
# Whoever waits for a mail looks by himself after so long: a message may be lost with the link that carried it.
_LOOK_AGAIN_SECONDS = 2.0
_RECONNECT_SECONDS = 0.2
_MOST_ERROR = 500


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """How long the ledger keeps, in ms: ended mails by their states, idempotency keys, bells that nobody answers.

    `replicas`: so many must have a mail that is accepted, and the mark of a final dot, within `replicas_wait_ms`.
    """

    sent_ms: int = 7 * _DAY_MS
    partial_ms: int = 30 * _DAY_MS
    dead_ms: int = 30 * _DAY_MS
    in_doubt_ms: int = 30 * _DAY_MS
    expired_ms: int = 30 * _DAY_MS
    cancelled_ms: int = 30 * _DAY_MS
    quarantined_ms: int = 30 * _DAY_MS
    key_ms: int = _DAY_MS
    bell_ttl_ms: int = 5000
    replicas: int = 0
    replicas_wait_ms: int = 1000

    def __post_init__(self) -> None:
        """A key must not outlive the mail that it names."""
        shortest = min(self._of(state) for state in FINAL_STATES)
        if min(shortest, self.key_ms, self.bell_ttl_ms) < 1:
            raise ValueError("everything is kept for at least 1 ms")
        if self.key_ms > shortest:
            raise ValueError("an idempotency key cannot be kept longer than the record of its mail")

    @property
    def keep(self) -> str:
        """How long to keep ended mails, in the words of the scripts."""
        return " ".join(f"{state}={self._of(state)}" for state in FINAL_STATES)

    def _of(self, state: MailState) -> int:
        ms: int = getattr(self, f"{state}_ms")
        return ms


class Ledger:
    """The ledger in one Redis. Threads may share it; processes may not share its client across a fork.

    `redis` answers in bytes and retries nothing: `Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=5)`.
    Every method raises LedgerError, and ValueError for mails of another lane or more than MOST_AT_ONCE of them.
    """

    def __init__(self, redis: Redis, prefix: str = "mw", policy: LedgerPolicy | None = None) -> None:
        self._policy = policy or LedgerPolicy()
        self._server = Server(redis, self._policy.replicas, self._policy.replicas_wait_ms)
        self._prefix = prefix
        self.seals = Seals(self._server, prefix)
        self.files = Files(self._server, prefix)
        self.pauses = Pauses(self._server, prefix)
        self.bells = Bells(self._server, prefix, self._policy.bell_ttl_ms)
        self._keep = self._policy.keep
        self.outbox = Outbox(self._server, prefix, self._keep)
        self.departed = Departed(self._server, prefix, self._policy.bell_ttl_ms, self._keep)
        self._has_told_of_newer = False
        self.upkeep = Upkeep(redis, prefix)

    def accept(self, lane: str, mails: Sequence[NewMail]) -> Acceptance:
        """Write mails of one lane, all or none, and put them in line or on the schedule.

        A mail that is there already, by its id or by its idempotency key, is left as it is. If a file that they share
        is `missing`, none of them is written.
        """
        keys = self._keys(lane)
        records = self._records(keys, [mail.id for mail in mails])
        if not mails:
            return Acceptance((), bell_due=False)
        by_key = [keys.idempotency(mail.key) for mail in mails if mail.key]
        files = list({file.name: keys.file(file.name) for mail in mails for file in mail.files}.values())
        arguments: list[bytes | str | int] = [self._policy.bell_ttl_ms, self._policy.key_ms, len(mails), len(by_key)]
        for mail in mails:
            arguments += (mail.id, _moment(mail.delay_ms or None, mail.due_ms), _last_moment(mail))
            arguments += (mail.payload, mail.envelope, "p" * mail.recipients, mail.priority)
            arguments += (mail.key or "", mail.max_attempts or "", mail.in_doubt or "", mail.callbacks)
            arguments += (" ".join(file.name for file in mail.files), mail.file_bytes or "")
            arguments.append(f"{mail.tenant}*{mail.share}" if mail.share > 1 else mail.tenant)
        bell, *told = self._server.run("accept", [*records, *by_key, *files], arguments)
        if bell < 0:
            return Acceptance((), bell_due=False, missing=tuple(key.decode().rpartition(":")[2] for key in told))
        outcomes = zip(told[::2], told[1::2], strict=True)
        return Acceptance(tuple(Accepted(mail.decode(), status.decode()) for status, mail in outcomes), bell == 1)

    def claim(self, lane: str, want: Claiming, *, answering: bool, waited: bool = False) -> Batch:
        """Lease the mails first in line, their attempts counted.

        `answering`: a drain begins, so the bell that started it is no longer outstanding. `waited`: it has waited for
        the others since then, and another may. No mails do not mean an empty lane: see `ready_left` and `paused_ms`.
        """
        wanted = (want.limit, want.max_bytes, want.lease_ms, want.max_attempts, 2 if waited else int(answering))
        how = (self._policy.bell_ttl_ms, self._keep, want.owner)
        paused, bell, left, ended, answers, newer = self._server.run("claim", self._keys(lane).every, [*wanted, *how])
        if newer and not self._has_told_of_newer:
            self._has_told_of_newer = True
            logger.warning("lane %s: mails of a newer version of mailworker are left for newer workers", lane)
        mails = []
        for answer in answers:
            try:
                mails.append(read_claim(answer))
            except LedgerError as error:
                self.set_aside(lane, [Unreadable(answer[0].decode(), answer[1], str(error), may_heal=False)])
        given_up = zip(ended[::2], ended[1::2], strict=True)
        return Batch(
            tuple(mails), bell == 1, paused, left, tuple(Ended(i.decode(), MailState(s.decode())) for i, s in given_up)
        )

    def set_aside(self, lane: str, mails: Sequence[Unreadable]) -> tuple[str, ...]:
        """Put claimed mails aside that cannot be read here. Answers each mail's new state, or "fenced".

        What may heal waits a minute, no attempt burnt, and is counted as unreadable, unless it was marked as sent:
        then the claim runs out. What may not heal is quarantined.
        """
        records = self._records(self._keys(lane), [mail.id for mail in mails])
        arguments: list[bytes | str | int] = [self._keep]
        for mail in mails:
            arguments += (mail.id, mail.fence, _octets(mail.reason[:_MOST_ERROR]), int(mail.may_heal))
        states = tuple(state.decode() for state in self._server.run("set_aside", records, arguments))
        for mail, state in zip(mails, states, strict=True):
            if state == MailState.QUARANTINED:
                logger.error("mail %s is quarantined: %s", mail.id, mail.reason)
        return states

    def mark_dot(self, lane: str, claims: Sequence[Claim], lease_ms: int) -> tuple[bool, ...]:
        """Record that final dots are about to be written, and renew. False: the mail is lost and must not be sent."""
        return self._hold("mark_dot", lane, claims, lease_ms)

    def renew(self, lane: str, claims: Sequence[Claim], lease_ms: int) -> tuple[bool, ...]:
        """Extend leases. False: the claim is no longer the caller's."""
        return self._hold("renew", lane, claims, lease_ms)

    def settle(self, lane: str, settlements: Sequence[Settlement]) -> tuple[str, ...]:
        """Write verdicts. Answers each mail's new state, or "fenced" for a claim that is no longer the caller's.

        A fenced settlement counts only where it says delivered. Repeated, it answers as it did and changes nothing.
        """
        keys = self._keys(lane)
        records = self._records(keys, [settlement.claim.id for settlement in settlements])
        if not settlements:
            return ()
        arguments = [self._keep, *_verdicts(settlements)]
        return tuple(state.decode() for state in self._server.run("settle", records, arguments))

    def turn(
        self,
        lane: str,
        settlements: Sequence[Settlement],
        claims: Sequence[Claim],
        lease_ms: int,
        leave: tuple[str, int] = ("", 0),
    ) -> tuple[tuple[str, ...], tuple[bool, ...] | None]:
        """Do `settle` and then `mark_dot` in one call, and answer as both: between two windows nothing else is done.

        None: nothing is marked, for a person has stopped the lane, or the `leave`, a relay and its breaker's epoch.
        """
        mails = [*(settlement.claim.id for settlement in settlements), *(claim.id for claim in claims)]
        arguments = [len(settlements), self._keep, lease_ms, *leave, *_verdicts(settlements), *_fences(claims)]
        told, settled = self._server.run("turn", self._records(self._keys(lane), mails), arguments), len(settlements)
        states, marks = tuple(state.decode() for state in told[:settled]), told[settled:]
        return states, None if claims and not marks else tuple(ours == 1 for ours in marks)

    def release(
        self, lane: str, claims: Sequence[Claim], pause: Pause | None = None, *, unsent: Collection[str] = ()
    ) -> None:
        """Give back claims that were not attempted, no attempt burnt, and leave the lane alone for a while if asked.

        What is marked is not given back, for it may have been sent, save the ids in `unsent`.
        """
        records = self._records(self._keys(lane), [claim.id for claim in claims])
        if not claims and pause is None:
            return
        until = (pause.base_ms, pause.cap_ms, _octets(pause.reason[:_MOST_ERROR])) if pause else ("", "", "")
        known = [word for claim in claims for word in (claim.id, claim.fence, int(claim.id in unsent))]
        self._server.run("release", records, [*until, *known])

    def postpone(self, lane: str, claims: Sequence[Claim], waits_ms: Sequence[int]) -> None:
        """Put claims that a limit keeps back on the schedule, for so long each; no attempt is burnt."""
        records = self._records(self._keys(lane), [claim.id for claim in claims])
        if claims:
            known = [word for claim, ms in zip(claims, waits_ms, strict=True) for word in (claim.id, claim.fence, ms)]
            self._server.run("postpone", records, known)

    def sweep(self, lane: str, limit: int = 500, *, hold: bool = False, recover: bool = True) -> Sweep:
        """Put due mails in line and the mails of dead workers first in line; ring if nobody was told of work.

        `hold`: a mail whose worker died at the final dot is parked in doubt, not sent again, unless it says itself what
        is to be done. Takes up to `limit` mails of each kind. `recover=False` takes nobody for dead.
        """
        keys, keep = self._keys(lane).every, self._keep
        due, expired, more_due = self._server.run("wake", keys, [limit, keep])
        recovered, too_old, in_doubt, more_lost, bell = self._server.run(
            "recover", keys, [limit if recover else 0, int(hold), self._policy.bell_ttl_ms, keep]
        )
        return Sweep(
            due,
            recovered,
            tuple(mail.decode() for mail in (*expired, *too_old)),
            tuple(mail.decode() for mail in in_doubt),
            bool(more_due or (recover and more_lost)),
            bell == 1,
        )

    def cancel(self, lane: str, mail_ids: Sequence[str]) -> tuple[str, ...]:
        """End mails that nobody is sending. Answers "cancelled", or the state that forbids it, or "unknown"."""
        return self._by_hand("cancel", lane, mail_ids, [self._keep])

    def purge(self, lane: str, mail_ids: Sequence[str]) -> tuple[str, ...]:
        """Forget ended mails for good. Answers "purged", or the state of a mail that has not ended, or "unknown"."""
        return self._by_hand("purge", lane, mail_ids, [])

    def requeue(self, lane: str, mail_ids: Sequence[str], expires_in_ms: int) -> Requeued:
        """Give ended mails another go, to those of their recipients who have not got them; attempts start anew."""
        records = self._records(self._keys(lane), mail_ids)
        bell, *states = self._server.run("requeue", records, [self._policy.bell_ttl_ms, expires_in_ms, *mail_ids])
        return Requeued(tuple(state.decode() for state in states), bell == 1)

    def parked(self, lane: str, state: str, limit: int = 0) -> tuple[str, ...]:
        """List the ids of mails of a state of PARKED_STATES, the newest first; `limit` 0: all of them."""
        with translated():
            mails: Any = self._server.redis.zrevrange(self._keys(lane).parked(state), 0, limit - 1)
        return tuple(mail.decode() for mail in mails)

    def read(self, mail_id: str) -> MailRecord | None:
        """Read all about a mail but its payload; None if there is no such mail. Raises ValueError if this is no id."""
        (record,) = self.read_all([mail_id])
        return record

    def read_all(self, mail_ids: Sequence[str]) -> list[MailRecord | None]:
        """Read many at once, as `read` does."""
        with translated(), self._server.redis.pipeline(transaction=False) as pipe:
            for mail_id in mail_ids:
                record = self._keys(lane_of(mail_id)).record(mail_id)
                pipe.hmget(record, RECORD_FIELDS)
                pipe.hstrlen(record, "payload")
            answers = pipe.execute(raise_on_error=False)
        return [read_record(*told) for told in zip(mail_ids, answers[::2], answers[1::2], strict=True)]

    def stats(self, lane: str) -> LaneStats:
        """Count what a lane holds at this moment."""
        return read_stats(self._server.run("stats", self._keys(lane).every, []))

    def wait_ended(self, mail_id: str, timeout: float | None = None) -> MailRecord | None:
        """Wait up to `timeout` seconds for a mail to end. None: it has not, or there is no such mail.

        Raises ValueError if this is no id, LedgerUnavailableError if the ledger was out of reach to the last.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return self._wait(mail_id, deadline)
            except LedgerUnavailableError:
                if deadline is not None and time.monotonic() + _RECONNECT_SECONDS >= deadline:
                    raise
                time.sleep(_RECONNECT_SECONDS)

    def _wait(self, mail_id: str, deadline: float | None) -> MailRecord | None:
        """Look; then listen, and look again, so that an end in between is not missed."""
        record = self.read(mail_id)
        if record is None or record.state.is_final:
            return record
        channel = self._keys(lane_of(mail_id)).ended(mail_id)
        with translated(), self._server.redis.pubsub() as listener:  # type: ignore[no-untyped-call] # redis-py
            listener.subscribe(channel)
            # The server's word that we are heard.
            listener.get_message(timeout=_left(deadline))
            while True:
                record = self.read(mail_id)
                if record is None or record.state.is_final:
                    return record
                left = _left(deadline)
                if left <= 0:
                    return None
                listener.get_message(ignore_subscribe_messages=True, timeout=left)

    def _hold(self, script: str, lane: str, claims: Sequence[Claim], lease_ms: int) -> tuple[bool, ...]:
        records = self._records(self._keys(lane), [claim.id for claim in claims])
        if not claims:
            return ()
        return tuple(ours == 1 for ours in self._server.run(script, records, [lease_ms, *_fences(claims)]))

    def _by_hand(
        self, script: str, lane: str, mail_ids: Sequence[str], arguments: Sequence[str | int]
    ) -> tuple[str, ...]:
        records = self._records(self._keys(lane), mail_ids)
        if not mail_ids:
            return ()
        return tuple(state.decode() for state in self._server.run(script, records, [*arguments, *mail_ids]))

    def _keys(self, lane: str) -> LaneKeys:
        return LaneKeys(self._prefix, lane)

    def _records(self, keys: LaneKeys, mail_ids: Sequence[str]) -> list[str]:
        """The keys of a script that is told its mails."""
        if len(mail_ids) > MOST_AT_ONCE:
            raise ValueError(f"one call takes at most {MOST_AT_ONCE} mails")
        return [*keys.every, *map(keys.record, mail_ids)]


def _verdicts(settlements: Sequence[Settlement]) -> Iterator[bytes | str | int]:
    for verdict in settlements:
        yield from (verdict.claim.id, verdict.claim.fence, verdict.letters, verdict.delay_ms)
        yield from (verdict.told, _octets(verdict.error[:_MOST_ERROR]), _octets(verdict.note))
        yield from (2 if verdict.is_untried else int(verdict.is_possible_duplicate), verdict.relay)


def _left(deadline: float | None) -> float:
    """Tell how long to listen before looking again."""
    if deadline is None:
        return _LOOK_AGAIN_SECONDS
    return max(0.0, min(deadline - time.monotonic(), _LOOK_AGAIN_SECONDS))


def _fences(claims: Sequence[Claim]) -> Iterator[str | int]:
    for claim in claims:
        yield claim.id
        yield claim.fence


def _octets(text: str) -> bytes:
    """Write what a server or an error said. A verdict must not get lost because a text is no proper Unicode."""
    return text.encode("utf-8", "replace")


def _last_moment(mail: NewMail) -> str:
    if mail.max_age_ms is not None:
        return f">{mail.max_age_ms}"
    return _moment(mail.expires_in_ms, mail.expires_ms)


def _moment(from_now: int | None, absolute: int | None) -> str:
    """Write a time as the script `accept` reads it."""
    if absolute is not None:
        return str(absolute)
    return "" if from_now is None else f"+{from_now}"
