"""What the wire reported of a mail, in the ledger's terms.

Law: pure, but for the nonces of what is sealed. Every mail that was claimed gets one of these, or is given back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mailworker.backoff import Backoff
from mailworker.intake import Opened
from mailworker.outcome import Said, note_of, open_said, seal_said
from mailworker.policy.addresses import leads_nowhere
from mailworker.record import Claim, Settlement
from mailworker.sealing import KeyRing
from mailworker.verdict import Fate, Scope, Verdict
from smtp_transport.envelope import Envelope, Transaction
from smtp_transport.message import EncodedFiles


@dataclass(frozen=True, slots=True)
class Terms:
    """How a lane treats its mails. `hold_in_doubt` parks what may have been delivered instead of sending it again."""

    max_attempts: int
    hold_in_doubt: bool
    backoff: Backoff
    keys: KeyRing


@dataclass(frozen=True, slots=True)
class Mail:
    """A claim that was opened.

    `pending`: the places of those in the envelope to whom the transaction goes. `suppressed`: places of those who are
    not tried, and what is told of them.
    """

    claim: Claim
    transaction: Transaction
    pending: tuple[int, ...]
    suppressed: tuple[tuple[int, Verdict], ...] = ()

    @classmethod
    def of(cls, claim: Claim, opened: Opened, encoded: EncodedFiles) -> "Mail":
        """Address the mail to those who have not got it yet."""
        pending = tuple(i for i, letter in enumerate(claim.recipients) if letter == Fate.DEFERRED.value)
        return cls(claim, opened.transaction_to(pending, encoded), pending)

    def without(self, reasons: Mapping[str, str]) -> "Mail":
        """Leave out the recipients for whom there is a reason not to try them."""
        recipients = self.transaction.envelope.recipients
        places = list(zip(self.pending, recipients, strict=True))
        left = [(place, address) for place, address in places if address not in reasons]
        if len(left) == len(places):
            return self
        envelope = Envelope(self.transaction.envelope.sender, tuple(address for _, address in left))
        suppressed = tuple((place, _suppressed(reasons[to])) for place, to in places if to in reasons)
        transaction = replace(self.transaction, envelope=envelope)
        return Mail(self.claim, transaction, tuple(place for place, _ in left), suppressed)

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains of its pending recipients, one each, in lower case."""
        return tuple(address.rpartition("@")[2].lower() for address in self.transaction.envelope.recipients)


def settlement_of(mail: Mail, verdicts: Sequence[Verdict], terms: Terms, relay: str) -> Settlement:
    """Put a relay's verdicts on one mail's recipients into the ledger's terms, and what is told of those not tried."""
    claim = mail.claim
    if claim.attempts == len(claim.recipients) == len(verdicts) == 1 and verdicts[0].fate is Fate.DELIVERED:
        # What nearly every mail comes to, in short.
        told = seal_said((_said(verdicts[0]),), claim.id, terms.keys)
        return Settlement(claim, Fate.DELIVERED.value, told=told, relay=relay)
    is_last = claim.attempts >= (claim.max_attempts or terms.max_attempts)
    is_held = terms.hold_in_doubt if claim.in_doubt is None else claim.in_doubt == "hold"
    letters = ["-"] * len(claim.recipients)
    said = open_said(claim.told, claim.id, len(letters), terms.keys)
    fates = [*zip(mail.pending, verdicts, strict=True), *mail.suppressed]
    for place, verdict in fates:
        letters[place] = _letter(verdict.fate, is_held=is_held, is_last=is_last)
        said[place] = _said(verdict)
    worst = max((verdict for _, verdict in fates), key=lambda v: _GRAVITY[v.fate])
    is_plain = worst.fate is Fate.DELIVERED and claim.attempts == 1
    asked = max((v.wait_seconds for v in verdicts if v.wait_seconds is not None), default=None)
    return Settlement(
        claim=claim,
        letters="".join(letters),
        delay_ms=terms.backoff.wait_ms(claim.attempts, asked),
        told=seal_said(said, claim.id, terms.keys),
        error=_reason(claim, worst, is_last=is_last),
        # Of a mail that was delivered at once `told` and the record say all.
        note="" if is_plain else _note(claim, worst, terms.keys, relay),
        is_possible_duplicate=any(
            verdict.fate is Fate.IN_DOUBT and letters[place] == Fate.DEFERRED.value for place, verdict in fates
        ),
        relay=relay,
        is_untried=not verdicts,
    )


def nobody_there(mail: Mail, verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """Name the recipients who, by a server's word, do not exist, each with that word in short."""
    recipients = mail.transaction.envelope.recipients
    return [
        (address, f"{verdict.code} {verdict.enhanced}")
        for address, verdict in zip(recipients, verdicts, strict=True)
        if verdict.fate is Fate.BOUNCED and verdict.scope is Scope.RECIPIENT and leads_nowhere(verdict.enhanced)
    ]


def _note(claim: Claim, worst: Verdict, keys: KeyRing, relay: str) -> str:
    return note_of(claim.attempts if relay else 0, worst.fate.name.lower(), _said(worst), claim.id, keys, relay)


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


def _suppressed(reason: str) -> Verdict:
    return Verdict(Fate.BOUNCED, Scope.RECIPIENT, text=f"suppressed: {reason}", kind="suppressed")


def _said(verdict: Verdict) -> Said:
    return Said(verdict.code, verdict.enhanced, verdict.text)
