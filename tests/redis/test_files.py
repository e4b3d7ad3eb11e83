"""Files that mails share: there as long as a mail needs them, and no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import exceptions

from mailworker.ledger import Claim, LedgerFullError, Settlement
from mailworker.record import SharedFile

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
HOUR = 3_600_000
ONE, TWO = SharedFile("1" * 64, b"x" * 50), SharedFile("2" * 64, b"y" * 70)


def store(rig: Rig, *files: SharedFile) -> None:
    for file in files:
        rig.ledger.files.store(LANE, file.name, file.content)


def refs(rig: Rig, file: SharedFile = ONE) -> int | None:
    count = rig.redis.hget(rig.keys.file(file.name), "refs")
    return None if count is None else int(count)


def is_there(rig: Rig, file: SharedFile = ONE) -> bool:
    return rig.ledger.files.read(LANE, file.name) is not None


def test_no_mail_is_accepted_before_its_files_are_there(rig: Rig) -> None:
    mails = [rig.new(files=(ONE, TWO)), rig.new()]
    store(rig, TWO)
    acceptance = rig.ledger.accept(LANE, mails)
    assert (acceptance.outcomes, acceptance.missing) == ((), (ONE.name,))
    assert rig.ledger.read(mails[1].id) is None
    store(rig, ONE)
    assert len(rig.ledger.accept(LANE, mails).outcomes) == 2
    assert rig.ledger.files.read(LANE, ONE.name) == ONE.content


def test_a_file_lives_until_the_last_mail_that_carries_it_is_sent(rig: Rig) -> None:
    store(rig, ONE)
    for _ in range(3):
        rig.accept(files=(ONE,))
    assert rig.redis.pttl(rig.keys.file(ONE.name)) == -1
    for left in (2, 1):
        rig.settle(rig.claim(limit=1), "d")
        assert refs(rig) == left
    claim = rig.claim()
    rig.settle(claim, "d")
    assert not is_there(rig)
    rig.settle(claim, "d")
    assert rig.redis.exists(rig.keys.file(ONE.name)) == 0


def test_a_file_that_no_mail_came_to_need_goes_by_itself(rig: Rig) -> None:
    store(rig, ONE)
    assert 0 < rig.redis.pttl(rig.keys.file(ONE.name)) <= HOUR


def test_a_file_is_counted_once_for_each_mail_that_stands(rig: Rig) -> None:
    store(rig, ONE)
    mail = rig.new(files=(ONE,), key="a" * 64)
    rig.accept_outcome(mail)
    assert rig.accept_outcome(mail).status == "already"
    assert rig.accept_outcome(rig.new(files=(ONE,), key="a" * 64)).status == "duplicate"
    assert refs(rig) == 1


def test_a_file_stays_for_a_mail_that_may_be_given_another_go(rig: Rig) -> None:
    store(rig, ONE)
    mail = rig.accept(files=(ONE,))
    rig.settle(rig.claim(), "b")
    assert is_there(rig)
    assert rig.redis.pttl(rig.keys.record(mail)) == -1
    rig.ledger.requeue(LANE, [mail], HOUR)
    assert is_there(rig)
    rig.settle(rig.claim(), "d")
    assert not is_there(rig)


def test_a_file_goes_with_the_last_record_that_names_it(rig: Rig) -> None:
    store(rig, ONE)
    purged, kept = rig.accept(files=(ONE,)), rig.accept(files=(ONE,))
    rig.ledger.cancel(LANE, [purged, kept])
    rig.ledger.purge(LANE, [purged])
    assert refs(rig) == 1
    rig.redis.zadd(rig.keys.parked("cancelled"), {kept: 1})
    rig.ledger.sweep(LANE)
    assert rig.ledger.read(kept) is None
    assert rig.ledger.parked(LANE, "cancelled") == ()
    assert not is_there(rig)


def test_a_record_whose_callbacks_were_not_told_outlives_its_time(rig: Rig) -> None:
    store(rig, ONE)
    mail = rig.accept(files=(ONE,), callbacks=b"who")
    rig.ledger.cancel(LANE, [mail])
    rig.redis.zadd(rig.keys.parked("cancelled"), {mail: 1})
    rig.ledger.sweep(LANE)
    rig.ledger.outbox.told(LANE, rig.ledger.outbox.take(LANE, 10, HOUR))
    assert rig.ledger.read(mail) is not None
    rig.ledger.sweep(LANE)
    assert (rig.ledger.read(mail), is_there(rig)) == (None, False)


def test_the_files_of_a_mail_count_for_what_a_claim_may_take(rig: Rig) -> None:
    store(rig, ONE)
    for _ in range(3):
        rig.accept(files=(ONE,), payload=b"p" * 10)
    assert len(rig.batch(max_bytes=2 * 60).mails) == 2


def test_a_full_server_takes_no_file_and_says_so(rig: Rig) -> None:
    rig.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(exceptions.OutOfMemoryError):
            rig.redis.set("x", "y")
        with pytest.raises(LedgerFullError):
            store(rig, ONE)
    finally:
        rig.redis.config_set("maxmemory", 0)
    assert not is_there(rig)


def test_a_damaged_file_stops_nobody(rig: Rig) -> None:
    store(rig, ONE)
    mails = [rig.accept(files=(ONE,)) for _ in range(2)]
    rig.redis.delete(rig.keys.file(ONE.name))
    rig.redis.set(rig.keys.file(ONE.name), "no hash")
    claims = rig.batch().mails
    assert rig.ledger.settle(LANE, [Settlement(claim, "d") for claim in claims]) == ("sent", "sent")
    assert [rig.state(mail) for mail in mails] == ["sent", "sent"]


class Story:
    """What happens to mails of two recipients that carry one file, or the other, or both."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.mails: list[str] = []
        self.claims: list[Claim] = []

    def accept(self, choice: int) -> None:
        files = ((ONE,), (TWO,), (ONE, TWO))[choice % 3]
        store(self.rig, *files)
        self.mails.append(self.rig.accept(files=files, recipients=2))

    def claim(self, choice: int) -> None:
        self.claims += self.rig.batch(limit=1 + choice).mails

    def settle_sent(self, choice: int) -> None:
        for claim in self.claims[choice:][:1]:
            self.rig.settle(claim, "dd")

    def settle_bounced(self, choice: int) -> None:
        for claim in self.claims[choice:][:1]:
            self.rig.settle(claim, "db")

    def crash(self, _: int) -> None:
        self.rig.end_leases()
        self.rig.ledger.sweep(LANE)

    def cancel(self, choice: int) -> None:
        self.rig.ledger.cancel(LANE, self.mails[choice:][:1])

    def requeue(self, choice: int) -> None:
        self.rig.ledger.requeue(LANE, self.mails[choice:][:1], HOUR)

    def purge(self, choice: int) -> None:
        self.rig.ledger.purge(LANE, self.mails[choice:][:1])

    def end_retention(self, _: int) -> None:
        for state in ("partial", "cancelled"):
            for mail in self.rig.ledger.parked(LANE, state)[:1]:
                self.rig.redis.zadd(self.rig.keys.parked(state), {mail: 1})
        self.rig.ledger.sweep(LANE)

    def store_again(self, _: int) -> None:
        store(self.rig, ONE)

    def check(self) -> None:
        named = [self.rig.redis.hget(self.rig.keys.record(mail), "files") or b"" for mail in self.mails]
        for file in (ONE, TWO):
            needed = sum(file.name.encode() in names for names in named)
            assert (refs(self.rig, file) or 0) == needed
            if needed:
                assert is_there(self.rig, file)
                assert self.rig.redis.pttl(self.rig.keys.file(file.name)) == -1


STEPS = st.tuples(
    st.sampled_from(sorted(name for name in vars(Story) if not name.startswith("_") and name != "check")),
    st.integers(0, 5),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, max_size=25))
def test_a_file_is_there_exactly_as_long_as_a_record_names_it(rig: Rig, steps: list[tuple[str, int]]) -> None:
    rig.redis.flushall()
    story = Story(type(rig)(rig.redis))
    for step, choice in [("accept", 2), ("accept", 0), ("claim", 0), *steps]:
        getattr(story, step)(choice)
        story.check()
