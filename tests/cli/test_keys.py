"""From one sealing key to the next, by the command line, against a real ledger."""

import json
import threading

import pytest
from click.testing import CliRunner

from mailworker import Email, app, send_email
from mailworker.cli import main
from mailworker.intake import open_mail
from mailworker.outcome import Said, note_of, open_said, seal_said
from mailworker.record import Claiming, Settlement
from mailworker.rotation import reseal
from mailworker.sealing import KeyRing, new_key

EMAIL = Email(from_="shop@example.com", to="ann@example.org", subject="Hi", text_body="Hi.")
OLD, NEW = new_key("old"), new_key("new")
WANT = Claiming(1000, 1 << 24, 60_000, 9)


@pytest.fixture
def use(valkey, monkeypatch):
    """Configure keys, in an empty ledger at first."""
    monkeypatch.setenv("MAILWORKER_REDIS__URL", valkey.url)
    monkeypatch.setattr(app, "ring", lambda lane: True)
    with valkey.client() as client:
        client.flushall()

    def configure(*keys: str) -> None:
        monkeypatch.setenv("MAILWORKER_SEALING__KEYS", ",".join(keys))
        app.forget_runtime()

    yield configure
    app.forget_runtime()


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == exit_code, result.output
    return result.stdout


def needed() -> dict[str, tuple[int, int]]:
    told = json.loads(run("keys", "check", "--json"))
    return {key["id"]: (key["open"], key["ended"]) for key in told["keys"]}


def bounce(count: int = 1) -> list[str]:
    """Leave mails with everything sealed that a record can hold."""
    mails = [result.id for result in send_email.many([EMAIL] * count)]
    ledger, keys, said = app.runtime.ledger, app.runtime.keys, Said(550, "5.1.1", "no such user ann")
    batch = ledger.claim("default", WANT, answering=True)
    ledger.settle(
        "default",
        [
            Settlement(c, "b", told=seal_said([said], c.id, keys), note=note_of(1, "bounced", said, c.id, keys))
            for c in batch.mails
        ],
    )
    return mails


def test_a_new_key_can_be_used_as_it_is_printed(use):
    first, second = run("keys", "new").strip(), run("keys", "new", "--id", "2027").strip()
    assert second.startswith("2027:")
    use(first, second)
    assert app.runtime.keys.ids == (first.partition(":")[0], "2027")
    assert "colon" in CliRunner().invoke(main, ["keys", "new", "--id", "a:b"]).stderr


def test_every_mail_is_put_under_the_new_key_and_the_old_one_is_needed_no_more(use):
    use(OLD)
    dead, waiting = bounce(3), send_email.delay(EMAIL).id
    use(NEW, OLD)
    assert needed() == {"new": (0, 0), "old": (1, 3)}
    assert "needed no more" not in run("keys", "reseal", "--dry-run")
    assert needed() == {"new": (0, 0), "old": (1, 3)}
    assert "needed no more" in run("keys", "reseal")
    use(NEW)
    assert needed() == {"new": (1, 3)}
    (claim,) = app.runtime.ledger.claim("default", WANT, answering=True).mails
    assert (claim.id, open_mail(claim, app.runtime.keys).email.subject) == (waiting, "Hi")
    report = app.runtime.report(dead[0])
    assert report.recipients[0].text == report.history[0]["text"] == "no such user ann"


def test_a_key_that_mails_need_and_nobody_has_is_told_by_its_name(use):
    use(OLD)
    send_email.delay(EMAIL)
    use(NEW)
    result = CliRunner().invoke(main, ["keys", "check"])
    assert (result.exit_code, "'old'" in result.stderr, "MISSING" in result.stdout) == (1, True, True)
    assert CliRunner().invoke(main, ["keys", "reseal"]).exit_code == 1
    use(OLD)
    assert needed() == {"old": (1, 0)}


def test_mails_from_before_there_were_keys_are_sealed_too(use):
    use()
    bounce()
    use(NEW)
    assert needed() == {"new": (0, 0), "": (0, 1)}
    run("keys", "reseal")
    assert needed() == {"new": (0, 1)}


def test_what_is_no_mail_of_ours_stops_nobody(use, valkey):
    use(OLD)
    mail, broken = (result.id for result in send_email.many([EMAIL] * 2))
    with valkey.client() as client:
        client.set("mw:{default}:m:no-mail", "x")
        client.delete(f"mw:{{default}}:m:{broken}")
        client.set(f"mw:{{default}}:m:{broken}", "not a hash")
    use(NEW, OLD)
    run("keys", "reseal")
    assert needed() == {"new": (1, 0), "old": (0, 0)}
    assert app.runtime.report(mail).message_id != "?"


def test_a_worker_that_settles_meanwhile_keeps_its_word(use):
    """Resealing and settling go on at once; whatever a worker wrote last is what stands."""
    use(OLD)
    count = 60
    send_email.many([EMAIL] * count)
    use(NEW, OLD)
    ledger, keys = app.runtime.ledger, app.runtime.keys
    is_over = threading.Event()

    def work() -> None:
        for attempt in range(1, 6):
            mails = ledger.claim("default", WANT, answering=True).mails
            said = Said(450, None, f"attempt {attempt}")
            ledger.settle("default", [Settlement(c, "-", told=seal_said([said], c.id, keys)) for c in mails])
            while ledger.sweep("default").due:
                pass
        is_over.set()

    worker = threading.Thread(target=work)
    worker.start()
    rings = [keys, KeyRing.parse([OLD, NEW])]
    while not is_over.is_set():
        for ring in rings:
            assert reseal(ledger.seals, ledger.files, ring, lambda seen, changed: None) == 0
    worker.join()
    for mail_id in set(ledger.seals.mails()):
        record = ledger.read(mail_id)
        (said,) = open_said(record.told, mail_id, 1, keys)
        assert said is not None
        assert said.text == "attempt 5"
