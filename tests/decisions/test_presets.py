"""A provider's name and a secret are enough, what a person sets wins, and a contradiction is told with its cure."""

import datetime as dt
import os

import pytest

from mailworker.policy.presets import all_presets, preset_named
from mailworker.policy.rates import Rate
from mailworker.relay import smtp_config
from mailworker.settings import Settings, SettingsError, load_settings
from tests.presets_page import PAGE, written

PRESETS = {name.replace("REGION", "eu-west-1"): preset for name, preset in all_presets().items()}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("MAILWORKER_"):
            monkeypatch.delenv(name)


def settings_of(monkeypatch, **names: str) -> Settings:
    for name, value in names.items():
        monkeypatch.setenv(f"MAILWORKER_{name}", value)
    return load_settings()


def fault(monkeypatch, **names: str) -> str:
    with pytest.raises(SettingsError) as caught:
        settings_of(monkeypatch, **names)
    return str(caught.value)


def login(name: str) -> dict[str, str]:
    preset = PRESETS[name]
    if preset.login == "none":
        return {}
    user = {} if preset.username else {"RELAYS__DEFAULT__USERNAME": "me@example.com"}
    return user | {"RELAYS__DEFAULT__PASSWORD": "hush"}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_and_a_secret_are_enough(monkeypatch, name):
    settings = settings_of(monkeypatch, RELAY=name, **login(name))
    relay, preset = settings.relays["default"], preset_named(name)
    config = smtp_config("default", relay)
    assert (config.host, config.port, config.tls.value) == (preset.host, preset.port, preset.tls)
    assert "{" not in config.host
    assert ", ".join(map(str, relay.limits)) == preset.limits
    assert relay.max_recipients == preset.recipients
    assert relay.all_connections == preset.connections
    if preset.login != "none":
        assert config.credentials.username == (preset.username or "me@example.com")


def test_the_file_s_top_names_a_preset_too(monkeypatch, tmp_path):
    path = tmp_path / "mail.toml"
    path.write_text('relay = "sendgrid"\n[relays.default]\npassword = "SG.x"\n[relays.b]\npreset = "mailpit"\n')
    settings = settings_of(monkeypatch, CONFIG=str(path))
    assert settings.relays["default"].username == "apikey"
    assert (settings.relays["b"].host, settings.relays["b"].port) == ("localhost", 1025)


def test_what_a_person_sets_wins_over_the_preset(monkeypatch):
    relay = settings_of(
        monkeypatch,
        RELAYS__DEFAULT__PRESET="microsoft365",
        RELAYS__DEFAULT__HOST="smtp.example.com",
        RELAYS__DEFAULT__LIMITS="5/min",
        RELAYS__DEFAULT__ALL_CONNECTIONS="1",
    ).relays["default"]
    assert (relay.host, relay.limits, relay.all_connections) == ("smtp.example.com", (Rate(5, 60),), 1)
    assert relay.max_recipients == 500


@pytest.mark.parametrize(
    ("set_by_hand", "port", "tls"),
    [
        ({"PORT": "587"}, 587, "starttls"),
        ({"TLS": "starttls"}, 587, "starttls"),
        ({"PORT": "465"}, 465, "implicit"),
        ({"PORT": "2525", "TLS": "implicit"}, 2525, "implicit"),
    ],
)
def test_a_port_of_one_s_own_brings_its_kind_of_tls_and_the_other_way_round(monkeypatch, set_by_hand, port, tls):
    named = {f"RELAYS__DEFAULT__{name}": value for name, value in set_by_hand.items()}
    relay = settings_of(monkeypatch, RELAY="gmail", **named).relays["default"]
    assert (relay.port, relay.tls) == (port, tls)


def test_one_token_may_be_user_name_and_password(monkeypatch):
    relay = settings_of(monkeypatch, RELAY="postmark", RELAYS__DEFAULT__PASSWORD="to-ken").relays["default"]
    assert smtp_config("default", relay).credentials.username == "to-ken"
    assert "to-ken" not in repr(relay)


