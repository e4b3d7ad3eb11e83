"""Addresses that are not tried again, by the command line and by Python, against a real ledger."""

import datetime as dt
import json

import pytest
from click.testing import CliRunner

from mailworker import RefusedError, app, suppress
from mailworker.cli import main
from mailworker.sealing import new_key

KEYS = {name: new_key(name) for name in ("old", "new")}


@pytest.fixture
def use(valkey, monkeypatch):
    """Configure keys, in an empty ledger at first."""
    monkeypatch.setenv("MAILWORKER_REDIS__URL", valkey.url)
    monkeypatch.setenv("MAILWORKER_LANES__BULK__RELAY", "default")
    with valkey.client() as client:
        client.flushall()

    def configure(*names: str) -> None:
        monkeypatch.setenv("MAILWORKER_SEALING__KEYS", ",".join(KEYS[name] for name in names))
        app.forget_runtime()

    yield configure
    app.forget_runtime()


@pytest.fixture(autouse=True)
def used(use):
    use("old")


def run(*arguments: str, exit_code: int = 0, given: str | None = None):
    result = CliRunner().invoke(main, ["suppress", *arguments], input=given)
    assert result.exit_code == exit_code, result.output
    return result


def held(lane: str | None = None) -> dict[str, tuple[str | None, str]]:
    return {entry.address: (entry.lane, entry.reason) for entry in suppress.entries(lane)}


def test_an_address_is_put_on_a_list_shown_and_taken_off():
    assert run("add", "Ann@example.org", "bob@bücher.example", "--reason", "asked").stdout == "2 suppressed\n"
    assert run("add", "ann@example.org", "--lane", "bulk", "--expires", "30").stdout == "1 suppressed\n"
    shown = json.loads(run("show", "ann@EXAMPLE.org", "--json").stdout)["suppressed"]
    assert {(one["lane"], one["reason"], one["until_ms"] is None) for one in shown} == {
        (None, "asked", True),
        ("bulk", "by hand", False),
    }
    listed = run("list").stdout
    assert "(all)" in listed
    assert "ann@" not in listed.lower()
    assert "a***@example.org" in listed.lower()
    assert run("remove", "ann@example.org").stdout == "2 removed\n"
    assert list(held()) == ["bob@xn--bcher-kva.example"]
    assert "not suppressed" in run("show", "ann@example.org", exit_code=1).output
    assert "none of them" in run("remove", "ann@example.org", exit_code=1).output


def test_one_lane_s_list_is_left_to_it():
    run("add", "ann@example.org", "--lane", "bulk")
    run("add", "ann@example.org", "--lane", "default")
    assert run("remove", "ann@example.org", "--lane", "bulk").stdout == "1 removed\n"
    assert held("bulk") == {}
    assert held("default") == {"ann@example.org": ("default", "by hand")}


def test_what_is_exported_can_be_imported_elsewhere(use, valkey):
    run("add", "ann@example.org", "--reason", 'said "no, thanks"')
    run("add", "bob@example.org", "--lane", "bulk", "--expires", "30")
    before = {entry.address: (entry.since_ms // 1000, entry.lane, entry.reason) for entry in suppress.entries()}
    exported = run("export")
    assert "2 addresses" in exported.stderr
    with valkey.client() as client:
        client.flushall()
    use("new")
    assert run("import", "-", given=exported.stdout).stdout == "2 suppressed\n"
    assert before == {entry.address: (entry.since_ms // 1000, entry.lane, entry.reason) for entry in suppress.entries()}
    (bob,) = suppress.find("bob@example.org")
    assert 29 * 86_400_000 < bob.until_ms - bob.since_ms <= 30 * 86_400_000


def test_a_plain_list_of_another_system_is_read():
    given = "\ufeffann@example.org\n\nbob@example.org,complained\n"
    assert run("import", "-", "--lane", "bulk", "--expires", "1", given=given).stdout == "2 suppressed\n"
    assert held() == {"ann@example.org": ("bulk", "imported"), "bob@example.org": ("bulk", "complained")}


def test_rows_that_cannot_be_read_are_told_and_the_others_are_imported():
    given = (
        "Address,Lane,Until\nann@example.org,,\nno address,,\nbob@example.org,nolane,\n"
        "eve@example.org,,tomorrow\nzoe@example.org,bulk,2099-01-01\n"
    )
    result = run("import", "-", given=given, exit_code=1)
    assert result.stdout == "2 suppressed\n"
    for told in ("line 3: address: ", "line 4: lane: there is no lane 'nolane'", "line 5: a time is written as"):
        assert told in result.stderr
    assert "bob@" not in result.stderr
    assert set(held()) == {"ann@example.org", "zoe@example.org"}


def test_a_file_of_another_encoding_is_refused_with_its_cure(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes("ann@example.org\n".encode("utf-16"))
    assert "save it so" in run("import", str(path), exit_code=1).stderr


def test_thousands_are_imported_with_progress():
    given = "".join(f"u{n}@example.org\n" for n in range(1_200))
    result = run("import", "-", given=given)
    assert result.stdout == "1200 suppressed\n"
    assert "\r500 addresses" in result.stderr
    assert len(held()) == 1_200


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "nonsense"),
        ("add", "ann@example.org", "--lane", "nolane"),
        ("add", "ann@example.org", "--expires", "0"),
        ("add",),
        ("list", "--lane", "nolane"),
        ("import", "-", "--lane", "nolane"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(arguments):
    run(*arguments, exit_code=2)
    assert held() == {}


@pytest.mark.parametrize("expires", [0, -1.0, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2099, 1, 1)])  # noqa: DTZ001 - without a zone on purpose
def test_an_end_is_a_time_to_come(expires):
    with pytest.raises(RefusedError, match="expires"):
        suppress.add("ann@example.org", expires=expires)


def test_an_end_may_be_a_moment_or_seconds():
    moment = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
    suppress.add("ann@example.org", expires=moment)
    suppress.add("bob@example.org", expires=60)
    assert suppress.find("ann@example.org")[0].until_ms == moment.timestamp() * 1000
    (bob,) = suppress.find("bob@example.org")
    assert bob.until_ms - bob.since_ms == 60_000


def test_a_list_goes_from_one_key_to_the_next_with_the_mails(use):
    suppress.add("ann@example.org")
    use("new", "old")
    told = {key["id"]: key["addresses"] for key in json.loads(keys("check", "--json"))["keys"]}
    assert told == {"new": 0, "old": 1}
    keys("reseal")
    use("new")
    assert {key["id"]: key["addresses"] for key in json.loads(keys("check", "--json"))["keys"]} == {"new": 1}
    assert suppress.find("ann@example.org")[0].reason == "by hand"


def test_what_is_sealed_with_a_key_that_is_gone_is_told_of_and_not_exported(use):
    suppress.add("ann@example.org")
    use("new")
    suppress.add("bob@example.org")
    exported = run("export", exit_code=1)
    assert "ann" not in exported.stdout
    assert "bob@example.org" in exported.stdout
    assert "1 addresses are sealed with keys that are not configured here" in exported.stderr
    assert "missing" in CliRunner().invoke(main, ["keys", "check"]).output.lower()


def keys(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["keys", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout
