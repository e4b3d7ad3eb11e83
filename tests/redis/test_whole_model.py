"""The model with people in it: they cancel, requeue and purge, records are forgotten, bells get lost, calls are large.

`make model` looks for new stories; in the suite they are the same every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from mailworker.ledger import Claim, Claiming, LedgerPolicy, Settlement, Untold
from mailworker.record import Unreadable
from tests.redis.model import CHOICES, EARLY, HOMES, LANE, LEAVES, OWNERS, PARKED, LedgerMachine, Mail

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

MAY_CANCEL = {"scheduled", "ready", "deferred"}
MAY_REQUEUE = {"dead", "partial", "in_doubt", "expired", "cancelled", "quarantined"}
SEVERAL = st.lists(CHOICES, min_size=1, max_size=4)


class WholeMachine(LedgerMachine):
    """Every script takes part; each of these rules is one call for several mails, some of them perhaps twice."""

    def __init__(self, make_rig) -> None:
        super().__init__(make_rig)
        self.forgotten: list[Claim] = []
        self.gone: list[str] = []
        self.tellings: list[Untold] = []

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

    @property
    def done_with(self) -> list[Mail]:
        """Mails that have ended, of which nobody has to be told any more."""
        return [mail for mail in self.model.mails.values() if not mail.is_open and mail.id not in self.model.untold]

    @precondition(lambda self: self.done_with)
    @rule(choice=CHOICES)
    def the_time_of_an_ended_record_is_over(self, choice: int) -> None:
        """Redis drops the record; the next sweep drops what is left of it."""
        mail = self.done_with[choice % len(self.done_with)]
        assert self.rig.redis.pttl(self.rig.keys.record(mail.id)) > 0
        self.rig.redis.delete(self.rig.keys.record(mail.id))
        if mail.state in PARKED:
            self.rig.redis.zadd(self.rig.keys.parked(mail.state), {mail.id: EARLY})
        self.forget(mail)
        self.sweep(hold=False)

    def forget(self, mail: Mail) -> None:
        del self.model.mails[mail.id]
        self.gone.append(mail.id)
        self.forgotten += [claim for claim in self.claims if claim.id == mail.id]
        self.claims = [claim for claim in self.claims if claim.id != mail.id]
        self.news = [new for new in self.news if new.id != mail.id]
        self.ended.pop(mail.id, None)
        self.model.untold.pop(mail.id, None)

    @rule(by_hand=st.booleans())
    def resume(self, *, by_hand: bool) -> None:
        model = self.model
        may = by_hand or not model.is_paused_by_hand
        assert self.ledger.pauses.resume(LANE, by_hand=by_hand) == (may and model.pause is not None)
        if may:
            model.end_pause()

    @rule(by_hand=st.booleans())
    def rest(self, *, by_hand: bool) -> None:
        model = self.model
        may = by_hand or not model.is_paused_by_hand
        assert self.ledger.pauses.rest(LANE, 10**9, "why", by_hand=by_hand) == may
        if may:
            model.is_paused, model.failures, model.has_bell, model.waiter = True, 0, False, None
            model.pause = "hand" if by_hand else "rest"
        assert (self.ledger.pauses.by_hand_ms(LANE) > 0) == model.is_paused_by_hand

    @rule(leave=st.sampled_from(LEAVES), is_undone=st.booleans())
    def recall(self, leave: tuple[str, int], *, is_undone: bool) -> None:
        """A person moves a relay's breaker: leave of an earlier epoch is worth nothing, unless it is closed again."""
        relay, epoch = leave
        self.ledger.pauses.recall(LANE, relay, None if is_undone else epoch)
        self.model.recalled = {} if is_undone else {relay: epoch}

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

    @rule(who=st.sampled_from("ab"), answering=st.booleans())
    def wait_until_mails_may_be_sent(self, who: str, *, answering: bool) -> None:
        model = self.model
        stays = bool(model.line()) and model.waiter in {None, who}
        assert self.ledger.bells.wait(LANE, who, 3_600_000, answering=answering) == stays
        model.waiter = who if stays else model.waiter
        if answering:
            self.rig.redis.delete(self.rig.keys.bell)  # one that was heard in vain is gone in a moment
            model.has_bell = False

    @rule(who=st.sampled_from("ab"))
    def hand_on(self, who: str) -> None:
        model = self.model
        model.has_bell = False
        model.waiter = None if model.waiter == who else model.waiter
        assert self.ledger.bells.hand_on(LANE, who) == model.ring()

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

    @precondition(lambda self: self.claims)
    @rule(choices=SEVERAL)
    def limits_keep_several_back(self, choices: list[int]) -> None:
        kept_back = [self.some_claim(choice) for choice in choices]
        self.ledger.postpone(LANE, [claim for claim, _ in kept_back], [10**9] * len(kept_back))
        for claim, mail in kept_back:
            if mail.owns(claim) and not mail.is_marked:
                mail.state = "deferred"
                mail.attempts -= 1
                self.note_when_due(mail)

    @precondition(lambda self: self.claims)
    @rule(choices=SEVERAL, may_heal=st.booleans())
    def several_cannot_be_read(self, choices: list[int], *, may_heal: bool) -> None:
        told = [self.some_claim(choice) for choice in choices]
        expected = [self.set_aside(claim, mail, may_heal=may_heal) for claim, mail in told]
        mails = [Unreadable(claim.id, claim.fence, "why", may_heal) for claim, _ in told]
        assert self.ledger.set_aside(LANE, mails) == tuple(expected)
        for _, mail in told:
            if mail.state == "deferred":
                self.note_when_due(mail)

    def set_aside(self, claim: Claim, mail: Mail, *, may_heal: bool) -> str:
        if not mail.owns(claim):
            return "fenced"
        if not may_heal:
            if mail.is_marked:
                self.model.flag(mail)
            self.model.finish(mail, "quarantined")
        elif not mail.is_marked:
            mail.state, mail.is_unreadable = "deferred", True
            mail.attempts -= 1
            self.model.count("unreadable")
        return mail.state

    # whom to tell

    @precondition(lambda self: self.model.untold)
    @rule()
    def ends_are_told(self) -> None:
        untold = self.model.untold
        ended = {i: self.model.mails[i].state for i, busy in untold.items() if not busy and i in self.model.mails}
        expected = {i: state for i, state in ended.items() if state not in HOMES}
        told = self.ledger.outbox.take(LANE, 100, 10**9)
        assert {mail.id: mail.state for mail in told} == expected
        for mail_id in [i for i, busy in untold.items() if not busy]:
            if mail_id in expected:
                untold[mail_id] = True
            else:
                del untold[mail_id]
        self.tellings += told

    @precondition(lambda self: self.tellings)
    @rule(choices=SEVERAL)
    def it_is_reported_that_ends_were_told(self, choices: list[int]) -> None:
        """Perhaps late, when the mail was given another go, and has ended again."""
        told = {self.tellings[choice % len(self.tellings)].id: choice for choice in choices}
        mails = [self.tellings[choice % len(self.tellings)] for choice in told.values()]
        records = {mail.id: self.ledger.read(mail.id) for mail in mails}
        self.ledger.outbox.told(LANE, mails)
        for mail in mails:
            record = records[mail.id]
            if record is not None and (record.state, record.ended_ms) == (mail.state, mail.ended_ms):
                self.model.untold.pop(mail.id, None)
                if mail.state == "sent":
                    self.model.mails[mail.id].has_callbacks = False

    @precondition(lambda self: any(self.model.untold.values()))
    @rule()
    def who_told_has_died(self) -> None:
        for mail_id, is_busy in self.model.untold.items():
            if is_busy:
                self.rig.redis.zadd(self.rig.keys.untold, {mail_id: EARLY})
        self.model.untold = dict.fromkeys(self.model.untold, False)

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
        for state in PARKED:
            parked = {mail.id for mail in self.model.mails.values() if mail.state == state}
            assert set(self.ledger.parked(LANE, state)) == parked

    @invariant()
    def an_end_that_somebody_asked_for_is_told_or_will_be(self) -> None:
        untold = {mail.decode() for mail in self.rig.redis.zrange(self.rig.keys.untold, 0, -1)}
        assert untold == set(self.model.untold)

    @invariant()
    def every_mail_accepted_is_open_or_ended_or_was_forgotten(self) -> None:
        assert self.model.counts.get("accepted", 0) == len(self.model.mails) + len(self.gone)

    @invariant()
    def an_open_record_has_no_time_to_live(self) -> None:
        for mail in self.model.mails.values():
            assert (self.rig.redis.pttl(self.rig.keys.record(mail.id)) == -1) == mail.is_open


_USUAL_STORIES = 100


@pytest.mark.timeout(7200)
def test_no_story_of_people_workers_and_crashes_loses_or_doubles_a_mail(rig: Rig) -> None:
    """NF-REL-04."""

    def fresh() -> Rig:
        rig.redis.flushall()
        return type(rig)(rig.redis, LedgerPolicy(bell_ttl_ms=10**9))

    of_profile = settings().max_examples
    stories = of_profile if of_profile > _USUAL_STORIES else _USUAL_STORIES // 2  # of which there are two servers
    run_state_machine_as_test(
        lambda: WholeMachine(fresh),
        settings=settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=stories),
    )
