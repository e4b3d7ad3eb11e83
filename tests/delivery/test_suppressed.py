"""Who is suppressed is not tried, is told so, and keeps nobody else from getting the mail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailworker.ledger import LedgerUnavailableError, Server
from mailworker.outcome import open_said
from mailworker.policy.addresses import leads_nowhere
from mailworker.report import report_on
from mailworker.sealing import KeyRing, new_key
from mailworker.sights import Sight
from mailworker.suppression import Entry, Suppressions
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt, RecipientReceipt
from smtp_transport.reply import Reply
from tests.delivery.test_drain import LANE, OK, Desk, client, desk, receipt  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from mailworker.record import Settlement
    from smtp_transport.envelope import Transaction

ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.org"


@pytest.fixture(params=["clear", "sealed"])
def listed(desk: Desk, request: pytest.FixtureRequest) -> Suppressions:  # noqa: F811
    desk.keys = KeyRing() if request.param == "clear" else KeyRing.parse([new_key("k")])
    desk.suppressions = Suppressions(Server(desk.redis), "mw", desk.keys)
    desk.suppress_days = 30
    return desk.suppressions


def replies(**by_name: Reply):
    """A relay that gives each recipient a reply to RCPT, or takes the mail for him."""

    def script(_: int, mail: Transaction) -> Receipt:
        told = {to: by_name.get(to.partition("@")[0]) for to in mail.envelope.recipients}
        return Receipt(
            tuple(RecipientReceipt(to, Phase.RCPT if bad else Phase.DOT, bad or OK) for to, bad in told.items())
        )

    return script


def test_a_suppressed_recipient_is_told_as_bounced_and_the_others_get_the_mail(desk, listed):  # noqa: F811
    listed.add(LANE, [Entry(BOB, "550 5.1.1", since_ms=1_700_000_000_000)])
    (mail,) = desk.accept(ANN, BOB, EVE)
    desk.drain()
    assert desk.wire.sent == [(ANN, EVE)]
    record = desk.ledger.read(mail)
    assert (record.state.value, record.recipients) == ("partial", "dbd")
    said = open_said(record.told, mail, 3, desk.keys)[1]
    assert (said.code, said.enhanced, said.text) == (None, None, "suppressed: 550 5.1.1, since 2023-11-14")


def test_a_mail_to_nobody_else_is_over_at_once_and_the_relay_hears_nothing(desk, listed):  # noqa: F811
    listed.add(None, [Entry(ANN, "asked us to stop")])
    mails = desk.accept(ANN, count=3)
    sent = desk.accept(BOB)
    desk.drain()
    assert desk.wire.sent == [(BOB,)]
    assert [desk.state(mail) for mail in (*mails, *sent)] == ["dead", "dead", "dead", "sent"]
    record = desk.ledger.read(mails[0])
    assert record.error == "suppressed"
    assert open_said(record.told, mails[0], 1, desk.keys)[0].text.startswith("suppressed: asked us to stop, since ")


def test_a_mail_that_was_not_tried_counts_no_attempt(desk, listed):  # noqa: F811
    listed.add(None, [Entry(ANN, "asked us to stop")])
    seen: list[Settlement] = []
    settle = desk.ledger.settle
    desk.ledger.settle = lambda lane, told: (seen.extend(told), settle(lane, told))[1]
    (mail,) = desk.accept(ANN)
    desk.drain()
    report = report_on(desk.ledger.read(mail), desk.keys)
    assert (report.state, report.attempts, report.relay) == ("dead", 0, "")
    assert [set(note) for note in report.history] == [{"at", "fate", "code", "text"}]
    assert [Sight.of_settlement(told, "dead", 0).attempts for told in seen] == [0]


def test_of_a_mail_that_is_suppressed_later_only_the_attempts_that_were_made_count(desk, listed):  # noqa: F811
    desk.wire.script = replies(ann=Reply(450, "4.2.1"))
    (mail,) = desk.accept(ANN)
    desk.drain()
    listed.add(None, [Entry(ANN, "asked us to stop")])
    desk.redis.zadd(f"mw:{{{LANE}}}:due", {mail: 0})
    desk.ledger.sweep(LANE)
    desk.drain()
    record = desk.ledger.read(mail)
    assert (record.state.value, record.attempts, record.relay) == ("dead", 1, "default")


def test_what_becomes_of_the_others_is_theirs_alone(desk, listed):  # noqa: F811
    listed.add(LANE, [Entry(BOB, "550 5.1.1")])
    desk.wire.script = replies(ann=Reply(450, "4.2.1"))
    (mail,) = desk.accept(ANN, BOB)
    desk.drain()
    record = desk.ledger.read(mail)
    assert (record.state.value, record.recipients) == ("deferred", "pb")
    desk.wire.script = replies()
    desk.redis.zadd(f"mw:{{{LANE}}}:due", {mail: 0})
    desk.ledger.sweep(LANE)
    desk.drain()
    assert desk.wire.sent == [(ANN,)]
    assert desk.state(mail) == "partial"


def test_an_address_where_nobody_is_is_not_tried_again_for_as_long_as_the_lane_says(desk, listed):  # noqa: F811
    desk.wire.script = replies(ann=Reply(550, "5.1.1", ("no such user ann",)), bob=Reply(554, "5.7.1"))
    first = desk.accept(ANN, BOB, EVE)
    desk.drain()
    second = desk.accept(ANN, BOB, EVE)
    desk.wire.script = replies()
    desk.drain()
    assert desk.wire.sent == [(BOB, EVE)]
    assert [desk.ledger.read(mail).recipients for mail in (*first, *second)] == ["bbd", "bdd"]
    held = listed.get(LANE, ANN)
    assert (held.reason, held.until_ms - held.since_ms) == ("550 5.1.1", 30 * 86_400_000)
    assert listed.get(None, ANN) is listed.get(LANE, BOB) is None


def test_a_lane_that_does_not_remember_bounces_tries_again_but_obeys_the_lists(desk, listed):  # noqa: F811
    desk.suppress_days = None
    listed.add(None, [Entry(BOB, "by hand")])
    desk.wire.script = replies(ann=Reply(550, "5.1.1"))
    desk.accept(ANN, BOB)
    desk.drain()
    assert [entry.address for entry in listed.entries(LANE)] == []
    desk.wire.script = replies()
    desk.accept(ANN, BOB)
    desk.drain()
    assert desk.wire.sent == [(ANN,)]


def test_a_bounce_of_the_whole_mail_says_nothing_of_the_address(desk, listed):  # noqa: F811
    desk.wire.script = lambda _, mail: receipt(mail, Phase.DOT, Reply(550, "5.1.1"))
    desk.accept(ANN)
    desk.drain()
    assert list(listed.entries(LANE)) == []


def test_a_list_out_of_reach_gives_the_mails_back_unburnt(desk, listed, monkeypatch):  # noqa: F811
    (mail,) = desk.accept(ANN)

    def fail(*_):
        raise LedgerUnavailableError("out of reach")

    monkeypatch.setattr(listed, "reasons", fail)
    with pytest.raises(LedgerUnavailableError):
        desk.drain()
    record = desk.ledger.read(mail)
    assert (record.state.value, record.attempts) == ("ready", 0)


def test_bounces_that_cannot_be_written_down_keep_no_mail_back(desk, listed, monkeypatch):  # noqa: F811
    desk.wire.script = replies(ann=Reply(550, "5.1.1"))

    def fail(*_, **__):
        raise LedgerUnavailableError("out of reach")

    monkeypatch.setattr(listed, "add", fail)
    (mail,) = desk.accept(ANN, BOB)
    desk.drain()
    assert desk.state(mail) == "partial"


def test_only_those_who_are_tried_count_in_the_limits(desk, listed):  # noqa: F811
    listed.add(LANE, [Entry(BOB, "by hand"), Entry(EVE, "by hand")])
    (mail,) = desk.accept(ANN, BOB, EVE)
    seen = []
    real = desk.doorway.gate.weigh
    desk.doorway.gate.weigh = lambda lane, leave, domains: seen.append(domains) or real(lane, leave, domains)
    desk.terms = replace(desk.terms, max_attempts=1)
    desk.drain()
    assert seen == [[("example.org",)]]
    assert desk.state(mail) == "partial"


@pytest.mark.parametrize(
    ("enhanced", "is_gone"),
    [("5.1.1", True), ("5.1.2", True), ("5.1.3", True), ("5.1.6", True), ("5.1.10", True)]
    + [(code, False) for code in (None, "", "4.1.1", "5.1.0", "5.1.7", "5.1.8", "5.2.1", "5.2.2", "5.4.4", "5.7.1")],
)
def test_an_enhanced_code_alone_tells_that_nobody_is_there(enhanced: str | None, *, is_gone: bool) -> None:
    assert leads_nowhere(enhanced) is is_gone
