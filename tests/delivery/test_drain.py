"""The drain against a real ledger: whatever the wire does, the ledger knows, and nothing is left lying about."""

import base64
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from celery.utils.time import get_exponential_backoff_interval

from mailworker.backoff import Backoff
from mailworker.crew import Crew, RelayLinks
from mailworker.delivery import Drain, LanePolicy, Tools
from mailworker.doorway import Doorway
from mailworker.files import Shelf, seal_file
from mailworker.gate import LaneTerms
from mailworker.intake import Intake, Limits
from mailworker.ledger import Ledger, LedgerUnavailableError
from mailworker.mates import Mates
from mailworker.options import Options
from mailworker.outcome import open_said
from mailworker.policy.routes import Route
from mailworker.record import Claiming
from mailworker.renewal import Renewer
from mailworker.sealing import KeyRing, new_key
from mailworker.settings import Settings
from mailworker.settlement import Terms
from mailworker.suppression import Suppressions
from smtp_transport.envelope import Transaction
from smtp_transport.errors import AuthenticationError, ErrorKind, PoolError, SmtpConnectionError, SmtpError
from smtp_transport.message import Attachment, Email
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt, RecipientReceipt
from smtp_transport.reply import Reply

LANE = "default"
OK = Reply(250, "2.0.0", ("Ok: queued as 4XyZ12",))
LOST = SmtpConnectionError("link lost", ErrorKind.CONNECTION_RESET)
Script = Callable[[int, Transaction], Receipt | None]


def receipt(mail: Transaction, phase: Phase, reply: Reply | None = None, error: SmtpError | None = None) -> Receipt:
    return Receipt(tuple(RecipientReceipt(a, phase, reply) for a in mail.envelope.recipients), error)


@dataclass
class Wire:
    """Stands for the client of a relay: each mail gets the receipt that the script gives; None ends the link."""

    script: Script = lambda _, mail: receipt(mail, Phase.DOT, OK)
    sent: list[tuple[str, ...]] = field(default_factory=list)
    cannot_connect: SmtpError | None = None

    def deliver(
        self, transactions: Sequence[Transaction], permit: Callable[[Sequence[int]], Collection[int]]
    ) -> Iterator[tuple[int, Receipt]]:
        if self.cannot_connect:
            raise self.cannot_connect
        for index, mail in enumerate(transactions):
            outcome = self.script(index, mail)
            if outcome is None:
                return
            if outcome.recipients[0].phase is Phase.DOT:
                if index not in permit([index]):
                    outcome = receipt(mail, Phase.BODY, None, SmtpError("held back", ErrorKind.CANCELLED))
                else:
                    self.sent.append(mail.envelope.recipients)
            yield index, outcome


class WindowedWire(Wire):
    """Several mails in flight: permits, dots and replies come by windows of three."""

    def deliver(self, transactions, permit):
        for first in range(0, len(transactions), 3):
            window = range(first, min(first + 3, len(transactions)))
            allowed = permit(list(window))
            for index in window:
                if index in allowed:
                    self.sent.append(transactions[index].envelope.recipients)
            for index in window:
                yield index, receipt(transactions[index], Phase.DOT, OK)


