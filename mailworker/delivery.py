"""The drain: from a claim in the ledger to a verdict in the ledger, by way of the wire.

Read it from the top. Law: no mail leaves this room without being settled or released, save when the ledger cannot be
reached; then its claim runs out and the watch frees it. Nothing is written after a final dot that was not marked first.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from mailworker.files import Shelf
from mailworker.gate import Gate, LaneTerms, Pass
from mailworker.intake import UnreadableError, open_mail
from mailworker.ledger import Ledger, LedgerError
from mailworker.loading import Load, Loading
from mailworker.log import SentLog, logger
from mailworker.mates import Mates, ahead, share, shared
from mailworker.news import News
from mailworker.passage import QUICK_SECONDS, Passage
from mailworker.record import Batch, Claim, Claiming, Pause, Settlement, Unreadable
from mailworker.renewal import Renewer
from mailworker.sealing import KeyRing
from mailworker.settlement import Mail, Terms, nobody_there, settlement_of
from mailworker.suppression import Entry, Suppressions
from mailworker.verdict import judge
from smtp_transport.client import SmtpClient
from smtp_transport.errors import PoolError, SmtpError
from smtp_transport.message import EncodedFiles

# A lane whose only relay fails is left alone for half a second, then twice as long each time, at most this long.
_PAUSE_FIRST_MS, _PAUSE_MAX_MS = 500, 30_000
# A 250 that cannot be recorded becomes a duplicate later: insist while there is hope.
_INSIST_SECONDS = 60.0
# A shorter wait for a limit is not worth another bell; after a longer one things may be different anyway. That a limit
# by the second is used up is a short wait.
_SHORT_WAIT_MS, _LONGEST_REST_MS = 2000, 60_000
_LOOK_UP_SECONDS = 0.05
# Somebody who pauses a lane waits for it: so long at most, and then for the window on the wire.
_PAUSE_SEEN_SECONDS = 0.5
_SENT = "sent"
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How one lane is worked.

    `suppress_days`: for how long an address is not tried again where nobody was; 0 for good, None not at all.
    """

    lane: LaneTerms
    claiming: Claiming
    mails: Terms
    slice_seconds: float
    suppress_days: int | None = None


class Watcher(Protocol):
    """Whoever wants to see what a drain does. Called in the drain's way: neither waits nor raises."""

    def claimed(self, batch: Batch) -> None:
        """See a batch begin, and those that were given up instead."""

    def settled(self, settlements: Sequence[Settlement], states: Sequence[str]) -> None:
        """See verdicts that are written."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a drain works with; built once per process by the composition root. `client` gives a relay's."""

    ledger: Ledger
    gate: Gate
    client: Callable[[str], SmtpClient]
    renewer: Renewer
    ring: Callable[[str], bool]
    is_stopping: Callable[[], bool]
    shelf: Shelf
    encoded: EncodedFiles = field(default_factory=lambda: EncodedFiles(0))
    watcher: Watcher | None = None
    suppressions: Suppressions | None = None


