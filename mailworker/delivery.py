"""The drain: from a claim in the ledger to a verdict in the ledger, by way of the wire.

Read it from the top. Law: no mail leaves this room without being settled or released, save when the ledger cannot be
reached; then its claim runs out and the watch frees it. Nothing is written after a final dot that was not marked first.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from mailworker.backoff import Backoff
from mailworker.files import Shelf
from mailworker.intake import Opened, UnreadableError, open_mail
from mailworker.ledger import Ledger, LedgerError
from mailworker.log import logger
from mailworker.outcome import Said, note_of, open_said, seal_said
from mailworker.record import Batch, Claim, Claiming, Pause, Settlement, Unreadable
from mailworker.renewal import Renewer
from mailworker.sealing import KeyRing
from mailworker.verdict import Fate, Scope, Verdict, is_credentials_refusal, judge
from smtp_transport.client import SmtpClient
from smtp_transport.envelope import Transaction
from smtp_transport.errors import PoolError, SmtpError
from smtp_transport.message import EncodedFiles
from smtp_transport.receipt import Receipt

# A relay that fails is left alone for half a second, then twice as long each time, at most this long.
_PAUSE_FIRST_MS, _PAUSE_MAX_MS = 500, 30_000
# Wrong credentials do not heal by themselves, and providers lock accounts that keep trying.
_CREDENTIALS_PAUSE_MS = 300_000
# A 250 that cannot be recorded becomes a duplicate later: insist while there is hope.
_INSIST_SECONDS = 60.0
_SENT = "sent"
# So many mails are marked and settled together at most, where the wire itself has fewer in flight,
_WINDOW = 10
# if it takes less than this for each of them: then a verdict is written down at most so much later.
_QUICK_SECONDS = 0.01
_TELL_WITHIN_SECONDS = 0.1
# A mark that is older is renewed, for it is the proof that the claim is ours. Leases last a second at least.
_MARK_HOLDS_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How one lane is worked. `hold_in_doubt` parks what may have been delivered instead of sending it again."""

    lane: str
    claiming: Claiming
    max_attempts: int
    hold_in_doubt: bool
    slice_seconds: float


class Watcher(Protocol):
    """Whoever wants to see what a drain does. Called in the drain's way: neither waits nor raises."""

    def claimed(self, batch: Batch) -> None:
        """See a batch begin, and those that were given up instead."""

    def settled(self, settlements: Sequence[Settlement], states: Sequence[str]) -> None:
        """See verdicts that are written."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a drain works with; built once per process by the composition root."""

    ledger: Ledger
    client: SmtpClient
    keys: KeyRing
    backoff: Backoff
    renewer: Renewer
    ring: Callable[[str], bool]
    is_stopping: Callable[[], bool]
    shelf: Shelf
    encoded: EncodedFiles = field(default_factory=lambda: EncodedFiles(0))
    watcher: Watcher | None = None


