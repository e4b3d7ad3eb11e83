"""Which of a batch's mails may go now, and through which relay: what a limit keeps back waits in the ledger.

Law: what is taken from limits for mails that do not go is given back. A mail goes by one relay within an attempt.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from mailworker.gate import Gate, LaneTerms, Pass, Weighed
from mailworker.settlement import Mail


@dataclass(frozen=True, slots=True)
class Load:
    """Mails that may go now, over one link. `places`: where they are in what was weighed."""

    mails: tuple[Mail, ...]
    places: tuple[int, ...]
    weighed: Weighed

    def places_of(self, ids: Collection[str]) -> list[int]:
        """Find those of these mails."""
        return [place for place, mail in zip(self.places, self.mails, strict=True) if mail.claim.id in ids]


@dataclass(frozen=True, slots=True)
class Loading:
    """Sorts mails of a lane by relay. `who` asks the gate; `postpone` puts mails on the schedule, for some ms each."""

    gate: Gate
    lane: LaneTerms
    who: str
    postpone: Callable[[Sequence[Mail], Sequence[int]], None]

    def of(self, leave: Pass, mails: Sequence[Mail]) -> Iterator[tuple[Pass, Load]]:
        """Give what may go now, by the relay that it goes to; what a limit keeps back waits in the ledger."""
        gate, lane = self.gate, self.lane
        own: list[Mail] = []
        by_domain: dict[str, list[Mail]] = {}
        for mail in mails:
            domain = mail.domains[0] if lane.sticky_domains and not leave.is_probe else ""
            is_own = not domain or gate.is_first_for(lane, leave.relay, domain)
            (own if is_own else by_domain.setdefault(domain, [])).append(mail)
        yield from self._weighed(leave, own)
        if by_domain:
            # What is not used here may be what is missing there.
            gate.give_back(leave)
        for domain, those in by_domain.items():
            other = gate.enter(lane, self.who, len(those), domain)
            if not isinstance(other, Pass):
                self.postpone(those, [other.ms] * len(those))
                continue
            with gate.returning(other):
                left = those[other.mails :]
                self.postpone(left, [other.grant.wait_ms] * len(left))
                yield from self._weighed(other, those[: other.mails])

    def _weighed(self, leave: Pass, mails: Sequence[Mail]) -> Iterator[tuple[Pass, Load]]:
        """Keep back what the limits on recipients and domains do not let go now."""
        weighed = self.gate.weigh(self.lane, leave, [mail.domains for mail in mails])
        late = [(mail, wait) for mail, wait in zip(mails, weighed.waits, strict=True) if wait]
        self.postpone([mail for mail, _ in late], [wait for _, wait in late])
        places = tuple(place for place, wait in enumerate(weighed.waits) if not wait)
        if places:
            yield leave, Load(tuple(mails[place] for place in places), places, weighed)