@dataclass(slots=True)
class Drain:
    """One go at a lane over one link: batch after batch, until it is empty, the slice is over or the worker stops.

    `who` names the thread to those whom the gate asks. `mates`: who else is at it. `is_first`: the bell that is being
    answered is this one's. `is_waiting`: whether replies took long of late, if that is known.
    """

    policy: LanePolicy
    tools: Tools
    who: str
    mates: Mates
    is_first: bool = True
    settled: int = 0
    is_waiting: bool | None = field(default=None, init=False)
    _ready_left: int = field(default=0, init=False)
    _is_unheard: bool = field(default=False, init=False)
    _is_leaving: bool = field(default=False, init=False)
    _looked_at: float = field(default_factory=time.monotonic, init=False)
    _is_held: bool = field(default=False, init=False)
    _is_answering: bool = field(default=False, init=False)
    _stops: int = field(default=0, init=False)
    _is_awaited: bool = field(default=False, init=False)
    _sent: SentLog = field(default_factory=SentLog, init=False)

    def run(self) -> int:
        """Work the lane. Returns how many mails were settled. Raises LedgerError when the ledger is out of reach."""
        self._is_answering = self.is_first
        while not self._is_over():
            leave = self._enter()
            if leave is None:
                break
            with self.tools.gate.returning(leave):
                if not self._batches(leave):
                    break
        self.tools.gate.rest(self.policy.lane)
        return self.settled

    def _batches(self, leave: Pass) -> bool:
        """Work batch after batch, as long as the leave is good; False: that was all."""
        while self._batch(leave):
            if not self.is_first and self.is_waiting is False:
                return False  # one link is enough
            if not leave.is_good_for(self._share()) or self._is_over():
                return True
        return False

    @property
    def _lane(self) -> str:
        return self.policy.lane.lane

    @property
    def _keys(self) -> KeyRing:
        return self.policy.mails.keys

    def _is_paused(self) -> bool:
        """Whether a person has paused the lane, as of a moment ago. Claims ask by themselves, but a batch may last."""
        now = time.monotonic()
        if now - self._looked_at > _PAUSE_SEEN_SECONDS:
            self._looked_at = now
            try:
                self._is_held = self.tools.ledger.pauses.by_hand_ms(self._lane) > 0
            except LedgerError as error:
                logger.debug("whether lane %s is paused is not known: %s", self._lane, error)
        return self._is_held

    def _is_over(self) -> bool:
        # When the broker takes no bells nobody would follow: go on, slice after slice.
        is_late = self.mates.left_seconds() <= 0 and not self._is_unheard
        # Whoever is stopped twice has leave that should not be.
        return self._is_leaving or self.tools.is_stopping() or is_late or self._stops > 1 or self._is_paused()

    def _share(self) -> int:
        return share(self.policy.claiming.limit, self._ready_left, self.mates)

    def _enter(self) -> Pass | None:
        """Get leave to send, waiting for it a moment; where all must wait longer, have the lane left alone so long."""
        enter, pauses, has_rested = self.tools.gate.enter, self.tools.ledger.pauses, False
        while True:
            answer = enter(self.policy.lane, self.who, mails := self._share(), most=ahead(mails, self.mates))
            if has_rested and (isinstance(answer, Pass) or answer.all_ms <= _SHORT_WAIT_MS):
                pauses.resume(self._lane)
            if isinstance(answer, Pass):
                return answer
            if answer.all_ms > _SHORT_WAIT_MS:
                if has_rested:
                    return None
                logger.info("lane %s waits: %s", self._lane, answer.reason)
                pauses.rest(self._lane, min(answer.all_ms, _LONGEST_REST_MS), answer.reason, answer.ends_ms)
                # Asked again: whoever let the relay go since the first answer found no rest that he could end.
                has_rested = True
                continue
            # One waits for all: whoever comes in addition has better things to do.
            if not self.is_first or self._is_over():
                self._hand_on()
                return None
            wait_ms = min(answer.ms, _SHORT_WAIT_MS)
            answering, self._is_answering = self._is_answering, False
            self._is_awaited = self.tools.ledger.bells.wait(self._lane, self.who, wait_ms, answering=answering)
            if not self._is_awaited:
                return None
            self._wait(wait_ms / 1000)

    def _hand_on(self) -> None:
        """Let another hear the bell that this one heard, or wait where it waited."""
        if (self._is_answering or self._is_awaited) and self.tools.ledger.bells.hand_on(self._lane, self.who):
            self._is_unheard = not self.tools.ring(self._lane)
        self._is_answering = self._is_awaited = False

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._is_over():
            time.sleep(min(left, _LOOK_UP_SECONDS))

    def _batch(self, leave: Pass) -> bool:
        """Claim a batch and work it; False: there was none."""
        tools, claiming = self.tools, self.policy.claiming
        wanted = replace(claiming, limit=min(self._share(), leave.left))
        batch = tools.ledger.claim(self._lane, wanted, answering=self._is_answering, waited=self._is_awaited)
        self._is_answering = self._is_awaited = False
        if tools.watcher:
            tools.watcher.claimed(batch)
        if batch.bell_due:
            self._is_unheard = not tools.ring(self._lane)
        if not batch.mails:
            return False
        self._ready_left = batch.ready_left
        if self.mates.pace is not None and self.mates.pace >= QUICK_SECONDS:
            self.mates.needed(batch.ready_left, self.mates.pace)
        loading = Loading(tools.gate, self.policy.lane, self.who, self._postpone)
        with tools.renewer.holding(self._lane, batch.mails):
            for part, load in loading.of(leave, self._spared(self._open(batch.mails))):
                self._send(part, load)
        return True

    def _spared(self, mails: list[Mail]) -> list[Mail]:
        """Leave out recipients that are suppressed; a mail that has nobody else is settled at once."""
        if self.tools.suppressions is None:
            return mails
        try:
            addresses = [address for mail in mails for address in mail.transaction.envelope.recipients]
            reasons = self.tools.suppressions.reasons(self._lane, addresses)
        except LedgerError:
            self._release([mail.claim for mail in mails])
            raise
        if not reasons:
            return mails
        mails = [mail.without(reasons) for mail in mails]
        self._settle([settlement_of(mail, (), self.policy.mails, "") for mail in mails if not mail.pending])
        return [mail for mail in mails if mail.pending]

    def _postpone(self, mails: Sequence[Mail], waits_ms: Sequence[int]) -> None:
        claims = [mail.claim for mail in mails]
        if not claims:
            return
        try:
            self.tools.ledger.postpone(self._lane, claims, waits_ms)
        except LedgerError as error:
            logger.warning("%d claims of lane %s run out by themselves: %s", len(claims), self._lane, error)
        self.tools.renewer.let_go(claims)

    def _send(self, leave: Pass, load: Load) -> None:
        """Deliver mails through one relay: settle as the receipts come in, give back what was not begun."""
        mails, terms = load.mails, self.policy.mails
        passage = Passage(mails, self._settle, partial(self._turn, leave), self.mates.pace)
        news, gone = News(), list[tuple[str, str]]()
        deliveries = self.tools.client(leave.relay).deliver([mail.transaction for mail in mails], passage.permit)
        try:
            with closing(deliveries):
                for index, receipt in deliveries:
                    if passage.is_denied(index):
                        break
                    verdicts = judge(receipt)
                    news.hear(verdicts, receipt)
                    gone += nobody_there(mails[index], verdicts)
                    is_clear = passage.tell(index, settlement_of(mails[index], verdicts, terms, leave.relay))
                    is_too_much = shared(passage, self.policy.claiming.limit, self._ready_left, self.mates)
                    # Nobody's fate is open on the wire: the one moment to leave.
                    if is_clear and (is_too_much or passage.is_stopped or self._is_over()):
                        break
        except PoolError as error:
            # Our own links are all in use: that says nothing about the relay.
            logger.info("lane %s waits for a free link: %s", self._lane, error)
        except SmtpError as error:
            news.hear_error(error)
            if self.mates.leave():
                self._is_leaving, news.trouble = True, None
        finally:
            self._stops += passage.is_stopped
            self.is_waiting = self.is_waiting if passage.is_waiting is None else passage.is_waiting
            try:
                self._settle(passage.told)
            finally:
                self._give_back(passage, news)
                self._tell(leave, news, load, passage)
                self._suppress(gone)

    def _open(self, claims: Sequence[Claim]) -> list[Mail]:
        """Make claims' payloads transactions to the recipients still pending; what cannot be opened is put aside."""
        mails: list[Mail] = []
        unreadable: list[Unreadable] = []
        read_file = partial(self.tools.shelf.get, self._lane)
        for claim in claims:
            try:
                mails.append(Mail.of(claim, open_mail(claim, self._keys, read_file), self.tools.encoded))
            except UnreadableError as error:
                unreadable.append(Unreadable(claim.id, claim.fence, str(error), error.may_heal))
        if unreadable:
            self._set_aside(unreadable)
        return mails

    def _set_aside(self, mails: Sequence[Unreadable]) -> None:
        waiting = [mail for mail in mails if mail.may_heal]
        if waiting:
            text = "lane %s: %d mails wait, the first of them %s: %s"
            logger.error(text, self._lane, len(waiting), waiting[0].id, waiting[0].reason)
        try:
            self.tools.ledger.set_aside(self._lane, mails)
        except LedgerError as error:
            logger.warning("%d claims of lane %s run out by themselves: %s", len(mails), self._lane, error)

    def _turn(self, leave: Pass, told: list[Settlement], claims: Sequence[Claim]) -> Sequence[bool] | None:
        """Write verdicts, and record that the final dots of these mails are about to be written; False: not ours.

        None: a person has stopped the lane or the relay.
        """
        lane, lease_ms = self._lane, self.policy.claiming.lease_ms
        try:
            states, ours = self.tools.ledger.turn(lane, told, claims, lease_ms, (leave.relay, leave.epoch))
        except LedgerError as error:
            self._settle(told)
            logger.warning("nothing is sent that the ledger does not know of: %s", error)
            return [False] * len(claims)
        self._done(told, states)
        if ours is not None:
            self._looked_at, self._is_held = time.monotonic(), False
        return ours

    def _settle(self, told: list[Settlement]) -> None:
        """Write verdicts, and insist; then forget them."""
        if not told:
            return
        until = time.monotonic() + _INSIST_SECONDS
        wait = 0.05
        while True:
            try:
                states = self.tools.ledger.settle(self._lane, told)
                break
            except LedgerError:
                if time.monotonic() + wait > until:
                    raise
                time.sleep(wait)
                wait = min(wait * 2, 2.0)
        self._done(told, states)

    def _done(self, told: list[Settlement], states: Sequence[str]) -> None:
        """Forget verdicts that are written."""
        self.tools.renewer.let_go([settlement.claim for settlement in told])
        if self.tools.watcher:
            self.tools.watcher.settled(told, states)
        for settlement, state in zip(told, states, strict=True):
            if state != _SENT:
                logger.info("mail %s attempt %d: %s", settlement.claim.id, settlement.attempts, state)
        self._sent.add(settlement.claim.id for settlement, state in zip(told, states, strict=True) if state == _SENT)
        self.settled += len(told)
        told.clear()

    def _give_back(self, passage: Passage, news: News) -> None:
        """Return claims not begun, no attempt burnt, and leave a lane alone for a moment whose only relay fails."""
        claims = list(passage.left.values())
        pause = None
        if news.trouble and not news.trouble.open_ms and len(self.policy.lane.routes) == 1:
            pause = Pause(_PAUSE_FIRST_MS, _PAUSE_MAX_MS, news.trouble.reason)
        if not claims and pause is None:
            return
        self._release(claims, pause, passage.unsent)

    def _release(self, claims: Sequence[Claim], pause: Pause | None = None, unsent: Collection[str] = ()) -> None:
        try:
            self.tools.ledger.release(self._lane, claims, pause, unsent=unsent)
        except LedgerError as error:
            logger.warning("%d claims of lane %s run out by themselves: %s", len(claims), self._lane, error)

    def _suppress(self, gone: Sequence[tuple[str, str]]) -> None:
        """Remember where nobody is. What cannot be written down is found out by the next mail."""
        tools, days = self.tools, self.policy.suppress_days
        if not gone or tools.suppressions is None or days is None:
            return
        try:
            entries = [Entry(to, why, days * _DAY_MS) for to, why in gone]
            tools.suppressions.add(self._lane, entries, stays="known")
        except LedgerError as error:
            logger.warning("%d addresses of lane %s are not suppressed: %s", len(gone), self._lane, error)

    def _tell(self, leave: Pass, news: News, load: Load, passage: Passage) -> None:
        """Let all workers know what became of the relay. Whoever does not hear of it finds out himself."""
        gate, trouble = self.tools.gate, news.trouble
        self._sent.flush()
        leave.used += len(load.mails) - len(passage.left)
        if trouble or news.complaints or passage.left:
            leave.until = 0.0  # whatever it was, the gate knows more now
        try:
            gate.unweigh(load.weighed, load.places_of(passage.left))
            for complaint, wait_seconds in news.complaints.items():
                gate.complained(leave, complaint, wait_seconds)
            if trouble:
                # Of a relay that is known to be down it is no news.
                log = logger.error if trouble.is_credentials else logger.info if leave.is_probe else logger.warning
                log("relay %s is in trouble: %s", leave.relay, trouble.reason)
                gate.failed(leave, trouble.reason, open_ms=trouble.open_ms)
            elif news.is_good:
                gate.went_well(leave)
        except LedgerError as error:
            logger.warning("what became of relay %s could not be told: %s", leave.relay, error)
