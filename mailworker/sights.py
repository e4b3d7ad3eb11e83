"""What may be seen of a mail by those who watch it: light, masked, and made only when somebody looks.

Law: nothing here holds a body, a subject or a whole address, and no claim: payloads must not wait in a watcher's queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailworker.intake import open_envelope
from mailworker.keys import lane_of
from mailworker.outcome import open_said
from mailworker.record import Claim, Settlement
from mailworker.report import RecipientReport, recipient_report
from mailworker.sealing import KeyRing, SealError
from smtp_transport.observation import masked_address


@dataclass(frozen=True, slots=True)
class Sight:
    """One moment of a mail. `at`: seconds since the epoch. `letters`: the fates told, one for each recipient.

    `state`: the ledger's word; "fenced" where the verdict came too late. `envelope` and `told` are sealed as they were.
    """

    id: str
    attempts: int
    at: float
    envelope: bytes = field(repr=False)
    recipients: int = 1
    state: str = "sending"
    letters: str = ""
    told: bytes = field(default=b"", repr=False)
    error: str = ""
    delay_ms: int = 0

    @property
    def lane(self) -> str:
        """The mail's lane."""
        return lane_of(self.id)

    @classmethod
    def of_claim(cls, claim: Claim, at: float) -> "Sight":
        """See a mail being claimed."""
        return cls(claim.id, claim.attempts, at, claim.envelope, len(claim.recipients))

    @classmethod
    def of_settlement(cls, verdict: Settlement, state: str, at: float) -> "Sight":
        """See what became of an attempt."""
        claim = verdict.claim
        # What stays as it was and pending is deferred now; who had a fate before is not told again.
        letters = "".join(
            ("-" if old != "p" else "p" if new in "-p" else new)
            for old, new in zip(claim.recipients, verdict.letters, strict=True)
        )
        count = len(letters)
        return cls(
            claim.id, verdict.attempts, at, claim.envelope, count, state, letters, verdict.told, verdict.error,
            verdict.delay_ms,
        )  # fmt: skip

    def addresses(self, keys: KeyRing) -> Sequence[str]:
        """The recipients, masked; question marks without the key."""
        try:
            _, recipients, _ = open_envelope(self.id, self.envelope, keys)
        except SealError:
            return ("?",) * self.recipients
        return [masked_address(address) for address in recipients]

    def reports(self, letter: str, keys: KeyRing) -> tuple[RecipientReport, ...]:
        """Those recipients whose fate is `letter`, and what the relay said of them."""
        said = open_said(self.told, self.id, self.recipients, keys)
        return tuple(
            recipient_report(address, letter, one)
            for address, own, one in zip(self.addresses(keys), self.letters, said, strict=True)
            if own == letter
        )
