"""The drain: from a claim in the ledger to a verdict in the ledger, by way of the wire.

Read it from the top. Law: no mail leaves this room without being settled or released, save when the ledger cannot be
reached; then its claim runs out and the watch frees it. Nothing is written after a final dot that was not marked first.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from mailworker.backoff import Backoff
from mailworker.intake import Opened, UnreadableError, open_mail
from mailworker.ledger import Ledger, LedgerError
from mailworker.log import logger
from mailworker.outcome import Said, note_of, open_said, seal_said
from mailworker.record import Claim, Claiming, Pause, Settlement
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
_UNOPENED_WAIT_MS = 60_000


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How one lane is worked. `hold_in_doubt` parks what may have been delivered instead of sending it again."""

    lane: str
    claiming: Claiming
    max_attempts: int
    hold_in_doubt: bool
    slice_seconds: float


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
    encoded: EncodedFiles = field(default_factory=lambda: EncodedFiles(0))


@dataclass(slots=True)
class Drain:
    """One go at a lane: batch after batch, until it is empty, the slice is over or the worker stops."""

    policy: LanePolicy
    tools: Tools
    settled: int = 0
    _until: float = field(default=0.0, init=False)
    _is_alone: bool = field(default=False, init=False)

    def run(self) -> int:
        """Work the lane. Returns how many mails were settled. Raises LedgerError when the ledger is out of reach."""
        lane, tools = self.policy.lane, self.tools
        self._until = time.monotonic() + self.policy.slice_seconds
        answering = True
        while not self._is_over():
            batch = tools.ledger.claim(lane, self.policy.claiming, answering=answering)
            answering = False
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
        """Deliver one batch: open, send, settle by windows as the receipts come in, give back what was not begun."""
        mails = [mail for mail in map(self._open, claims) if mail is not None]
        left = {mail.claim.id: mail.claim for mail in mails}
        told: list[Settlement] = []
        awaited: set[int] = set()
        trouble: Trouble | None = None

        def permit(dots: Sequence[int]) -> Collection[int]:
            self._settle(told)
            ours = self._mark([mails[index].claim for index in dots])
            allowed = [index for index, is_ours in zip(dots, ours, strict=True) if is_ours]
            awaited.update(allowed)
            return allowed

        deliveries = self.tools.client.deliver([mail.transaction for mail in mails], permit)
        try:
            with closing(deliveries):
                for index, receipt in deliveries:
                    mail, verdicts = mails[index], judge(receipt)
                    told.append(_settlement(mail, verdicts, self.policy, self.tools))
                    del left[mail.claim.id]
                    trouble = Trouble.of(verdicts, receipt) or trouble
                    awaited.discard(index)
                    if not awaited:
                        # Nobody's fate is open on the wire: the one moment to write down, and to leave.
                        self._settle(told)
                        if self._is_over():
                            break
        except PoolError as error:
            # Our own links are all in use: that says nothing about the relay.
            logger.info("lane %s waits for a free link: %s", self.policy.lane, error)
        except SmtpError as error:
            trouble = Trouble(error.kind.value, is_credentials_refusal(error), str(error))
        finally:
            try:
                self._settle(told)
            finally:
                self._give_back(list(left.values()), trouble)

    def _open(self, claim: Claim) -> "_Mail | None":
        """Make a claim's payload a transaction to the recipients still pending, or settle what cannot be opened."""
        try:
            return _Mail.of(claim, open_mail(claim, self.tools.keys), self.tools.encoded)
        except UnreadableError as error:
            logger.error("mail %s cannot be opened: %s", claim.id, error)
            self._settle([_unopened(claim, error)])
            return None

    def _mark(self, claims: Sequence[Claim]) -> Sequence[bool]:
        """Record that the final dots of these mails are about to be written; False for those that are not ours."""
        try:
            return self.tools.ledger.mark_dot(self.policy.lane, claims, self.policy.claiming.lease_ms)
        except LedgerError as error:
            logger.warning("nothing is sent that the ledger does not know of: %s", error)
            return [False] * len(claims)

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
        for settlement, state in zip(told, states, strict=True):
            claim = settlement.claim
            self.tools.renewer.let_go(claim)
            logger.info("mail %s attempt %d: %s", claim.id, claim.attempts, state)
        self.settled += len(told)
        told.clear()

    def _give_back(self, claims: list[Claim], trouble: "Trouble | None") -> None:
        """Return claims not begun, no attempt burnt, and leave a relay in trouble alone for a while."""
        if not claims and trouble is None:
            return
        if trouble:
            log = logger.error if trouble.is_credentials else logger.warning
            log("lane %s pauses: %s", self.policy.lane, trouble.text)
        try:
            self.tools.ledger.release(self.policy.lane, claims, trouble.pause if trouble else None)
        except LedgerError as error:
            logger.warning("%d claims of lane %s run out by themselves: %s", len(claims), self.policy.lane, error)


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


def _unopened(claim: Claim, error: UnreadableError) -> Settlement:
    """Settle a mail that cannot be read here: wait for the key or the upgrade, or park it if it will never open."""
    return Settlement(
        claim=claim,
        letters=claim.recipients if error.may_heal else claim.recipients.replace("p", Fate.BOUNCED.value),
        delay_ms=_UNOPENED_WAIT_MS,
        burns_attempt=not error.may_heal,
        error=str(error),
        note='{"event":"unopened"}',
    )


def _said(verdict: Verdict) -> Said:
    return Said(verdict.code, verdict.enhanced, verdict.text)
