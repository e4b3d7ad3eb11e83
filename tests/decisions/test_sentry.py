"""What is left of an event for Sentry: names, places, and texts of our own."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentry_sdk.utils import event_from_exception

from mailworker.ledger import LedgerError
from mailworker.sentry import report_to_sentry, scrubbed, scrubbed_crumb
from mailworker.settings import Settings, SettingsError

SECRET = "qzmarker"


def event_of(error: BaseException) -> dict:
    """The event that the SDK makes of an error, with everything that it can tell."""
    told = dict.fromkeys(("include_local_variables", "include_source_context"), True)

    def fail() -> None:
        raise error

    try:
        fail()
    except BaseException as raised:  # noqa: BLE001 - whatever a test gives
        event, _ = event_from_exception(raised, client_options={**told, "max_value_length": None, "custom_repr": None})
    return event


def errors(event: dict) -> list[tuple[str, str]]:
    return [(error["type"], error["value"]) for error in event["exception"]["values"]]


def test_an_error_is_told_by_its_sort_and_place_and_its_text_if_it_is_ours():
    theirs, ours = ValueError(f"{SECRET} said"), LedgerError("the relay said <ann@example.org> is gone")
    ours.__cause__ = theirs
    kept = scrubbed(event_of(ours))
    assert errors(kept) == [
        ("ValueError", "(not shown: it could quote a mail)"),
        ("LedgerError", "the relay said <a***@example.org> is gone"),
    ]
    assert kept["exception"]["values"][1]["stacktrace"]["frames"][-1]["function"] == "fail"
    assert SECRET not in str(kept)


def test_notes_of_an_error_are_not_told():
    error = ValueError("x")
    error.add_note(SECRET)
    assert SECRET not in str(scrubbed(event_of(error)))


words = st.text(alphabet="abc -@.", max_size=6)
trees = st.recursive(words | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(words, inner))


@given(st.dictionaries(st.sampled_from(["extra", "request", "user", "threads", "modules", "spans", "new"]), trees))
def test_what_an_event_is_not_known_to_hold_does_not_go_out(besides):
    event = {"level": "error", "contexts": {"celery": {"args": [SECRET]}, "runtime": {"name": "CPython"}}}
    assert scrubbed(event | besides) == {"level": "error", "contexts": {"runtime": {"name": "CPython"}}}


@pytest.mark.parametrize(
    ("logger", "told"),
    [
        ("mailworker", "lane default: a***@example.org"),
        ("smtp_transport.pool", "lane default: a***@example.org"),
        ("celery.worker.request", "lane %s: %s"),
        ("shop", "(not shown: it could quote a mail)"),
        ("mailworkers", "(not shown: it could quote a mail)"),
    ],
)
def test_a_log_line_is_told_whole_if_it_is_ours(logger, told):
    said = {"message": "lane %s: %s", "formatted": "lane default: ann@example.org", "params": ["default", "ann"]}
    assert scrubbed({"logger": logger, "logentry": said})["logentry"] == {"message": told}


@pytest.mark.parametrize(
    ("crumb", "told"),
    [
        (
            {"type": "log", "category": "mailworker", "message": "to ann@example.org", "data": {"x": SECRET}},
            "to a***@example.org",
        ),
        ({"type": "log", "category": "celery.worker.strategy", "message": SECRET}, None),
        ({"type": "redis", "category": "redis", "message": SECRET}, None),
        ({"type": "log", "category": "shop", "message": SECRET}, None),
    ],
)
def test_of_what_went_before_only_our_own_log_is_told(crumb, told):
    kept = scrubbed_crumb(crumb)
    assert (kept and kept["message"]) == told
    assert SECRET not in str(kept)


def test_sentry_is_asked_for_by_name_and_else_left_alone(monkeypatch):
    monkeypatch.delenv("SENTRY_DSN", raising=False)
    assert not report_to_sentry(Settings())
    assert "public" not in repr(Settings(sentry={"dsn": "http://public@127.0.0.1:1/1"}))


def test_a_missing_sdk_is_told_if_the_settings_ask_for_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    monkeypatch.setenv("SENTRY_DSN", "http://public@127.0.0.1:1/1")
    assert not report_to_sentry(Settings())
    with pytest.raises(SettingsError, match=r"pip install 'mailworker\[sentry\]'"):
        report_to_sentry(Settings(sentry={"dsn": "http://public@127.0.0.1:1/1"}))
