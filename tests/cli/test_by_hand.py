"""A person's decisions, by the command line and by the result, against a real ledger."""

import json

import pytest
from celery import states
from click.testing import CliRunner

from mailworker import Email, app, send_email
from mailworker.cli import main
from mailworker.record import Claiming, Settlement, Unreadable

EMAIL = Email(from_="shop@example.com", to="ann@example.org", subject="Hi", text_body="Hi.")


@pytest.fixture(autouse=True)
def ledger(valkey, monkeypatch):
    monkeypatch.setenv("MAILWORKER_REDIS__URL", valkey.url)
    monkeypatch.setattr(app, "ring", lambda lane: True)
    with valkey.client() as client:
        client.flushall()
    app.forget_runtime()
    yield app.runtime.ledger
    app.forget_runtime()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def dead(ledger, count: int) -> set[str]:
    results = send_email.many([EMAIL] * count)
    batch = ledger.claim("default", Claiming(1000, 1 << 24, 60_000, 9), answering=True)
    ledger.settle("default", [Settlement(claim, "b") for claim in batch.mails])
    return {result.id for result in results}


def test_all_dead_mails_of_a_lane_get_another_go(ledger):
    mails = dead(ledger, 120)
    listed = json.loads(run("mail", "list", "--limit", "1000", "--json"))
    assert set(listed["mails"]) == mails
    assert run("mail", "requeue", "--state", "dead") == "120 ready\n"
    assert ledger.stats("default").ready == 120
    assert run("mail", "list") == ""


def test_mails_of_all_lanes_are_found_unless_one_is_named(ledger, monkeypatch):
    monkeypatch.setenv("MAILWORKER_LANES__BULK__RELAY", "default")
    app.forget_runtime()
    ids = [send_email.delay(EMAIL, lane=lane).id for lane in ("default", "bulk")]
    assert set(run("mail", "list", "--state", "ready").split()) == set(ids)
    assert run("mail", "list", "--state", "ready", "--lane", "bulk").split() == ids[1:]
    assert run("mail", "cancel", "--state", "ready", "--lane", "bulk") == "1 cancelled\n"
    assert run("mail", "requeue", "--state", "cancelled") == "1 ready\n"


def test_a_mail_that_dies_again_at_once_is_given_one_go_only(ledger, monkeypatch):
    dead(ledger, 3)
    real = app.runtime.requeue

    def requeue(lane, mail_ids):
        states = real(lane, mail_ids)
        batch = ledger.claim("default", Claiming(1000, 1 << 24, 60_000, 9), answering=True)
        ledger.settle("default", [Settlement(claim, "b") for claim in batch.mails])
        return states

    monkeypatch.setattr(app.runtime, "requeue", requeue)
    assert run("mail", "requeue", "--state", "dead") == "3 ready\n"


def test_one_mail_is_requeued_purged_or_refused_by_its_id(ledger):
    one, two = dead(ledger, 2)
    assert run("mail", "requeue", one) == "1 ready\n"
    purged = CliRunner().invoke(main, ["mail", "purge", two, one])
    assert (purged.exit_code, purged.output) == (1, "1 purged\nError: not purged: 1 ready\n")
    assert "no id" in CliRunner().invoke(main, ["mail", "cancel", "nonsense"]).output
    assert CliRunner().invoke(main, ["mail", "requeue"]).exit_code == 2


def test_a_result_can_be_revoked_as_celery_users_expect(ledger):
    result = send_email.apply_async((EMAIL,), countdown=60)
    result.revoke()
    assert result.state == states.REVOKED
    assert run("mail", "cancel", result.id) == "1 cancelled\n"


def test_a_quarantined_mail_is_listed_with_its_reason_and_can_be_requeued(ledger, valkey):
    mail = send_email.delay(EMAIL).id
    with valkey.client() as client:
        record = f"mw:{{default}}:m:{mail}"
        client.hset(record, "attempts", "many")
        assert ledger.claim("default", Claiming(10, 1 << 24, 60_000, 9), answering=True).mails == ()
        assert json.loads(run("mail", "list", "--state", "quarantined", "--json"))["mails"] == [mail]
        assert "makes no sense" in run("mail", "show", mail)
        assert json.loads(run("status", "--json"))["lanes"]["default"]["quarantined"] == 1
        client.hdel(record, "attempts")
    assert run("mail", "requeue", "--state", "quarantined") == "1 ready\n"
    assert run("mail", "list", "--state", "quarantined") == ""


