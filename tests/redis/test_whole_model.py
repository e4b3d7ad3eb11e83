"""The model with people in it: they cancel, requeue and purge, records are forgotten, bells get lost, calls are large.

`make model` looks for new stories; in the suite they are the same every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from mailworker.ledger import Claim, Claiming, LedgerPolicy, Settlement
from tests.redis.model import CHOICES, EARLY, HOMES, LANE, OWNERS, PARKED, LedgerMachine, Mail

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

MAY_CANCEL = {"scheduled", "ready", "deferred"}
MAY_REQUEUE = {"dead", "partial", "in_doubt", "expired", "cancelled"}
SEVERAL = st.lists(CHOICES, min_size=1, max_size=4)


class WholeMachine(LedgerMachine):
    """Every script takes part; each of these rules is one call for several mails, some of them perhaps twice."""

    def __init__(self, make_rig) -> None:
        super().__init__(make_rig)
        self.forgotten: list[Claim] = []
        self.gone: list[str] = []

    def some_mails(self, choices: list[int]) -> list[Mail]:
        mails = list(self.model.mails.values())
        return [mails[choice % len(mails)] for choice in choices]

    # people

    @precondition(lambda self: self.model.mails)
    @rule(choices=SEVERAL)
    def cancel(self, choices: list[int]) -> None:
        mails = self.some_mails(choices)
        expected = []
        for mail in mails:
            if mail.state in MAY_CANCEL:
                self.model.finish(mail, "cancelled")
            expected.append(mail.state)
        assert self.ledger.cancel(LANE, [mail.id for mail in mails]) == tuple(expected)

    @precondition(lambda self: any(mail.state in MAY_REQUEUE for mail in self.model.mails.values()))
    @rule(choices=SEVERAL)
    def requeue(self, choices: list[int]) -> None:
        ended = [mail for mail in self.model.mails.values() if mail.state in MAY_REQUEUE]
        mails = [*self.some_mails(choices[1:]), ended[choices[0] % len(ended)]]
        expected, again = [], []
        for mail in mails:
            if mail.state in MAY_REQUEUE:
                self.requeued(mail)
                again.append(mail)
            expected.append(mail.state)
        requeued = self.ledger.requeue(LANE, [mail.id for mail in mails], expires_in_ms=10**9)
        assert requeued.states == tuple(expected)
        assert requeued.bell_due == self.model.ring()
        for mail in again:
            mail.line = self.place_for(1 + mail.priority, mail.tenant)

    def requeued(self, mail: Mail) -> None:
        if "i" in mail.letters:
            self.model.flag(mail)
        mail.letters = mail.letters.replace("b", "p").replace("i", "p")
        mail.state, mail.attempts, mail.is_expired = "ready", 0, False
        self.model.count("requeued")
        self.ended.pop(mail.id, None)

    @precondition(lambda self: self.model.mails)
    @rule(choices=SEVERAL)
    def purge(self, choices: list[int]) -> None:
        mails = self.some_mails(choices)
        expected = []
        for mail in mails:
            if mail.id in self.gone:
                expected.append("unknown")
            elif mail.is_open:
                expected.append(mail.state)
            else:
                self.forget(mail)
                expected.append("purged")
        assert self.ledger.purge(LANE, [mail.id for mail in mails]) == tuple(expected)

    @precondition(lambda self: any(not mail.is_open for mail in self.model.mails.values()))
    @rule(choice=CHOICES)
    def the_time_of_an_ended_record_is_over(self, choice: int) -> None:
        """Redis drops the record; the next sweep drops what is left of it."""
        ended = [mail for mail in self.model.mails.values() if not mail.is_open]
        mail = ended[choice % len(ended)]
        assert self.rig.redis.pttl(self.rig.keys.record(mail.id)) > 0
        self.rig.redis.delete(self.rig.keys.record(mail.id))
        if mail.state in PARKED:
            self.rig.redis.zadd(getattr(self.rig.keys, PARKED[mail.state]), {mail.id: EARLY})
        self.forget(mail)
        self.sweep(hold=False)

    def forget(self, mail: Mail) -> None:
        del self.model.mails[mail.id]
        self.gone.append(mail.id)
        self.forgotten += [claim for claim in self.claims if claim.id == mail.id]
        self.claims = [claim for claim in self.claims if claim.id != mail.id]
        self.news = [new for new in self.news if new.id != mail.id]
        self.ended.pop(mail.id, None)

    @rule()
    def resume(self) -> None:
        assert self.ledger.pauses.resume(LANE) == (self.model.is_paused or self.model.failures > 0)
        self.model.is_paused, self.model.failures = False, 0

    # bells

    @precondition(lambda self: self.model.has_bell)
    @rule()
    def the_bell_is_lost(self) -> None:
        self.rig.redis.delete(self.rig.keys.bell)
        self.model.has_bell = False

    @rule()
    def ring(self) -> None:
        assert self.ledger.bells.ring(LANE) == (not self.model.has_bell)
        self.model.has_bell = True

    # workers

    @precondition(lambda self: self.claims)
    @rule(choices=SEVERAL, letter=st.sampled_from("-dbi"))
    def settle_several_at_once(self, choices: list[int], letter: str) -> None:
        told = [self.some_claim(choice) for choice in choices]
        verdicts = [Settlement(claim, letter * len(claim.recipients), delay_ms=10**9) for claim, _ in told]
        states = self.ledger.settle(LANE, verdicts)
        assert states == tuple(
            self.settled(claim, mail, letter * len(claim.recipients), is_duplicate=False) for claim, mail in told
        )

    @precondition(lambda self: self.model.line() and not self.model.is_paused)
    @rule(limit=st.integers(1, 4), owner=st.sampled_from(OWNERS))
    def an_answer_to_a_claim_is_lost(self, limit: int, owner: str) -> None:
        """Nobody knows of these claims; only their leases' end, or their process's, brings the mails back."""
        known = len(self.claims)
        self.claim(limit=limit, owner=owner, answering=False)
        del self.claims[known:]

    @precondition(lambda self: self.forgotten)
    @rule(choice=CHOICES)
    def a_late_worker_speaks_of_a_mail_that_is_gone(self, choice: int) -> None:
        claim = self.forgotten[choice % len(self.forgotten)]
        assert self.ledger.mark_dot(LANE, [claim], 60_000) == (False,)
        assert self.ledger.renew(LANE, [claim], 60_000) == (False,)
        assert self.ledger.settle(LANE, [Settlement(claim, "d" * len(claim.recipients))]) == ("fenced",)
        self.ledger.release(LANE, [claim])

    @precondition(lambda self: self.model.line())
    @rule(octets=st.integers(1, 30))
    def claim_few_octets(self, octets: int) -> None:
        """The first mail always; others while there is room."""
        line = self.model.line()
        if self.model.is_paused or any(mail.is_expired or mail.attempts >= 4 for mail in line):
            return
        fitting = max(1, octets // len(b"\x00body\xff"))
        batch = self.ledger.claim(LANE, Claiming(4, octets, 60_000, 4), answering=False)
        assert [claim.id for claim in batch.mails] == [mail.id for mail in line[: min(fitting, 4)]]
        for mail in line[: len(batch.mails)]:
            self.turns.has_come_to(mail.line)
            mail.state, mail.is_lease_over, mail.owner = "sending", False, ""
            mail.fence += 1
            mail.attempts += 1
        assert batch.bell_due == self.model.ring()
        self.claims += batch.mails

    # what must always hold

    @invariant()
    def the_homes_hold_the_open_mails_and_nothing_else(self) -> None:
        held = {name: self.rig.redis.zcard(getattr(self.rig.keys, name)) for name in ("ready", "due", "claims")}
        expected = dict.fromkeys(held, 0)
        for mail in self.model.mails.values():
            if mail.is_open:
                expected[HOMES[mail.state]] += 1
        assert held == expected
        stats = self.ledger.stats(LANE)
        assert {name: getattr(stats, name) for name in held} == held

    @invariant()
    def every_mail_in_line_stands_where_its_tenant_s_turn_is(self) -> None:
        assert {mail.id: self.place_of(mail) for mail in self.model.line()} == {
            mail.id: mail.line for mail in self.model.line()
        }

    @invariant()
    def what_waits_for_a_person_is_listed(self) -> None:
        for state, home in PARKED.items():
            parked = {mail.id for mail in self.model.mails.values() if mail.state == state}
            assert set(self.ledger.parked(LANE, home)) == parked

    @invariant()
    def every_mail_accepted_is_open_or_ended_or_was_forgotten(self) -> None:
        assert self.model.counts.get("accepted", 0) == len(self.model.mails) + len(self.gone)

    @invariant()
    def an_open_record_has_no_time_to_live(self) -> None:
        for mail in self.model.mails.values():
            assert (self.rig.redis.pttl(self.rig.keys.record(mail.id)) == -1) == mail.is_open


@pytest.mark.timeout(7200)
def test_no_story_of_people_workers_and_crashes_loses_or_doubles_a_mail(rig: Rig) -> None:
    """NF-REL-04."""

    def fresh() -> Rig:
        rig.redis.flushall()
        return type(rig)(rig.redis, LedgerPolicy(bell_ttl_ms=10**9))

    run_state_machine_as_test(
        lambda: WholeMachine(fresh),
        settings=settings(deadline=None, suppress_health_check=list(HealthCheck)),
    )