class Desk:
    """A ledger, an intake and a drain over a scripted wire."""

    def __init__(self, client) -> None:
        self.redis = client
        self.ledger = Ledger(client)
        self.keys = KeyRing()
        self.wire = Wire()
        self.wires: dict[str, Wire] = {}
        self.rung: list[str] = []
        self.is_heard = True
        self.is_stopping = False
        self.stopping = lambda: self.is_stopping
        self.lane = LaneTerms(LANE, (Route("default"),))
        self.terms = Terms(4, hold_in_doubt=False, backoff=Backoff(get_exponential_backoff_interval), keys=self.keys)
        self.claiming = Claiming(50, 1 << 20, 60_000, 5)
        self.slice_seconds = 30.0
        self.suppressions: Suppressions | None = None
        self.suppress_days: int | None = None
        self.doorway = Doorway(Settings(), client, lambda relay, links: 0)
        self.renewer = Renewer(self.ledger, 60_000)
        self.links = RelayLinks(lambda: 1)
        self.links.pace = 0.001  # a near relay, as earlier drains found
        self.is_wanted = lambda: False
        self.hired = 0

    def accept(self, *recipients: str, count: int = 1, **options: object) -> list[str]:
        email = Email(from_="shop@example.com", to=recipients or ("ann@example.org",), subject="Hi", text_body="Hi.")
        intake = Intake(Limits(1 << 20, 50, 10), self.keys, {LANE: 86_400_000})
        mails = intake.admit([email] * count, [Options(**options)] * count)
        self.ledger.accept(LANE, mails)
        return [mail.id for mail in mails]

    def drain(self) -> int:
        return Crew(self.hire, self.links, self.is_wanted, self.slice_seconds).run()

    def hire(self, mates: Mates, is_first: object) -> Drain:
        self.hired += 1
        gate, shelf = self.doorway.gate, Shelf(self.ledger.files.read, self.keys, 1 << 20)
        tools = Tools(
            self.ledger,
            gate,
            lambda relay: self.wires.get(relay, self.wire),
            self.renewer,
            self.ring,
            self.stopping,
            shelf,
            suppressions=self.suppressions,
        )
        terms = replace(self.terms, keys=self.keys)
        policy = LanePolicy(self.lane, self.claiming, terms, self.slice_seconds, self.suppress_days)
        return Drain(policy, tools, f"thread {self.hired}", mates, bool(is_first))

    def ring(self, lane: str) -> bool:
        self.rung.append(lane)
        return self.is_heard

    def drain_once(self) -> None:
        """Work one batch: the worker stops as soon as it has begun."""
        looks = iter([False])
        self.stopping = lambda: next(looks, True)
        self.drain()

    def state(self, mail_id: str) -> str:
        return self.ledger.read(mail_id).state.value

    def lift_pause(self, client) -> None:
        client.delete(f"mw:{{{LANE}}}:pause")


@pytest.fixture
def client(valkey):
    with valkey.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def desk(client) -> Iterator[Desk]:
    desk = Desk(client)
    yield desk
    desk.renewer.close()
    desk.doorway.harbour.close()


def test_a_delivered_mail_is_sent_and_its_payload_is_dropped(desk):
    (mail,) = desk.accept()
    assert desk.drain() == 1
    record = desk.ledger.read(mail)
    assert (record.state.value, record.payload_bytes, record.attempts) == ("sent", 0, 1)


def test_a_whole_backlog_is_drained_batch_by_batch(desk):
    desk.claiming = Claiming(7, 1 << 20, 60_000, 5)
    mails = desk.accept(count=30)
    assert desk.drain() == 30
    assert {desk.state(mail) for mail in mails} == {"sent"}
    assert desk.rung


def test_a_drain_whose_bells_nobody_hears_goes_on_beyond_its_slice(desk):
    desk.claiming, desk.slice_seconds = Claiming(7, 1 << 20, 60_000, 5), 0.001
    desk.is_heard = False
    desk.accept(count=30)
    assert desk.drain() == 30


def test_each_recipient_has_its_own_fate(desk):
    (mail,) = desk.accept("ann@example.org", "bob@example.org", "eve@example.org")
    fates = {"ann": (Phase.DOT, OK), "bob": (Phase.RCPT, Reply(450)), "eve": (Phase.RCPT, Reply(550, "5.1.1"))}

    def script(_: int, mail: Transaction) -> Receipt:
        return Receipt(tuple(RecipientReceipt(a, *fates[a[:3]]) for a in mail.envelope.recipients))

    desk.wire.script = script
    desk.drain()
    record = desk.ledger.read(mail)
    assert (record.state.value, record.recipients) == ("deferred", "dpb")
    said = open_said(record.told, mail, 3, desk.keys)
    assert [one and one.code for one in said] == [250, 450, 550]