@dataclass(slots=True)
class Drain:
    """One go at a lane: batch after batch, until it is empty, the slice is over or the worker stops."""

    policy: LanePolicy
    tools: Tools
    settled: int = 0
    _until: float = field(default=0.0, init=False)
    _is_alone: bool = field(default=False, init=False)
    _is_quick: bool = field(default=False, init=False)

    def run(self) -> int:
        """Work the lane. Returns how many mails were settled. Raises LedgerError when the ledger is out of reach."""
        lane, tools = self.policy.lane, self.tools
        self._until = time.monotonic() + self.policy.slice_seconds
        answering = True
        while not self._is_over():
            batch = tools.ledger.claim(lane, self.policy.claiming, answering=answering)
            answering = False
            if tools.watcher:
                tools.watcher.claimed(batch)
            if batch.bell_due:
                self._is_alone = not tools.ring(lane)
            if not batch.mails:
                break
            with tools.renewer.holding(lane, batch.mails):
                self._work(batch.mails)
        return self.settled

    def _is_over(self) -> bool:
        # When the broker takes no bells nobody would follow: go on, slice after slice.
        return self.tools.is_stopping() or (time.monotonic() >= self._until and not self._is_alone)

    def _work(self, claims: Sequence[Claim]) -> None:
        """Deliver one batch: open, send, settle as the receipts come in, give back what was not begun."""
        mails = self._open(claims)
        passage = _Passage(mails, self._settle, self._turn, is_quick=self._is_quick)
        trouble: Trouble | None = None
        deliveries = self.tools.client.deliver([mail.transaction for mail in mails], passage.permit)
        try:
            with closing(deliveries):
                for index, receipt in deliveries:
                    mail, verdicts = mails[index], judge(receipt)
                    trouble = Trouble.of(verdicts, receipt) or trouble
                    is_clear = passage.tell(index, _settlement(mail, verdicts, self.policy, self.tools))
                    # Nobody's fate is open on the wire: the one moment to leave.
                    if is_clear and self._is_over():
                        break
        except PoolError as error:
            # Our own links are all in use: that says nothing about the relay.
            logger.info("lane %s waits for a free link: %s", self.policy.lane, error)
        except SmtpError as error:
            trouble = Trouble(error.kind.value, is_credentials_refusal(error), str(error))
        finally:
            self._is_quick = passage.is_quick
            try:
                self._settle(passage.told)
            finally:
                self._give_back(passage, trouble)

    def _open(self, claims: Sequence[Claim]) -> "list[_Mail]":
        """Make claims' payloads transactions to the recipients still pending; what cannot be opened is put aside."""
        mails: list[_Mail] = []
        unreadable: list[Unreadable] = []
        read_file = partial(self.tools.shelf.get, self.policy.lane)
        for claim in claims:
            try:
                mails.append(_Mail.of(claim, open_mail(claim, self.tools.keys, read_file), self.tools.encoded))
            except UnreadableError as error:
                unreadable.append(Unreadable(claim.id, claim.fence, str(error), error.may_heal))
        if unreadable:
            self._set_aside(unreadable)
        return mails

    def _set_aside(self, mails: "Sequence[Unreadable]") -> None:
        waiting = [mail for mail in mails if mail.may_heal]
        if waiting:
            text = "lane %s: %d mails wait, the first of them %s: %s"
            logger.error(text, self.policy.lane, len(waiting), waiting[0].id, waiting[0].reason)
        try:
            self.tools.ledger.set_aside(self.policy.lane, mails)
        except LedgerError as error:
            logger.warning("%d claims of lane %s run out by themselves: %s", len(mails), self.policy.lane, error)

    def _turn(self, told: list[Settlement], claims: Sequence[Claim]) -> Sequence[bool]:
        """Write verdicts, and record that the final dots of these mails are about to be written; False: not ours."""
        lane, lease_ms = self.policy.lane, self.policy.claiming.lease_ms
        try:
            states, ours = self.tools.ledger.turn(lane, told, claims, lease_ms)
        except LedgerError as error:
            self._settle(told)
            logger.warning("nothing is sent that the ledger does not know of: %s", error)
            return [False] * len(claims)
        self._done(told, states)
        return ours

    def _settle(self, told: list[Settlement]) -> None:
        """Write verdicts, and insist; then forget them."""
        if not told:
            return
        until = time.monotonic() + _INSIST_SECONDS
        wait = 0.05
        while True:
            try:
                states = self.tools.ledger.settle(self.policy.lane, told)
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
                logger.info("mail %s attempt %d: %s", settlement.claim.id, settlement.claim.attempts, state)
        sent = [settlement.claim.id for settlement, state in zip(told, states, strict=True) if state == _SENT]
        if sent:
            # One line for a window: a line costs as much as a tenth of a mail.
            logger.info("sent: %s", " ".join(sent))
        self.settled += len(told)
        told.clear()

    def _give_back(self, passage: "_Passage", trouble: "Trouble | None") -> None:
        """Return claims not begun, no attempt burnt, and leave a relay in trouble alone for a while."""
        claims = list(passage.left.values())
        if not claims and trouble is None:
            return
        if trouble:
            log = logger.error if trouble.is_credentials else logger.warning
            log("lane %s pauses: %s", self.policy.lane, trouble.text)
        try:
            pause = trouble.pause if trouble else None
            self.tools.ledger.release(self.policy.lane, claims, pause, unsent=passage.unsent)
        except LedgerError as error:
            logger.warning("%d claims of lane %s run out by themselves: %s", len(claims), self.policy.lane, error)