@pytest.mark.parametrize(("name", "near"), [("gmial", "gmail"), ("mailgun-eu", "mailgun:eu"), ("ses", "ses:eu-west-1")])
def test_an_unknown_preset_is_told_with_the_nearest(monkeypatch, name, near):
    told = fault(monkeypatch, RELAY=name)
    assert "MAILWORKER_RELAYS__DEFAULT__PRESET" in told
    assert repr(near) in told


@pytest.mark.parametrize(
    ("names", "place", "cure"),
    [
        ({"RELAY": "gmail", "RELAYS__DEFAULT__PRESET": "yahoo"}, "relays.default.preset", "drop one"),
        ({"RELAY": "gmail", "RELAYS__DEFAULT__TLS": "none"}, "relays.default", "leave tls out"),
        (
            {"RELAY": "sendgrid", "RELAYS__DEFAULT__USERNAME": "me", "RELAYS__DEFAULT__PASSWORD": "x"},
            "username",
            "leave it out",
        ),
        (
            {
                "RELAYS__A__HOST": "h.test",
                "RELAYS__A__TLS": "none",
                "RELAYS__A__USERNAME": "u",
                "RELAYS__A__PASSWORD": "p",
            },
            "relays.a",
            "starttls",
        ),
        ({"RELAY": "ses:eu-west-1", "LIMITS__RECIPIENTS": "60"}, "relays.default.max_recipients", "lower"),
        ({"RELAY": "postmark", "LIMITS__MESSAGE_BYTES": "20000000"}, "relays.default.max_message_bytes", "lower"),
        ({"RELAYS__DEFAULT__LIMITS": "30 recipients/min"}, "relays.default", "lower limits.recipients to 30"),
        ({"LANES__BULK__LIMITS": "30 recipients/min"}, "lanes.bulk", "raise the limit"),
        (
            {"RELAYS__DEFAULT__WARM_UP_START": "2026-11-01", "RELAYS__DEFAULT__WARM_UP_DAILY": "50, 100"},
            "relays.default.limits",
            "'200/day'",
        ),
        ({"LANES__BULK__RELAY": "defualt"}, "lanes.bulk.relay", "'default'"),
        ({"WORKER__LEASE_SECONDS": "4"}, "worker.lease_seconds", "lower the timeout"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_place_and_its_cure(monkeypatch, names, place, cure):
    told = fault(monkeypatch, **names)
    assert place in told
    assert cure in told


def test_all_that_does_not_go_together_is_told_at_once(monkeypatch):
    told = fault(monkeypatch, LANES__BULK__RELAY="fast", WORKER__LEASE_SECONDS="2")
    assert len(told.splitlines()) == 3


def test_a_password_may_go_in_the_clear_to_this_machine_or_unseen(monkeypatch):
    account = {"RELAYS__DEFAULT__TLS": "none", "RELAYS__DEFAULT__USERNAME": "u", "RELAYS__DEFAULT__PASSWORD": "p"}
    settings_of(monkeypatch, RELAYS__DEFAULT__HOST="127.0.0.1", **account)
    settings_of(monkeypatch, RELAYS__DEFAULT__HOST="h.test", RELAYS__DEFAULT__AUTH_METHOD="SCRAM-SHA-256", **account)


def test_a_worker_is_told_what_secret_a_provider_wants():
    settings = Settings(relay="ses:eu-west-1")
    with pytest.raises(SettingsError, match="SMTP password of that region"):
        smtp_config("default", settings.relays["default"])


def test_every_figure_has_a_source_and_the_page_tells_it():
    for name, preset in all_presets().items():
        assert preset.sources, name
        for source in preset.sources:
            assert source.address.startswith("https://")
            assert dt.date.fromisoformat(source.read).year >= 2026
    assert PAGE.read_text(encoding="utf-8") == written(), "run `make docs-table`"