def test_a_mail_is_shown_with_the_relay_that_took_it(ledger):
    taken, waiting = (result.id for result in send_email.many([EMAIL] * 2))
    (claim,) = ledger.claim("default", Claiming(1, 1 << 24, 60_000, 9), answering=True).mails
    ledger.settle("default", [Settlement(claim, "d", relay="ses")])
    assert "\nrelay       ses\n" in run("mail", "show", taken)
    assert json.loads(run("mail", "show", taken, "--json"))["relay"] == "ses"
    assert "\nrelay " not in run("mail", "show", waiting)


@pytest.mark.parametrize("state", ["cancelled", "expired", "partial", "unreadable"])
def test_every_end_that_was_not_hoped_for_can_be_listed(ledger, valkey, state):
    mail = send_email.delay(Email(**{**dict(EMAIL), "to": ("ann@example.org", "bob@example.org")})).id
    if state == "cancelled":
        run("mail", "cancel", mail)
    elif state == "expired":
        with valkey.client() as client:
            client.hset(f"mw:{{default}}:m:{mail}", "expires", 1)
        ledger.claim("default", Claiming(10, 1 << 24, 60_000, 9), answering=True)
    else:
        (claim,) = ledger.claim("default", Claiming(10, 1 << 24, 60_000, 9), answering=True).mails
        if state == "partial":
            ledger.settle("default", [Settlement(claim, "db")])
        else:
            ledger.set_aside("default", [Unreadable(mail, claim.fence, "no key 'a'", may_heal=True)])
            assert "1 unreadable" in run("status")
    assert run("mail", "list", "--state", state).split() == [mail]


SPOILT = {
    "mw:{relay:default}:breaker": ("state", "epoch", "opened", "till", "since"),
    "mw:{*}:lesson:default": ("rate", "ceiling", "hold"),
    "mw:{relay:default}:links": ("somebody",),
    "mw:{relay:default}:most": ("most",),
}


@pytest.mark.parametrize(("key", "field"), [(key, field) for key, each in SPOILT.items() for field in (None, *each)])
def test_a_relay_of_which_workers_share_nonsense_is_shown_with_its_cure(ledger, valkey, monkeypatch, key, field):
    for relay in ("DEFAULT", "OTHER"):
        monkeypatch.setenv(f"MAILWORKER_RELAYS__{relay}__HOST", "mx.example.com")
    app.forget_runtime()
    with valkey.client() as client:
        client.set(key, "garbage") if field is None else client.hset(key, field, "garbage")
    cure = f"redis-cli DEL '{key}'"
    for words in (("status",), ("relay", "list"), ("relay", "show", "default")):
        shown = CliRunner().invoke(main, words)
        assert (shown.exit_code, type(shown.exception)) == (1, SystemExit)
        assert "unreadable" in shown.output
        assert cure in shown.output
        told = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
        relays = told if words[-1] == "list" else told.get("relays", {"default": told})
        assert (relays["default"]["state"], cure in relays["default"]["reason"]) == ("unreadable", True)
        assert relays.get("other", {"state": "closed"})["state"] == "closed"
    with valkey.client() as client:
        client.delete(key)
    assert "unreadable" not in run("status") + run("relay", "list")


def test_a_person_can_close_a_breaker_that_makes_no_sense(ledger, valkey):
    with valkey.client() as client:
        client.hset("mw:{relay:default}:breaker", mapping={"state": "garbage", "epoch": "garbage"})
    assert run("relay", "close", "default").endswith("relay default: closed -> closed\n")
    assert json.loads(run("relay", "show", "--json"))["state"] == "closed"


def test_all_that_bounds_a_relay_today_is_told(monkeypatch):
    told = {"LIMITS": "1000/d", "WARM_UP_START": "2026-01-01", "DOMAIN_LIMITS": "gmail.com 20/s"}
    told["WARM_UP_DAILY"] = ",".join(["5"] * 20_000)  # half a century
    for name, value in told.items():
        monkeypatch.setenv(f"MAILWORKER_RELAYS__DEFAULT__{name}", value)
    app.forget_runtime()
    (relay,) = json.loads(run("relay", "list", "--json")).values()
    assert relay["limits"] == ["1000/day", "5 today, warming up", "gmail.com 20/s"]


def test_limits_of_domains_are_told_as_they_are_written(monkeypatch):
    written = "gmail.com 20/s, * 100/min"
    monkeypatch.setenv("MAILWORKER_RELAYS__DEFAULT__DOMAIN_LIMITS", written)
    app.forget_runtime()
    (relay,) = json.loads(run("relay", "list", "--json")).values()
    assert ", ".join(relay["limits"]) == written
    assert f"MAILWORKER_RELAYS__DEFAULT__DOMAIN_LIMITS={written}\n" in run("config", "show")