class _Passage:
    """One batch on its way: what may be on the wire, what is marked, what is told and not yet written down.

    A window is what is marked and settled together. The wire decides how many mails are in flight; where it carries
    them one by one and quickly, mails are marked some ahead, so that both ways of sending ask the ledger as rarely, and
    a worker that is killed leaves no more mails in doubt than with windows on the wire.
    """

    def __init__(
        self,
        mails: "Sequence[_Mail]",
        settle: Callable[[list[Settlement]], None],
        turn: Callable[[list[Settlement], Sequence[Claim]], Sequence[bool]],
        *,
        is_quick: bool,
    ) -> None:
        self.left = {mail.claim.id: mail.claim for mail in mails}
        self.told: list[Settlement] = []
        self.is_quick = is_quick
        self._claims = [mail.claim for mail in mails]
        self._settle, self._turn = settle, turn
        self._ahead: set[int] = set()
        self._permitted: set[int] = set()
        self._awaited: set[int] = set()
        self._turned_at = 0.0
        self._in_window = 0

    @property
    def unsent(self) -> Collection[str]:
        """Ids of mails of which nothing can have been sent, marked or not."""
        return {claim.id for index, claim in enumerate(self._claims) if index not in self._permitted}

    def permit(self, dots: Sequence[int]) -> Collection[int]:
        """Answer the wire which final dots may be written; whatever is told is written down first."""
        now = time.monotonic()
        if not self._ahead.issuperset(dots) or now - self._turned_at > _MARK_HOLDS_SECONDS:
            self._look_at_pace(now)
            window = [*dots, *self._following(dots)] if self.is_quick else list(dots)
            ours = self._turn(self.told, [self._claims[index] for index in window])
            self._ahead = {index for index, is_ours in zip(window, ours, strict=True) if is_ours}
            self._turned_at, self._in_window = time.monotonic(), 0
        allowed = [index for index in dots if index in self._ahead]
        self._ahead.difference_update(allowed)
        self._permitted.update(allowed)
        self._awaited.update(allowed)
        self._in_window += len(dots)
        return allowed

    def tell(self, index: int, settlement: Settlement) -> bool:
        """Take a verdict. True: no mail is on the wire now, as far as we permitted."""
        self.told.append(settlement)
        del self.left[settlement.claim.id]
        self._awaited.discard(index)
        if not self._awaited and not (self.is_quick and self._is_young()):
            self._settle(self.told)
        return not self._awaited

    def _following(self, dots: Sequence[int]) -> Sequence[int]:
        first = max(dots) + 1
        return range(first, min(first + _WINDOW - len(dots), len(self._claims)))

    def _look_at_pace(self, now: float) -> None:
        if self._in_window:
            self.is_quick = now - self._turned_at < _QUICK_SECONDS * self._in_window

    def _is_young(self) -> bool:
        return time.monotonic() - self._turned_at < _TELL_WITHIN_SECONDS


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a relay is left alone for a while."""

    reason: str
    is_credentials: bool
    text: str

    @classmethod
    def of(cls, verdicts: Sequence[Verdict], receipt: Receipt) -> "Trouble | None":
        """Find what a receipt says about the relay as a whole."""
        verdict = next((v for v in verdicts if v.scope is Scope.RELAY), None)
        if verdict is None:
            return None
        # Not in the server's words, which could be the mail's.
        is_credentials = receipt.error is not None and is_credentials_refusal(receipt.error)
        return cls(verdict.reason, is_credentials, verdict.reason)

    @property
    def pause(self) -> Pause:
        """How long, as the ledger counts it."""
        first = _CREDENTIALS_PAUSE_MS if self.is_credentials else _PAUSE_FIRST_MS
        return Pause(base_ms=first, cap_ms=max(first, _PAUSE_MAX_MS), reason=self.reason)


@dataclass(frozen=True, slots=True)
class _Mail:
    """A claim that was opened: `pending` are the places of its pending recipients in the envelope."""

    claim: Claim
    transaction: Transaction
    pending: tuple[int, ...]

    @classmethod
    def of(cls, claim: Claim, opened: Opened, encoded: EncodedFiles) -> "_Mail":
        """Address the mail to those who have not got it yet."""
        pending = tuple(i for i, letter in enumerate(claim.recipients) if letter == Fate.DEFERRED.value)
        return cls(claim, opened.transaction_to(pending, encoded), pending)


def _settlement(mail: _Mail, verdicts: Sequence[Verdict], policy: LanePolicy, tools: Tools) -> Settlement:
    """Put the verdicts on one mail's recipients into the ledger's terms."""
    claim = mail.claim
    if claim.attempts == len(claim.recipients) == 1 and verdicts[0].fate is Fate.DELIVERED:
        # What nearly every mail comes to, in short.
        return Settlement(claim, Fate.DELIVERED.value, told=seal_said((_said(verdicts[0]),), claim.id, tools.keys))
    is_last = claim.attempts >= (claim.max_attempts or policy.max_attempts)
    is_held = policy.hold_in_doubt if claim.in_doubt is None else claim.in_doubt == "hold"
    letters = ["-"] * len(claim.recipients)
    said = open_said(claim.told, claim.id, len(letters), tools.keys)
    for place, verdict in zip(mail.pending, verdicts, strict=True):
        letters[place] = _letter(verdict.fate, is_held=is_held, is_last=is_last)
        said[place] = _said(verdict)
    worst = max(verdicts, key=lambda v: _GRAVITY[v.fate])
    is_plain = worst.fate is Fate.DELIVERED and claim.attempts == 1
    asked = max((v.wait_seconds or 0.0 for v in verdicts), default=0.0)
    return Settlement(
        claim=claim,
        letters="".join(letters),
        delay_ms=tools.backoff.wait_ms(claim.attempts, asked),
        told=seal_said(said, claim.id, tools.keys),
        error=_reason(claim, worst, is_last=is_last),
        # Of a mail that was delivered at once `told` and the record say all.
        note="" if is_plain else note_of(claim.attempts, worst.fate.name.lower(), _said(worst), claim.id, tools.keys),
        is_possible_duplicate=any(
            verdict.fate is Fate.IN_DOUBT and letters[place] == Fate.DEFERRED.value
            for place, verdict in zip(mail.pending, verdicts, strict=True)
        ),
    )


def _reason(claim: Claim, worst: Verdict, *, is_last: bool) -> str:
    if worst.fate is Fate.DELIVERED:
        return ""
    if worst.fate is Fate.DEFERRED and is_last:
        return f"given up after {claim.attempts} attempts; at last: {worst.reason}"
    return worst.reason


_GRAVITY = {Fate.DELIVERED: 0, Fate.DEFERRED: 1, Fate.BOUNCED: 2, Fate.IN_DOUBT: 3}


def _letter(fate: Fate, *, is_held: bool, is_last: bool) -> str:
    if fate is Fate.IN_DOUBT and not is_held and not is_last:
        fate = Fate.DEFERRED  # sent again, flagged; after the last attempt it stays in doubt: it may have arrived
    if fate is Fate.DEFERRED and is_last:
        fate = Fate.BOUNCED
    return fate.value


def _said(verdict: Verdict) -> Said:
    return Said(verdict.code, verdict.enhanced, verdict.text)
