"""What became of each recipient of one mail, while it is on its way."""

from collections.abc import Sequence

from smtp_transport.connection.trouble import at_phase, moved, shutdown, without_frames
from smtp_transport.errors import SmtpError
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt, RecipientReceipt
from smtp_transport.reply import Reply


class Fates:
    """What is known so far. A fate is noted once and stays.

    A mail may need several transactions, each for some of its recipients: `whom` are their positions in the envelope.
    `open` counts the transactions that are not over. `position` is the mail's own, `started` when its turn came.
    """

    __slots__ = ("_at_stake", "_known", "_recipients", "error", "open", "position", "started")

    def __init__(self, recipients: Sequence[str], position: int, started: float, transactions: int = 1) -> None:
        self.position = position
        self.started = started
        self._recipients = recipients
        self._known: list[RecipientReceipt | None] = [None] * len(recipients)
        self._at_stake: tuple[int, ...] = ()
        self.error: SmtpError | None = None
        self.open = transactions

    def pending(self, whom: Sequence[int]) -> list[int]:
        """Those of them who may still get the mail."""
        known = self._known
        return [position for position in whom if known[position] is None]

    def awaits(self, whom: Sequence[int]) -> bool:
        """Whether one of them may still get the mail."""
        known = self._known
        for position in whom:  # noqa: SIM110 - any() takes twice as long for one recipient, and most mails have one
            if known[position] is None:
                return True
        return False

    def settle(self, whom: Sequence[int], phase: Phase, reply: Reply) -> None:
        """Note the reply that decides about those of them who are pending.

        Raises `ProtocolError` if the server leaves with it: nothing more can be said.
        """
        known = self._known
        for position in whom:
            if known[position] is None:
                known[position] = RecipientReceipt(self._recipients[position], phase, reply)
        if reply.code == 421:
            raise shutdown(reply, phase)

    def stake(self, whom: tuple[int, ...]) -> None:
        """Note that the end of their content begins to be written: from here on they may get the mail, whatever comes.

        Those before whose fate is still unknown stay at stake.
        """
        self._at_stake = (*self.pending(self._at_stake), *whom) if self._at_stake else whom

    def unstake(self, whom: Sequence[int]) -> None:
        """Note that the server cannot have understood their content."""
        self._at_stake = tuple([position for position in self._at_stake if position not in whom])

    def forget(self, whom: Sequence[int]) -> None:
        """Take back all that was noted of them: the replies belonged to something else."""
        for position in whom:
            self._known[position] = None

    def fail(self, error: SmtpError, phase: Phase = Phase.MAIL) -> None:
        """Note what broke, in `phase` unless the error knows its own: whoever is pending fell with it."""
        error = at_phase(error, phase)
        self.open = 0
        if self.error is not None:
            return
        if self.pending(self._at_stake):
            error = moved(error, Phase.DOT)
        elif error.phase is Phase.DOT and None in self._known:
            error = moved(error, Phase.BODY)
        self.error = without_frames(error)

    def receipt(self, duration: float) -> Receipt:
        """Sum up."""
        if all(self._known):
            return Receipt(tuple(self._known), self.error, duration)  # type: ignore[arg-type]  # mypy cannot see it
        phase = (self.error.phase if self.error else None) or Phase.MAIL
        if phase is Phase.DOT:
            # The error's phase is that of the transaction that broke: the others of this mail were not begun.
            phase = Phase.MAIL
        recipients = [
            fate or RecipientReceipt(self._recipients[position], Phase.DOT if position in self._at_stake else phase)
            for position, fate in enumerate(self._known)
        ]
        return Receipt(tuple(recipients), self.error, duration)
