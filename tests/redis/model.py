"""A model of the ledger in plain Python: workers, a sweep, crashes, in any order. `test_whole_model` runs it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mailworker.ledger import Claim, Claiming, NewMail, Pause, Settlement
from tests.redis.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.redis.conftest import Rig

LANE = "news"
EARLY = 1_700_000_000_000
MOST_ATTEMPTS = 4
HOMES = {"scheduled": "due", "deferred": "due", "ready": "ready", "sending": "claims"}
PARKED = ("dead", "in_doubt", "partial", "expired", "cancelled", "quarantined")
COUNTED_AS = {"sent": "delivered"}
SHARES = {"": 1, "a": 1, "b": 3}
LEAVES = (("relay", 3), ("relay", 5))
OWNERS = ("", "here:1", "here:2", "there:1")
CHOICES = st.integers(0, 10**6)


@dataclass
class Mail:
    """What the model believes of a mail. `line` is its place in the queue: rank, virtual time."""

    id: str
    priority: int
    accepted: int
    letters: str
    state: str
    line: tuple[int, int]
    tenant: str = ""
    owner: str = ""
    fence: int = 0
    attempts: int = 0
    is_marked: bool = False
    is_expired: bool = False
    is_lease_over: bool = False
    is_unreadable: bool = False
    has_callbacks: bool = False
    duplicates: int = 0
    due: int = 0

    @property
    def is_open(self) -> bool:
        return self.state in HOMES

    @property
    def is_waiting(self) -> bool:
        """Whether a sweep has something to do for it."""
        return self.is_due if HOMES.get(self.state) == "due" else self.state == "sending" and self.is_lease_over

    @property
    def is_due(self) -> bool:
        return self.due < EARLY + 10**6

    def owns(self, claim: Claim) -> bool:
        return self.state == "sending" and self.fence == claim.fence


@dataclass
class Model:
    mails: dict[str, Mail] = attribute(default_factory=dict)
    keys: dict[str, str] = attribute(default_factory=dict)
    counts: dict[str, int] = attribute(default_factory=dict)
    has_bell: bool = False
    waiter: str | None = None
    failures: int = 0
    is_paused: bool = False
    # Why the lane is left alone, or was: "" for its relay's failures, None where nothing is known.
    pause: str | None = None
    # By id: whether somebody is telling it now.
    untold: dict[str, bool] = attribute(default_factory=dict)
    recalled: dict[str, int] = attribute(default_factory=dict)

    @property
    def is_paused_by_hand(self) -> bool:
        return self.is_paused and self.pause == "hand"

    def end_pause(self) -> None:
        self.is_paused, self.failures, self.pause = False, 0, None

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def line(self) -> list[Mail]:
        ready = [mail for mail in self.mails.values() if mail.state == "ready"]
        return sorted(ready, key=lambda mail: (mail.line, mail.id))

    def ring(self) -> bool:
        if self.has_bell or self.is_paused or not self.line():
            return False
        self.has_bell = True
        return True

    def finish(self, mail: Mail, state: str) -> None:
        mail.state, mail.is_marked, mail.is_unreadable = state, False, False
        self.count(COUNTED_AS.get(state, state))
        if mail.has_callbacks:
            self.untold[mail.id] = False

    def expire(self, mail: Mail) -> None:
        """Of what nobody could read somebody is to know."""
        self.finish(mail, "quarantined" if mail.is_unreadable else "expired")

    def flag(self, mail: Mail) -> None:
        mail.duplicates += 1
        self.count("possible_duplicates")


def ending_of(letters: str) -> str:
    if "i" in letters:
        return "in_doubt"
    if "d" not in letters:
        return "dead"
    return "partial" if "b" in letters else "sent"


class LedgerMachine(RuleBasedStateMachine):
    """Every rule does something to the ledger and to the model, and compares the answers."""

    def __init__(self, make_rig: Callable[[], Rig]) -> None:
        super().__init__()
        self.rig = make_rig()
        self.ledger = self.rig.ledger
        self.model = Model()
        self.turns = Turns(lambda rank: int(self.rig.redis.hget(self.rig.keys.turns, str(rank)) or 0))
        self.claims: list[Claim] = []
        self.news: list[NewMail] = []
        self.fences: dict[str, int] = {}
        self.ended: dict[str, str] = {}

    def place_for(self, rank: int, tenant: str) -> tuple[int, int]:
        return self.turns.take(rank, tenant, SHARES[tenant])

    def place_of(self, mail: Mail) -> tuple[int, int]:
        """Where the mail stands in truth."""
        score = int(self.rig.redis.zscore(self.rig.keys.ready, mail.id) or 0)
        return score // 10**13, score % 10**13

    def some_claim(self, choice: int) -> tuple[Claim, Mail]:
        """Any claim ever made: its worker may have lost it long ago and not know."""
        claim = self.claims[-1 - choice % len(self.claims)]
        return claim, self.model.mails[claim.id]

    @initialize(priorities=st.tuples(*[st.integers(0, 9)] * 3))
    def begin_in_the_middle(self, priorities: tuple[int, ...]) -> None:
        """One mail marked, one claimed, one in line: most stories need these first."""
        for priority in priorities:
            self.accept(priority=priority, recipients=2, key="", tenant="", is_later=False)
        self.claim(limit=2, answering=True)
        self.mark_dot(choice=0)

    # producers

    @rule(
        priority=st.integers(0, 9),
        recipients=st.integers(1, 3),
        key=st.sampled_from(["", "", "a", "b", "c"]),
        tenant=st.sampled_from(sorted(SHARES)),
        is_later=st.booleans(),
        callbacks=st.sampled_from([b"", b"whom"]),
    )
    def accept(
        self, priority: int, recipients: int, key: str, tenant: str, *, is_later: bool, callbacks: bytes = b""
    ) -> None:
        digest = hashlib.sha256(key.encode()).hexdigest() if key else None
        delay = 10**9 if is_later else 0
        said = {"tenant": tenant, "share": SHARES[tenant], "callbacks": callbacks}
        mail = self.rig.new(priority=priority, recipients=recipients, key=digest, delay_ms=delay, **said)
        acceptance = self.ledger.accept(LANE, [mail])
        (outcome,) = acceptance.outcomes
        if key in self.model.keys:
            assert (outcome.status, outcome.id) == ("duplicate", self.model.keys[key])
            assert not acceptance.bell_due
            return
        assert (outcome.status, outcome.id) == ("accepted", mail.id)
        record = self.ledger.read(mail.id)
        assert record is not None
        state = "scheduled" if is_later else "ready"
        line = (0, 0) if is_later else self.place_for(1 + priority, tenant)
        self.model.mails[mail.id] = Mail(mail.id, priority, record.accepted_ms, "p" * recipients, state, line, tenant)
        self.model.mails[mail.id].due = record.due_ms or 0
        self.model.mails[mail.id].has_callbacks = bool(callbacks)
        if key:
            self.model.keys[key] = mail.id
        self.news.append(mail)
        self.model.count("accepted")
        assert acceptance.bell_due == (not is_later and self.model.ring())

    @precondition(lambda self: self.news)
    @rule(choice=CHOICES)
    def accept_again(self, choice: int) -> None:
        mail = self.news[choice % len(self.news)]
        acceptance = self.ledger.accept(LANE, [mail])
        assert [(o.status, o.id) for o in acceptance.outcomes] == [("already", mail.id)]
        assert not acceptance.bell_due

    # workers

    @precondition(lambda self: self.model.line())
    @rule(limit=st.integers(1, 4), owner=st.sampled_from(OWNERS), answering=st.booleans())
    def claim(self, limit: int, owner: str = "", *, answering: bool) -> None:
        model = self.model
        if answering:
            model.has_bell = False
        batch = self.ledger.claim(LANE, Claiming(limit, 10**6, 60_000, MOST_ATTEMPTS, owner), answering=answering)
        expected = []
        for mail in model.line() if not model.is_paused else []:
            if len(expected) == limit:
                break
            if mail.is_expired or mail.attempts == MOST_ATTEMPTS:
                model.expire(mail) if mail.is_expired else model.finish(mail, "dead")
                continue
            mail.state, mail.is_lease_over, mail.owner = "sending", False, owner
            mail.fence += 1
            mail.attempts += 1
            self.turns.has_come_to(mail.line)
            expected.append((mail.id, mail.fence, mail.attempts, mail.letters, mail.duplicates))
        got = [(c.id, c.fence, c.attempts, c.recipients, c.possible_duplicates) for c in batch.mails]
        assert got == expected
        assert (batch.paused_ms > 0) == model.is_paused
        assert batch.ready_left == len(model.line())
        assert batch.bell_due == model.ring()
        self.claims += batch.mails

    @precondition(lambda self: self.claims)
    @rule(choice=CHOICES)
    def mark_dot(self, choice: int) -> None:
        claim, mail = self.some_claim(choice)
        assert self.ledger.mark_dot(LANE, [claim], 60_000) == (mail.owns(claim),)
        if mail.owns(claim):
            mail.is_marked, mail.is_lease_over = True, False

    @precondition(lambda self: self.claims)
    @rule(choice=CHOICES)
    def renew(self, choice: int) -> None:
        claim, mail = self.some_claim(choice)
        assert self.ledger.renew(LANE, [claim], 60_000) == (mail.owns(claim),)
        if mail.owns(claim):
            mail.is_lease_over = False

    @precondition(lambda self: self.claims)
    @rule(
        choice=CHOICES,
        letters=st.text("-pdbi", min_size=3, max_size=3),
        how=st.sampled_from(["", "is_untried", "is_possible_duplicate"]),
    )
    def settle(self, choice: int, letters: str, how: str) -> None:
        claim, mail = self.some_claim(choice)
        letters = letters[: len(claim.recipients)]
        verdict = Settlement(claim, letters, delay_ms=10**9, note='{"n":1}', **({how: True} if how else {}))
        (state,) = self.ledger.settle(LANE, [verdict])
        mail.attempts -= how == "is_untried" and mail.owns(claim)
        assert state == self.settled(claim, mail, letters, is_duplicate=how == "is_possible_duplicate")

    @precondition(lambda self: self.claims)
    @rule(
        told=st.lists(st.tuples(CHOICES, st.sampled_from("-pdbi")), max_size=3),
        marked=st.lists(CHOICES, max_size=3),
        leave=st.sampled_from([("", 0), *LEAVES]),
    )
    def turn(self, told: list[tuple[int, str]], marked: list[int], leave: tuple[str, int]) -> None:
        verdicts, states = [], []
        for choice, letter in told:
            claim, mail = self.some_claim(choice)
            letters = letter * len(claim.recipients)
            verdicts.append(Settlement(claim, letters, delay_ms=10**9))
            states.append((claim, mail, letters))
        claims = [self.some_claim(choice) for choice in marked]
        answer = self.ledger.turn(LANE, verdicts, [claim for claim, _ in claims], 60_000, leave)
        assert answer[0] == tuple(self.settled(*each, is_duplicate=False) for each in states)
        is_stopped = self.model.is_paused_by_hand or self.model.recalled.get(leave[0], 0) > leave[1]
        owned = tuple(mail.owns(claim) for claim, mail in claims)
        assert answer[1] == (None if claims and is_stopped else owned)
        for claim, mail in claims:
            if mail.owns(claim) and not is_stopped:
                mail.is_marked, mail.is_lease_over = True, False

    def settled(self, claim: Claim, mail: Mail, letters: str, *, is_duplicate: bool) -> str:
        is_own = mail.fence == claim.fence
        if not mail.is_open:
            return mail.state if is_own else "fenced"
        is_owner = mail.owns(claim)
        before, mail.letters = (
            mail.letters,
            "".join(
                new if new == "d" or (is_owner and old == "p" and new in "bi") else old
                for old, new in zip(mail.letters, letters, strict=True)
            ),
        )
        if mail.letters.count("d") > before.count("d") and not self.model.pause:
            self.model.end_pause()
        if is_owner and is_duplicate:
            self.model.flag(mail)
        if "p" not in mail.letters:
            self.model.finish(mail, ending_of(mail.letters))
            return mail.state
        if is_owner:
            mail.state, mail.is_marked, mail.is_unreadable = "deferred", False, False
            self.model.count("deferred")
            self.note_when_due(mail)
        return mail.state if is_own else "fenced"

    def note_when_due(self, mail: Mail) -> None:
        # The same call may have ended it since.
        mail.due = int(self.rig.redis.zscore(self.rig.keys.due, mail.id) or 0)

    @precondition(lambda self: self.claims)
    @rule(choice=CHOICES, is_pause=st.booleans(), is_unsent=st.booleans())
    def release(self, choice: int, *, is_pause: bool, is_unsent: bool) -> None:
        claim, mail = self.some_claim(choice)
        pause = Pause(10**8, 10**9, "why") if is_pause else None
        self.ledger.release(LANE, [claim], pause, unsent={claim.id} if is_unsent else ())
        if mail.owns(claim) and (is_unsent or not mail.is_marked):
            mail.is_marked = False
            mail.state, mail.line = "ready", self.place_of(mail)
            if self.turns.knows(1 + mail.priority):
                assert mail.line == (1 + mail.priority, self.turns.front(1 + mail.priority))
            mail.attempts -= 1
        if is_pause and not self.model.is_paused_by_hand:
            if not self.model.is_paused:
                self.model.pause = ""
            # Who meets the same trouble at the same time counts once.
            self.model.failures = max(0, self.model.failures - self.model.is_paused) + 1
            self.model.is_paused = True

    # time

    @precondition(lambda self: self.claims)
    @rule(choice=CHOICES)
    def a_lease_ends(self, choice: int) -> None:
        _, mail = self.some_claim(choice)
        if mail.state == "sending":
            self.rig.redis.zadd(self.rig.keys.claims, {mail.id: EARLY})
            mail.is_lease_over = True

    @precondition(lambda self: any(mail.state == "sending" and mail.owner for mail in self.model.mails.values()))
    @rule(dead=st.sets(st.sampled_from(OWNERS[1:]), min_size=1), hold=st.booleans())
    def processes_die_and_it_is_known(self, dead: set[str], *, hold: bool) -> None:
        """What they say later is said by `some_claim`; another process may come to bear the name."""
        done = dict.fromkeys(("recovered", "expired", "in_doubt"), 0)
        for mail in self.model.mails.values():
            if mail.state == "sending" and mail.owner in dead:
                done[self.recovered(mail, is_hold=hold)] += 1
        sweep = self.ledger.departed.bury(LANE, lambda name: name in dead, hold=hold)
        assert (sweep.recovered, len(sweep.expired), len(sweep.in_doubt)) == tuple(done.values())
        assert sweep.bell_due == (any(done.values()) and self.model.ring())

    @precondition(lambda self: any(mail.state == "sending" for mail in self.model.mails.values()))
    @rule(hold=st.booleans())
    def all_workers_die_and_others_take_over(self, *, hold: bool) -> None:
        """A short cut to where stale claims are many."""
        self.rig.end_leases()
        for mail in self.model.mails.values():
            mail.is_lease_over = mail.state == "sending"
        self.sweep(hold=hold)
        self.claim(limit=4, answering=True)

    @precondition(lambda self: self.news)
    @rule(choice=CHOICES)
    def a_mail_expires(self, choice: int) -> None:
        mail = self.model.mails[self.news[choice % len(self.news)].id]
        if mail.is_open:
            self.rig.expire(mail.id)
            mail.is_expired = True

    @precondition(lambda self: any(HOMES.get(mail.state) == "due" for mail in self.model.mails.values()))
    @rule()
    def everything_is_due(self) -> None:
        self.rig.make_due()
        waiting = [mail for mail in self.model.mails.values() if HOMES.get(mail.state) == "due"]
        for place, mail in enumerate(sorted(waiting, key=lambda mail: (mail.due, mail.id))):
            mail.due = EARLY + place

    @precondition(lambda self: self.model.is_paused)
    @rule()
    def the_pause_is_over(self) -> None:
        self.rig.end_pause()
        self.model.is_paused = False

    @precondition(lambda self: any(mail.is_waiting for mail in self.model.mails.values()))
    @rule(hold=st.booleans())
    def sweep(self, *, hold: bool) -> None:
        model = self.model
        done = dict.fromkeys(("due", "recovered", "expired", "in_doubt"), 0)
        if not model.line():
            self.turns.forget()
        woken = []
        for mail in model.mails.values():
            if HOMES.get(mail.state) == "due" and mail.is_due:
                if mail.is_expired:
                    model.expire(mail)
                    done["expired"] += 1
                else:
                    woken.append(mail)
                    done["due"] += 1
            elif mail.state == "sending" and mail.is_lease_over:
                done[self.recovered(mail, is_hold=hold)] += 1
        sweep = self.ledger.sweep(LANE, hold=hold)
        got = {"due": sweep.due, "recovered": sweep.recovered, "expired": len(sweep.expired)}
        got["in_doubt"] = len(sweep.in_doubt)
        assert got == done
        for mail in sorted(woken, key=lambda mail: (mail.due, mail.id)):
            mail.state, mail.line = "ready", self.place_for(1 + mail.priority, mail.tenant)
        assert sweep.bell_due == model.ring()

    def recovered(self, mail: Mail, *, is_hold: bool) -> str:
        if mail.is_marked and (is_hold or mail.is_expired):
            mail.letters = mail.letters.replace("p", "i")
            self.model.finish(mail, "in_doubt")
            return "in_doubt"
        if mail.is_expired:
            self.model.expire(mail)
            return "expired"
        if mail.is_marked:
            self.model.flag(mail)
        mail.state, mail.is_marked, mail.line = "ready", False, (0, mail.accepted)
        mail.fence += 1
        self.model.count("recovered")
        return "recovered"

    # what must always hold

    @invariant()
    def every_mail_is_as_the_model_says(self) -> None:
        for mail in self.model.mails.values():
            record = self.ledger.read(mail.id)
            assert record is not None, "a mail is lost"
            got = (record.state, record.recipients, record.fence, record.attempts, record.possible_duplicates)
            assert got == (mail.state, mail.letters, mail.fence, mail.attempts, mail.duplicates)
            assert record.phase == ("dot" if mail.is_marked else "")
            assert (record.payload_bytes > 0) == (mail.state != "sent")

    @invariant()
    def every_open_mail_has_exactly_one_home(self) -> None:
        for mail in self.model.mails.values():
            home = HOMES.get(mail.state) or mail.state
            assert self.rig.homes(mail.id) == [home] * (mail.is_open or home in {"dead", "in_doubt"})

    @invariant()
    def fences_never_fall_and_ends_are_final(self) -> None:
        for mail in self.model.mails.values():
            record = self.ledger.read(mail.id)
            assert record is not None
            assert record.fence >= self.fences.get(mail.id, 0)
            self.fences[mail.id] = record.fence
            if record.state.is_final:
                assert self.ended.setdefault(mail.id, record.state) == record.state
                assert record.ended_ms is not None

    @invariant()
    def the_counters_count_each_mail_once(self) -> None:
        stats = self.ledger.stats(LANE)
        assert stats.counts == self.model.counts
        assert (stats.pause_failures, stats.paused_ms > 0) == (self.model.failures, self.model.is_paused)
