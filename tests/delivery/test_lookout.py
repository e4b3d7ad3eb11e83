"""The watch over the lanes: what it repairs, and whom it does not take for dead."""

import pytest

from mailworker.intake import Intake, Limits
from mailworker.ledger import Ledger, LedgerUnavailableError
from mailworker.options import Options
from mailworker.record import Claiming, Pause
from mailworker.sealing import KeyRing
from mailworker.watch import Lookout
from smtp_transport.message import Email

LANE = "default"


@pytest.fixture
def client(valkey):
    with valkey.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def ledger(client):
    return Ledger(client)


def accept(ledger, **options) -> str:
    email = Email(from_="shop@example.com", to="ann@example.org", subject="Hi", text_body="Hi.")
    (mail,) = Intake(Limits(1 << 20, 50, 10), KeyRing(), {LANE: 86_400_000}).admit([email], [Options(**options)])
    ledger.accept(LANE, [mail])
    return mail.id


def abandon(ledger, client) -> str:
    """A mail claimed by a worker that died."""
    mail = accept(ledger)
    ledger.claim(LANE, Claiming(1, 1 << 20, 60_000, 9), answering=True)
    client.zadd(f"mw:{{{LANE}}}:claims", {mail: 0})
    return mail


def test_a_dead_workers_mail_is_ready_again_and_somebody_is_told(ledger, client):
    mail = abandon(ledger, client)
    rung = []
    Lookout(ledger, {LANE: False}, lambda lane: bool(rung.append(lane)), 8).look()
    assert ledger.read(mail).state.value == "ready"
    assert rung == [LANE]


def test_after_an_outage_of_the_ledger_nobody_is_taken_for_dead_before_he_could_renew(ledger, client):
    dead = abandon(ledger, client)
    due = accept(ledger, countdown=3600)
    client.zadd(f"mw:{{{LANE}}}:due", {due: 0})
    real, outage = ledger.sweep, iter([LedgerUnavailableError("frozen")])

    def sweep(lane, **options):
        for error in outage:
            raise error
        return real(lane, **options)

    ledger.sweep = sweep
    lookout = Lookout(ledger, {LANE: False}, lambda lane: True, lease_seconds=3600)
    assert not lookout.look()
    assert lookout.look()
    assert ledger.read(dead).state.value == "sending"
    assert ledger.read(due).state.value == "ready"
    lookout._blind_until = 0
    lookout.look()
    assert ledger.read(dead).state.value == "ready"


def test_a_worker_that_starts_ends_the_pause_of_an_earlier_failure(ledger, client):
    ledger.release(LANE, [], Pause(300_000, 300_000, "credentials_invalid"))
    Lookout(ledger, {LANE: False}, lambda lane: True, 8).begin()
    assert ledger.stats(LANE).paused_ms == 0


def test_a_lane_that_is_not_served_is_left_to_those_who_serve_it(ledger, client):
    mail = abandon(ledger, client)
    Lookout(ledger, {"bulk": False}, lambda lane: True, 8).look()
    assert ledger.read(mail).state.value == "sending"


def test_a_lane_that_holds_parks_what_may_have_been_delivered(ledger, client):
    mail = accept(ledger)
    batch = ledger.claim(LANE, Claiming(1, 1 << 20, 60_000, 9), answering=True)
    ledger.mark_dot(LANE, batch.mails, 60_000)
    client.zadd(f"mw:{{{LANE}}}:claims", {mail: 0})
    Lookout(ledger, {LANE: True}, lambda lane: True, 8).look()
    assert ledger.read(mail).state.value == "in_doubt"


def test_what_a_dead_process_held_is_ready_again_and_somebody_is_told(ledger, client):
    mail = accept(ledger)
    ledger.claim(LANE, Claiming(1, 1 << 20, 60_000, 9, "dead"), answering=True)
    rung, seen = [], []
    lookout = Lookout(ledger, {LANE: False}, lambda lane: bool(rung.append(lane)), 8, lambda *seen_: seen.append(seen_))
    assert lookout.bury(lambda name: name == "dead", is_first=False)
    assert ledger.read(mail).state.value == "ready"
    assert rung == [LANE]
    assert [(lane, sweep.recovered) for lane, sweep in seen] == [(LANE, 1)]


def test_a_ledger_out_of_reach_is_asked_again_for_what_the_dead_held(ledger, monkeypatch):
    def unreachable(*_, **__):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(ledger.departed, "bury", unreachable)
    assert not Lookout(ledger, {LANE: False}, lambda lane: True, 8).bury(lambda _: True, is_first=True)


def test_a_bell_that_a_dead_process_may_have_taken_along_is_rung_anew(ledger):
    accept(ledger)
    rung = []
    lookout = Lookout(ledger, {LANE: False, "bulk": False}, lambda lane: bool(rung.append(lane)), 8)
    lookout.look()
    assert rung == [], "one is outstanding, and nobody knows that its hearer is dead"
    assert lookout.bury(lambda _: False, is_first=True)
    assert rung == [LANE]
    assert lookout.bury(lambda _: False, is_first=False)
    assert rung == [LANE]
