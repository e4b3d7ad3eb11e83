"""Records of version 1, and workers that know no other, beside those of today. `version_1` holds their scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailworker.keys import new_mail_id
from mailworker.outcome import Said, open_said, seal_said
from mailworker.report import report_on
from mailworker.sealing import KeyRing
from smtp_transport.errors import MessageError
from smtp_transport.message import unpack

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

LANE = "news"
EARLY = 1_700_000_000_000
HOUR = 3_600_000
KEYS = KeyRing()
DETAILS = '[{"code":450,"enhanced":"4.2.1","text":"busy, a***@example.org"}]'
NOTE = '{"at":1700000000000,"attempt":1,"fate":"deferred","code":450,"text":"busy"}'


class OldRig:
    """What producers, workers and watches of version 1 said to the ledger."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._made = 0
        folder = Path(__file__).with_name("version_1")
        self._scripts = {path.stem: rig.redis.register_script(path.read_bytes()) for path in folder.glob("*.lua")}

    def run(self, name: str, mail_ids: tuple[str, ...], *arguments: object) -> Any:
        keys = self.rig.keys
        return self._scripts[name](keys=[*keys.every, *map(keys.record, mail_ids)], args=arguments)

    def accept(self, recipients: int = 1) -> str:
        self._made += 1
        mail_id = new_mail_id(LANE, EARLY, b"\1" * 10, self._made)
        envelope = KEYS.seal(b"\x93\xb0shop@example.com\x91\xafann@example.org\xa5<i@x>", mail_id, "envelope")
        letters = "p" * recipients
        self.run("accept", (mail_id,), 5000, HOUR, 1, mail_id, b"payload", envelope, letters, 5, "", "", "")
        return mail_id

    def claim(self, limit: int = 100) -> list[tuple[str, int]]:
        *_, mails = self.run("claim", (), limit, 10**6, 60_000, 1000, 0, 5000, HOUR)
        return [(mail[0].decode(), mail[1]) for mail in mails]

    def mark(self, mail_id: str, fence: int) -> bool:
        (ours,) = self.run("mark_dot", (mail_id,), 60_000, mail_id, fence)
        return bool(ours)

    def settle(self, mail_id: str, fence: int, letters: str, *, burnt: int = 1) -> str:
        told = (0, DETAILS, "450 busy", NOTE, 0, burnt)
        (state,) = self.run("settle", (mail_id,), HOUR, HOUR, mail_id, fence, letters, *told)
        return state.decode()

    def sweep(self) -> None:
        self.run("wake", (), 500, HOUR)
        self.run("recover", (), 500, 0, 5000, HOUR)


@pytest.fixture
def old(rig: Rig) -> OldRig:
    return OldRig(rig)


def test_a_mail_of_version_1_is_delivered_and_what_was_said_of_it_is_told(rig: Rig, old: OldRig) -> None:
    mail = old.accept()
    ((_, fence),) = old.claim()
    assert old.settle(mail, fence, "-") == "deferred"
    report = report_on(rig.ledger.read(mail), KEYS)
    (recipient,) = report.recipients
    assert (report.state, report.error) == ("deferred", "450 busy")
    assert (recipient.address, recipient.code, recipient.text) == ("a***@example.org", 450, "busy, a***@example.org")
    assert (report.history[0]["fate"], report.history[0]["text"]) == ("deferred", "busy")
    rig.make_due()
    rig.ledger.sweep(LANE)
    claim = rig.claim()
    assert (claim.attempts, claim.fence > fence) == (2, True)
    assert open_said(claim.told, mail, 1, KEYS) == [Said(450, "4.2.1", "busy, a***@example.org")]
    assert rig.settle(claim, "d", told=seal_said([Said(250, None, "ok")], mail, KEYS)) == "sent"
    assert report_on(rig.ledger.read(mail), KEYS).recipients[0].text == "ok"


def test_a_worker_of_version_1_delivers_a_mail_of_today(rig: Rig, old: OldRig) -> None:
    mail = rig.accept()
    ((claimed, fence),) = old.claim()
    assert (claimed, old.mark(mail, fence), old.settle(mail, fence, "d")) == (mail, True, "sent")
    record = rig.ledger.read(mail)
    assert record is not None
    assert (record.state, record.payload_bytes) == ("sent", 0)