@pytest.mark.parametrize(
    ("text", "least", "most"), [("later", -60_000, 500), ("try again in 30 seconds", 29_000, 33_000)]
)
def test_a_first_retry_is_quick_unless_the_server_asks_for_time(desk, client, *, text, least, most):
    (mail,) = desk.accept()
    desk.wire.script = lambda _, mail: receipt(mail, Phase.RCPT, Reply(450, "4.2.0", (text,)))
    desk.drain()
    seconds, micros = client.time()
    assert least <= desk.ledger.read(mail).due_ms - (seconds * 1000 + micros // 1000) <= most


def test_only_pending_recipients_are_tried_again(desk, client):
    (mail,) = desk.accept("ann@example.org", "bob@example.org")

    def script(_: int, mail: Transaction) -> Receipt:
        first = len(desk.wire.sent) == 0 and len(mail.envelope.recipients) == 2
        replies = [(Phase.DOT, OK), (Phase.RCPT, Reply(450)) if first else (Phase.DOT, OK)]
        return Receipt(tuple(RecipientReceipt(a, *r) for a, r in zip(mail.envelope.recipients, replies, strict=False)))

    desk.wire.script = script
    desk.drain()
    client.zadd(f"mw:{{{LANE}}}:due", {mail: 0})
    desk.ledger.sweep(LANE)
    desk.drain()
    assert desk.wire.sent == [("ann@example.org", "bob@example.org"), ("bob@example.org",)]
    assert desk.state(mail) == "sent"


def test_a_link_lost_before_the_dot_defers_one_mail_and_gives_the_others_back_unburnt(desk):
    mails = desk.accept(count=3)
    desk.wire.script = lambda n, mail: receipt(mail, Phase.DATA, None, LOST) if n == 0 else None
    desk.drain()
    records = [desk.ledger.read(mail) for mail in mails]
    assert [(r.state.value, r.attempts) for r in records] == [("deferred", 1), ("ready", 0), ("ready", 0)]
    assert desk.ledger.stats(LANE).paused_ms > 0


def test_a_link_lost_after_the_dot_is_sent_again_flagged(desk):
    (mail,) = desk.accept()
    desk.wire.script = lambda _, mail: receipt(mail, Phase.DOT, None, LOST)
    desk.drain()
    record = desk.ledger.read(mail)
    assert (record.state.value, record.possible_duplicates) == ("deferred", 1)


def test_a_link_lost_after_the_dot_is_held_for_a_person_where_the_lane_says_so(desk):
    (mail,) = desk.accept()
    desk.terms = replace(desk.terms, hold_in_doubt=True)
    desk.wire.script = lambda _, mail: receipt(mail, Phase.DOT, None, LOST)
    desk.drain()
    record = desk.ledger.read(mail)
    assert (record.state.value, record.recipients, record.possible_duplicates) == ("in_doubt", "i", 0)
    assert record.payload_bytes > 0


def test_a_last_attempt_in_doubt_stays_in_doubt_for_it_may_have_arrived(desk):
    (mail,) = desk.accept()
    desk.terms = replace(desk.terms, max_attempts=1)
    desk.wire.script = lambda _, mail: receipt(mail, Phase.DOT, None, LOST)
    desk.drain()
    assert desk.state(mail) == "in_doubt"


def test_a_relay_out_of_reach_burns_no_attempt_and_pauses_the_lane(desk):
    mails = desk.accept(count=3)
    desk.wire.cannot_connect = SmtpConnectionError("refused", ErrorKind.CONNECTION_REFUSED)
    assert desk.drain() == 0
    assert {(desk.state(m), desk.ledger.read(m).attempts) for m in mails} == {("ready", 0)}
    stats = desk.ledger.stats(LANE)
    assert 0 < stats.paused_ms <= 500
    assert stats.pause_reason == "connection_refused"


def test_wrong_credentials_pause_the_lane_long_and_loudly(desk, caplog):
    (mail,) = desk.accept()
    desk.wire.cannot_connect = AuthenticationError("refused", ErrorKind.CREDENTIALS_INVALID, 535)
    desk.drain()
    assert desk.ledger.stats(LANE).paused_ms > 0
    report = desk.doorway.breakers["default"].report()
    assert report.till_ms - report.since_ms > 200_000
    assert desk.state(mail) == "ready"
    assert [r.levelname for r in caplog.records if "is in trouble" in r.message] == ["ERROR"]


def test_a_delivery_ends_the_pause(desk, client):
    desk.accept()
    desk.wire.cannot_connect = LOST
    desk.drain()
    desk.wire.cannot_connect = None
    client.hset(f"mw:{{{LANE}}}:pause", "until", 0)
    desk.drain()
    assert desk.ledger.stats(LANE).pause_failures == 0


def test_the_last_attempt_ends_as_dead_not_as_another_wait(desk):
    (mail,) = desk.accept()
    desk.terms = replace(desk.terms, max_attempts=1)
    desk.wire.script = lambda _, mail: receipt(mail, Phase.RCPT, Reply(450))
    desk.drain()
    assert desk.state(mail) == "dead"


def test_the_last_attempt_of_a_mail_is_its_own_where_it_says_so(desk):
    cases = {desk.accept(max_attempts=cap)[0]: cap for cap in (1, 2)}
    desk.wire.script = lambda _, mail: receipt(mail, Phase.RCPT, Reply(450, "4.2.2", ("full",)))
    desk.drain()
    assert {cap: desk.state(mail) for mail, cap in cases.items()} == {1: "dead", 2: "deferred"}
    dead = next(mail for mail, cap in cases.items() if cap == 1)
    assert desk.ledger.read(dead).error == "given up after 1 attempts; at last: reply 450 4.2.2"


@pytest.mark.parametrize(("own", "lane_holds", "state"), [("hold", False, "in_doubt"), ("resend", True, "deferred")])
def test_a_mails_own_policy_in_doubt_goes_before_its_lanes(desk, own, lane_holds, state):
    (mail,) = desk.accept(in_doubt=own)
    desk.terms = replace(desk.terms, hold_in_doubt=lane_holds)
    desk.wire.script = lambda _, mail: receipt(mail, Phase.DOT, None, LOST)
    desk.drain()
    assert desk.state(mail) == state


def test_a_server_that_asks_for_time_gets_it(desk):
    (mail,) = desk.accept()
    desk.wire.script = lambda _, mail: receipt(mail, Phase.RCPT, Reply(450, "4.7.1", ("Try again in 5 minutes",)))
    desk.drain()
    record = desk.ledger.read(mail)
    assert 300_000 <= record.due_ms - record.accepted_ms < 335_000


def test_a_window_is_settled_at_once_and_never_left_before_its_last_reply(desk):
    desk.wire = WindowedWire()
    calls = []
    real = desk.ledger.settle
    desk.ledger.settle = lambda lane, told: (calls.append(len(told)), real(lane, told))[1]
    mails = desk.accept(count=8)
    looks = iter([False])  # the worker is told to stop when the batch has just begun
    desk.stopping = lambda: next(looks, True)
    desk.drain()
    assert calls == [3]
    assert sorted(desk.state(m) for m in mails) == ["ready"] * 5 + ["sent"] * 3


def counted(desk: Desk, *names: str) -> list[tuple[str, int]]:
    """Have the calls of the ledger noted, with how many mails each settled or marked."""
    calls: list[tuple[str, int]] = []

    def noting(name: str, real: Callable[..., object]) -> Callable[..., object]:
        return lambda lane, *mails: (
            calls.append((name, sum(len(m) for m in mails if isinstance(m, list)))),
            real(lane, *mails),
        )[1]

    for name in names:
        setattr(desk.ledger, name, noting(name, getattr(desk.ledger, name)))
    return calls


def test_a_quick_wire_that_carries_mails_one_by_one_asks_the_ledger_once_for_ten(desk):
    desk.accept(count=42)
    calls = counted(desk, "turn", "settle")
    assert desk.drain() == 42
    assert len(calls) <= 2 + 5 + 2
    assert max(mails for _, mails in calls) <= 20


def test_a_wire_that_ends_in_the_middle_of_a_window_gives_back_what_was_only_marked(desk):
    mails = desk.accept(count=8)
    desk.wire.script = lambda n, mail: receipt(mail, Phase.DOT, OK) if n < 4 else None
    looks = iter([False] * 5)  # at the start, and after each of the four
    desk.stopping = lambda: next(looks, True)
    desk.drain()
    marks = [desk.ledger.read(mail).phase for mail in mails]
    assert marks == [""] * 8
    assert sorted(desk.state(mail) for mail in mails) == ["ready"] * 4 + ["sent"] * 4


def test_a_mail_that_was_permitted_and_has_no_receipt_keeps_its_mark(desk):
    (mail,) = desk.accept()

    def deliver(_: object, permit: Callable[[Sequence[int]], object]) -> Iterator[tuple[int, Receipt]]:
        permit([0])
        yield from ()

    desk.wire.deliver = deliver
    desk.drain_once()
    record = desk.ledger.read(mail)
    assert (record.state.value, record.phase) == ("sending", "dot")


def test_a_claim_that_was_lost_is_not_sent(desk, client):
    (mail,) = desk.accept()

    def script(_: int, transaction: Transaction) -> Receipt:
        client.zadd(f"mw:{{{LANE}}}:claims", {mail: 0})
        desk.ledger.sweep(LANE)
        return receipt(transaction, Phase.DOT, OK)

    desk.wire.script = script
    desk.drain_once()
    assert desk.wire.sent == []
    assert desk.state(mail) == "ready"


def test_a_mail_sealed_with_a_missing_key_waits_for_the_key(desk):
    writer = KeyRing.parse(["old:" + base64.b64encode(b"o" * 32).decode()])
    desk.keys = writer
    (mail,) = desk.accept()
    desk.keys = KeyRing()
    desk.drain()
    record = desk.ledger.read(mail)
    assert (record.state.value, record.recipients, record.attempts) == ("deferred", "p", 0)
    assert "'old'" in record.error


def test_the_longest_and_strangest_refusal_is_recorded(desk):
    (mail,) = desk.accept(*[f"a{n}@example.org" for n in range(50)])
    desk.wire.script = lambda _, mail: receipt(mail, Phase.RCPT, Reply(550, "5.7.1", ('\x00\n"ж\u2028😀\\' * 5000,)))
    desk.drain()
    assert desk.state(mail) == "dead"
    assert desk.ledger.read(mail).history


def test_all_links_in_use_says_nothing_about_the_relay(desk):
    (mail,) = desk.accept()
    desk.wire.cannot_connect = PoolError("none free in time", ErrorKind.ACQUIRE_TIMEOUT)
    desk.drain_once()
    assert (desk.state(mail), desk.ledger.stats(LANE).paused_ms) == ("ready", 0)


def test_a_corrupt_payload_is_quarantined_and_the_rest_flows_on(desk, client):
    bad, good = desk.accept(count=2)
    client.hset(f"mw:{{{LANE}}}:m:{bad}", "payload", b"MW\x00\x93not msgpack")
    desk.drain()
    assert (desk.state(bad), desk.state(good)) == ("quarantined", "sent")
    assert desk.ledger.read(bad).payload_bytes > 0


def test_a_stopping_worker_finishes_the_mail_in_hand_and_gives_back_the_rest(desk):
    mails = desk.accept(count=5)

    def script(_: int, mail: Transaction) -> Receipt:
        desk.is_stopping = True
        return receipt(mail, Phase.DOT, OK)

    desk.wire.script = script
    assert desk.drain() == 1
    assert [desk.state(m) for m in mails] == ["sent", *["ready"] * 4]
    assert {desk.ledger.read(m).attempts for m in mails[1:]} == {0}


def test_a_250_is_recorded_even_if_the_ledger_is_away_for_a_moment(desk, valkey):
    (mail,) = desk.accept()

    def script(_: int, mail: Transaction) -> Receipt:
        return receipt(mail, Phase.DOT, OK)

    real = desk.ledger.settle
    refusals = iter([LedgerUnavailableError("away"), LedgerUnavailableError("away")])

    def settle(lane, settlements):
        for refusal in refusals:
            raise refusal
        return real(lane, settlements)

    desk.wire.script = script
    desk.ledger.settle = settle
    desk.drain()
    assert desk.state(mail) == "sent"


def test_nothing_is_sent_that_the_ledger_cannot_be_told_of(desk):
    (mail,) = desk.accept()

    def away(*_: object) -> tuple[bool, ...]:
        raise LedgerUnavailableError("away")

    desk.ledger.turn = away
    desk.drain_once()
    assert desk.wire.sent == []
    assert desk.state(mail) == "deferred"


def test_a_claim_in_work_is_renewed_beyond_its_lease(client):
    desk = Desk(client)
    desk.renewer = Renewer(desk.ledger, 600)
    desk.claiming = Claiming(50, 1 << 20, 600, 5)
    (mail,) = desk.accept()

    def script(_: int, transaction: Transaction) -> Receipt:
        first = client.zscore(f"mw:{{{LANE}}}:claims", mail)
        until = time.monotonic() + 10
        while client.zscore(f"mw:{{{LANE}}}:claims", mail) <= first + 600:
            assert time.monotonic() < until, "the lease was not renewed"
        assert desk.ledger.sweep(LANE).recovered == 0
        return receipt(transaction, Phase.DOT, OK)

    desk.wire.script = script
    desk.drain()
    desk.renewer.close()
    assert desk.state(mail) == "sent"


def test_mails_that_share_a_file_are_sent_with_it_and_leave_none(desk, client):
    file = Attachment("terms.pdf", "application/pdf", b"t" * 50_000)
    email = Email(from_="shop@example.com", to="ann@example.org", subject="Hi", text_body="Hi.", attachments=[file])
    intake = Intake(Limits(1 << 20, 50, 10, shared_file_bytes=1000), desk.keys, {LANE: 86_400_000})
    mails = intake.admit([email] * 3, [Options()] * 3)
    assert all(len(mail.payload) < 1000 for mail in mails)
    desk.ledger.files.store(LANE, mails[0].files[0].name, seal_file(mails[0].files[0], desk.keys))
    desk.ledger.accept(LANE, mails)
    rendered = []
    desk.wire.script = lambda _, mail: rendered.append(mail.render(True).data) or receipt(mail, Phase.DOT, OK)
    desk.drain()
    lines = b"".join(base64.encodebytes(file.data).split())
    assert [lines in b"".join(data.split()) for data in rendered] == [True] * 3
    assert client.keys(f"mw:{{{LANE}}}:b:*") == []


def test_a_mail_whose_file_is_gone_is_quarantined_and_the_rest_flows_on(desk, client):
    file = Attachment("terms.pdf", "application/pdf", b"t" * 50_000)
    email = Email(from_="shop@example.com", to="ann@example.org", subject="Hi", text_body="Hi.", attachments=[file])
    intake = Intake(Limits(1 << 20, 50, 10, shared_file_bytes=1000), desk.keys, {LANE: 86_400_000})
    (bad,) = intake.admit([email], [Options()])
    desk.ledger.files.store(LANE, bad.files[0].name, seal_file(bad.files[0], desk.keys))
    desk.ledger.accept(LANE, [bad])
    client.delete(f"mw:{{{LANE}}}:b:{bad.files[0].name}")
    (good,) = desk.accept()
    desk.drain()
    assert (desk.state(bad.id), desk.state(good)) == ("quarantined", "sent")
    assert desk.ledger.read(bad.id).error == "a file of it is gone"


def test_a_mail_whose_key_is_missing_waits_unburnt_and_is_sent_when_it_is_there(desk, client):
    keys = desk.keys = KeyRing.parse([new_key("2026")])
    (mail,) = desk.accept()
    desk.keys = KeyRing.parse([new_key("2027")])
    (other,) = desk.accept()
    for _ in range(3):
        desk.drain()
        client.zadd(f"mw:{{{LANE}}}:due", {mail: 0})
        desk.ledger.sweep(LANE)
    record = desk.ledger.read(mail)
    assert (record.attempts, "'2026'" in record.error, desk.state(other)) == (0, True, "sent")
    assert desk.ledger.stats(LANE).unreadable == 1
    desk.keys = keys
    desk.drain()
    assert desk.state(mail) == "sent"


def test_a_sender_of_many_does_not_keep_another_s_few_waiting(desk):
    desk.claiming = Claiming(20, 1 << 20, 60_000, 5)
    desk.accept("many@example.org", count=300, tenant="big")
    desk.accept("few@example.org", count=10, tenant="shop-17")
    desk.drain()
    order = [recipient for (recipient,) in desk.wire.sent]
    assert len(order) == 310
    assert [n for n, who in enumerate(order) if who == "few@example.org"] == list(range(1, 20, 2))
