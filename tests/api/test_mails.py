"""What a person decides about mails: one, many, or those that fit a filter, by Python and by the command line."""

import datetime as dt
import json

import pytest
from click.testing import CliRunner

from mailworker import Email, RefusedError, app, mails, send_email
from mailworker.cli import main
from mailworker.outcome import Said, seal_said
from mailworker.record import Claiming, Settlement


def email(to="ann@example.org") -> Email:
    return Email(from_="shop@example.com", to=to, subject="Hi", text_body="Hi.")


def dead(ledger, to="ann@example.org", code=550, enhanced="5.1.1") -> str:
    """A mail that one recipient's server refused."""
    result = send_email.delay(email(to))
    (claim,) = ledger.claim("default", Claiming(1, 1 << 24, 60_000, 9), answering=True).mails
    told = seal_said([Said(code, enhanced, "no")], claim.id, app.runtime.keys)
    ledger.settle("default", [Settlement(claim, "b", told=told)])
    return result.id


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def found(*arguments, **filters) -> list[str]:
    return [report.id for report in mails.find(*arguments, **filters)]


@pytest.mark.parametrize("sealed", [False, True])
def test_mails_are_found_by_code_and_by_domain(ledger, monkeypatch, sealed):
    if sealed:
        monkeypatch.setenv("MAILWORKER_SEALING__KEYS", "k1:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")
        app.forget_runtime()
    unknown = dead(ledger)
    policy = dead(ledger, to="bob@Example.net", code=554, enhanced="5.7.1")
    assert found("dead") == [policy, unknown]
    assert found("dead", code=550) == found("dead", code="5.1.1") == found("dead", domain="example.org") == [unknown]
    assert found("dead", code="5.7") == found("dead", domain="example.NET") == [policy]
    assert found("dead", code="5") == [policy, unknown]
    assert found("dead", code=55) == found("dead", code=550, domain="example.net") == []


def test_sealed_addresses_that_cannot_be_read_are_not_guessed(ledger, monkeypatch):
    monkeypatch.setenv("MAILWORKER_SEALING__KEYS", "k1:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")
    app.forget_runtime()
    mail_id = dead(ledger)
    monkeypatch.delenv("MAILWORKER_SEALING__KEYS")
    app.forget_runtime()
    with pytest.raises(RefusedError, match="sealed with a key that is not here"):
        found("dead", domain="example.org")
    assert found("dead") == [mail_id]


def test_mails_are_found_by_age(ledger):
    mail_id = dead(ledger)
    hour = dt.timedelta(hours=1)
    assert found("dead", older_than=hour) == []
    assert found("dead", younger_than=hour) == [mail_id]
    ended = mails.get(mail_id).ended_ms
    app.runtime.redis.hset(f"mw:{{default}}:m:{mail_id}", "ended", ended - 7_200_000)
    assert found("dead", older_than=hour) == [mail_id]
    assert found("dead", younger_than=hour) == []


def test_mails_that_wait_are_found_where_they_are(ledger, end):
    later = send_email.apply_async((email(),), countdown=60)
    end()
    again = send_email.delay(email())
    end("-", delay_ms=60_000)
    ready = send_email.delay(email())
    states = {state: found(state) for state in ("scheduled", "deferred", "ready", "sending")}
    assert states == {"scheduled": [later.id], "deferred": [again.id], "ready": [ready.id], "sending": []}


def test_what_was_found_is_decided_about_at_once(ledger):
    policy = [dead(ledger, code=554, enhanced="5.7.1") for _ in range(3)]
    unknown = dead(ledger)
    assert mails.requeue(mails.find("dead", code="5.7")) == dict.fromkeys(reversed(policy), "ready")
    assert mails.purge(mails.find("dead")) == {unknown: "purged"}
    assert mails.get(unknown) is None
    assert mails.cancel(mails.find("ready")) == dict.fromkeys(found("cancelled"), "cancelled")
    assert mails.requeue([*policy, unknown]) == {**dict.fromkeys(policy, "ready"), unknown: "unknown"}
    assert mails.purge(policy[0]) == {policy[0]: "ready"}


def test_mails_are_found_in_all_lanes_unless_one_is_named(ledger, monkeypatch):
    monkeypatch.setenv("MAILWORKER_LANES__BULK__RELAY", "default")
    app.forget_runtime()
    usual, bulk = (send_email.apply_async((email(),), countdown=60, lane=lane).id for lane in ("default", "bulk"))
    assert (found("scheduled"), found("scheduled", lane="default")) == ([bulk, usual], [usual])


def test_what_cannot_be_asked_is_refused(ledger):
    with pytest.raises(RefusedError, match="state: must be one of"):
        mails.find("sent")
    with pytest.raises(RefusedError, match="did you mean"):
        mails.find("dead", lane="defualt")
    with pytest.raises(ValueError, match="no id"):
        mails.requeue("nonsense")


def test_the_command_line_filters_as_python_does(ledger):
    unknown, policy = dead(ledger), dead(ledger, to="bob@example.net", code=554, enhanced="5.7.1")
    assert json.loads(run("mail", "list", "--code", "5.7", "--json"))["mails"] == [policy]
    assert run("mail", "requeue", "--state", "dead", "--domain", "example.net") == "1 ready\n"
    assert run("mail", "cancel", "--state", "ready") == "1 cancelled\n"
    assert run("mail", "purge", "--state", "dead", "--older-than", "1") == "0 purged\n"
    assert run("mail", "purge", "--state", "dead", "--younger-than", "1") == "1 purged\n"
    assert mails.get(unknown) is None
    refused = CliRunner().invoke(main, ["mail", "purge", policy, "--code", "550"])
    assert (refused.exit_code, "go with --state" in refused.output) == (2, True)