def test_what_a_worker_of_version_1_said_of_a_mail_of_today_is_told(rig: Rig, old: OldRig) -> None:
    mail = rig.accept()
    ((_, fence),) = old.claim()
    old.settle(mail, fence, "b")
    record = rig.ledger.read(mail)
    assert record is not None
    assert open_said(record.told, mail, 1, KEYS) == [Said(450, "4.2.1", "busy, a***@example.org")]
    assert json.loads(record.history[-1])["text"] == "busy"
    assert rig.ledger.parked(LANE, "dead") == (mail,)


def test_a_mail_whose_files_are_apart_is_refused_by_version_1_and_waits_unburnt(rig: Rig, old: OldRig) -> None:
    with pytest.raises(MessageError, match="does not know"):
        unpack({"from_": ["shop@example.com", None], "shared": []})
    mail = rig.accept()
    ((_, fence),) = old.claim()
    assert old.settle(mail, fence, "p", burnt=0) == "deferred"
    rig.make_due()
    rig.ledger.sweep(LANE)
    assert rig.claim().attempts == 1


STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(("accept", "claim", "mark", "deliver", "defer", "sweep", "crash")),
        st.integers(0, 4),
    ),
    max_size=30,
)


class TwoVersions:
    """Workers of both versions at one ledger, at any step of their work."""

    def __init__(self, rig: Rig, old: OldRig) -> None:
        self.rig, self.old = rig, old
        self.mails: list[str] = []
        self.claims: list[Any] = []
        self.old_claims: list[tuple[str, int]] = []
        self.delivered: set[str] = set()

    def step(self, name: str, choice: int, *, is_old: bool) -> None:
        rig, old = self.rig, self.old
        ours, theirs = self.claims[choice:][:1], self.old_claims[choice:][:1]
        match name:
            case "accept":
                self.mails.append(old.accept() if is_old else rig.accept())
            case "claim" if is_old:
                self.old_claims += old.claim(limit=2)
            case "claim":
                self.claims += rig.batch(limit=2, max_attempts=1000).mails
            case "crash":
                rig.end_leases()
            case "sweep":
                rig.make_due()
                old.sweep() if is_old else rig.ledger.sweep(LANE)
            case _:
                for mail, fence in theirs if is_old else []:
                    self.work_old(name, mail, fence)
                for claim in [] if is_old else ours:
                    self.work(name, claim)

    def work_old(self, name: str, mail: str, fence: int) -> None:
        if name == "mark":
            self.old.mark(mail, fence)
        elif self.old.settle(mail, fence, "d" if name == "deliver" else "-") == "sent":
            self.delivered.add(mail)

    def work(self, name: str, claim: Any) -> None:
        if name == "mark":
            self.rig.mark(claim)
        elif self.rig.settle(claim, "d" if name == "deliver" else "-", told=b"told", note='{"n":1}') == "sent":
            self.delivered.add(claim.id)

    def check(self) -> None:
        homes = {"ready": ["ready"], "scheduled": ["due"], "deferred": ["due"], "sending": ["claims"], "sent": []}
        for mail in self.mails:
            state = self.rig.state(mail)
            assert self.rig.homes(mail) == homes[state]
            assert mail not in self.delivered or state == "sent"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_workers_of_two_versions_share_a_ledger(rig: Rig, steps: list[tuple[bool, str, int]]) -> None:
    rig.redis.flushall()
    story = TwoVersions(rig, OldRig(rig))
    start = [(True, "accept", 0), (False, "accept", 0), (True, "claim", 0), (False, "accept", 0), (False, "claim", 0)]
    for is_old, name, choice in [*start, *steps]:
        story.step(name, choice, is_old=is_old)
        story.check()
    for _ in range(20):
        story.step("crash", 0, is_old=False)
        story.step("sweep", 0, is_old=False)
        for claim in rig.batch(max_attempts=1000).mails:
            story.work("deliver", claim)
    assert {rig.state(mail) for mail in story.mails} == {"sent"}
