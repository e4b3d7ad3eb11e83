"""Settings are read as a whole or not at all, and a fault names its place and its cure."""

import os

import pytest

from mailworker.policy.routes import Route
from mailworker.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("MAILWORKER_"):
            monkeypatch.delenv(name)


def fault(monkeypatch, **names: str) -> str:
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_nothing_configured_is_a_whole_configuration():
    settings = load_settings()
    assert settings.lane("default").relay == (Route("default"),)
    assert settings.relays["default"].port == 587


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MAILWORKER_REDIS__ULR", "MAILWORKER_REDIS__URL"),
        ("MAILWORKER_RELAYS__DEFAULT__HSOT", "MAILWORKER_RELAYS__DEFAULT__HOST"),
        ("MAILWORKER_RELAYS__MAIN__HOTS", "MAILWORKER_RELAYS__MAIN__HOST"),
        ("MAILWORKER_RELAY__HOST", "MAILWORKER_RELAYS__DEFAULT__HOST"),
        ("MAILWORKER_CONFIGURATION", "MAILWORKER_CONFIG"),
        ("MAILWORKER_LANES__BULK__MAX_ATEMPTS", "MAILWORKER_LANES__BULK__MAX_ATTEMPTS"),
    ],
)
def test_an_unknown_name_stops_the_program_with_the_nearest_known_one(monkeypatch, name, nearest):
    text = fault(monkeypatch, **{name: "x"})
    assert name in text
    assert nearest in text


def test_an_unknown_name_in_the_file_is_told_with_the_file(monkeypatch, tmp_path):
    path = tmp_path / "mail.toml"
    path.write_text('[relays.default]\nhots = "smtp.example.com"\n')
    text = fault(monkeypatch, MAILWORKER_CONFIG=str(path))
    assert "relays.default.hots" in text
    assert "relays.default.host" in text
    assert str(path) in text


def test_the_environment_wins_over_the_file_name_by_name(monkeypatch, tmp_path):
    path = tmp_path / "mail.toml"
    path.write_text('[relays.default]\nhost = "file.example.com"\nport = 2525\n')
    monkeypatch.setenv("MAILWORKER_CONFIG", str(path))
    monkeypatch.setenv("MAILWORKER_RELAYS__DEFAULT__HOST", "env.example.com")
    relay = load_settings().relays["default"]
    assert (relay.host, relay.port) == ("env.example.com", 2525)


def test_the_environment_reaches_relays_and_lanes_that_the_file_writes_otherwise(monkeypatch, tmp_path):
    path = tmp_path / "mail.toml"
    path.write_text(
        '[relays.Ses-EU]\nusername = "u"\n[relays.ses_eu2]\n[lanes.news-letter]\nrelay = "Ses-EU"\n[relays.default]\n'
    )
    monkeypatch.setenv("MAILWORKER_CONFIG", str(path))
    monkeypatch.setenv("MAILWORKER_RELAYS__SES_EU__PASSWORD", "hush")
    monkeypatch.setenv("MAILWORKER_LANES__NEWS_LETTER__MAX_ATTEMPTS", "7")
    monkeypatch.setenv("MAILWORKER_RELAYS__NEW__HOST", "smtp.example.com")
    settings = load_settings()
    assert set(settings.relays) == {"Ses-EU", "ses_eu2", "default", "new"}
    assert settings.relays["Ses-EU"].password is not None
    assert {name: lane.max_attempts for name, lane in settings.lanes.items()} == {"default": 30, "news-letter": 7}


def test_a_bad_value_is_told_by_both_its_names_and_not_repeated(monkeypatch):
    text = fault(monkeypatch, MAILWORKER_RELAYS__DEFAULT__PORT="hunter2")
    assert "MAILWORKER_RELAYS__DEFAULT__PORT" in text
    assert "relays.default.port" in text
    assert "hunter2" not in text


def test_a_lane_with_an_unknown_relay_is_refused(monkeypatch):
    assert "'fast'" in fault(monkeypatch, MAILWORKER_LANES__BULK__RELAY="fast")


def test_half_an_account_is_refused(monkeypatch):
    assert "together" in fault(monkeypatch, MAILWORKER_RELAYS__DEFAULT__USERNAME="ann")


def test_a_time_limit_shorter_than_a_drain_is_refused(monkeypatch):
    assert "time_limit_seconds" in fault(monkeypatch, MAILWORKER_WORKER__TIME_LIMIT_SECONDS="100")


def test_a_lease_shorter_than_the_watch_is_refused(monkeypatch):
    assert "lease_seconds" in fault(monkeypatch, MAILWORKER_WORKER__LEASE_SECONDS="2")


def test_a_lane_must_have_a_usable_name(monkeypatch):
    assert "lane" in fault(monkeypatch, **{"MAILWORKER_LANES__A B__RELAY": "default"}).lower()


def test_an_unreadable_file_is_told(monkeypatch, tmp_path):
    assert "cannot read" in fault(monkeypatch, MAILWORKER_CONFIG=str(tmp_path / "missing.toml"))


def test_a_broken_file_is_told(monkeypatch, tmp_path):
    path = tmp_path / "mail.toml"
    path.write_text("[relays\n")
    assert "not a TOML file" in fault(monkeypatch, MAILWORKER_CONFIG=str(path))


def test_limits_that_do_not_count_the_same_stand_side_by_side(monkeypatch):
    monkeypatch.setenv("MAILWORKER_RELAYS__DEFAULT__LIMITS", "10/s, 20 recipients/s, 100/min")
    monkeypatch.setenv("MAILWORKER_RELAYS__DEFAULT__DOMAIN_LIMITS", "* 1/s, a.example 1/s, a.example 60/min")
    monkeypatch.setenv("MAILWORKER_LIMITS__RECIPIENTS", "20")
    relay = load_settings().relays["default"]
    assert (len(relay.limits), len(relay.domain_limits)) == (3, 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[relays]\ndefault = "ses:eu-west-1"', "[relays.default]"),
        ("[lanes]\nbulk = 3", "[lanes.bulk]"),
        ('redis = "redis://x"', "[redis]"),
        ("[relays.default]\nlimits = 14", "relays.default.limits"),
        ("relays = {}", "There are none"),
        ('[lanes."Big Bulk"]\nrelay = "default"', "'Big Bulk'"),
    ],
)
def test_a_value_of_the_wrong_shape_is_told_with_the_right_one(monkeypatch, tmp_path, text, told):
    path = tmp_path / "mail.toml"
    path.write_text(text)
    assert told in fault(monkeypatch, MAILWORKER_CONFIG=str(path))


def test_a_file_may_come_from_windows_and_name_relays_in_a_list(monkeypatch, tmp_path):
    path = tmp_path / "mail.toml"
    path.write_bytes('\ufeff[relays.a]\r\n[relays.b]\r\n[lanes.default]\r\nrelay = ["a", "b"]\r\n'.encode())
    monkeypatch.setenv("MAILWORKER_CONFIG", str(path))
    assert load_settings().lanes["default"].relay == (Route("a", 0), Route("b", 1))


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("MAILWORKER_RELAYS__DEFAULT__USERNAME", "ann")
    monkeypatch.setenv("MAILWORKER_RELAYS__DEFAULT__PASSWORD", "hunter2")
    monkeypatch.setenv("MAILWORKER_REDIS__URL", "redis://:hunter2@localhost/0")
    monkeypatch.setenv("MAILWORKER_SEALING__KEYS", "a:aHVudGVyMg==,b:aHVudGVyMg==")
    settings = load_settings()
    assert len(settings.sealing.keys) == 2
    assert "hunter2" not in repr(settings) + settings.model_dump_json()
    assert "aHVudGVy" not in repr(settings) + settings.model_dump_json()


def test_an_unknown_lane_is_told_with_the_nearest_one(monkeypatch):
    monkeypatch.setenv("MAILWORKER_LANES__BULK__RELAY", "default")
    with pytest.raises(LookupError, match="did you mean 'bulk'"):
        load_settings().lane("bluk")


def test_what_relays_and_lanes_may_do_is_written_in_words(monkeypatch, tmp_path):
    path = tmp_path / "mailworker.toml"
    path.write_text(
        """
        [relays.ses]
        limits = ["14/s", "50000/day"]
        domain_limits = "gmail.com 20/s, * 100 recipients/min"
        warm_up_start = 2026-11-01
        warm_up_daily = [50, 100]
        [relays.backup]
        [relays.default]
        [lanes.default]
        relay = "ses*3 + default, backup"
        hours = "mon-fri 08:00-20:00, sat 10:00-14:00"
        time_zone = "Europe/Berlin"
        tenant_weights = "big*5, vip * 2"
        """
    )
    monkeypatch.setenv("MAILWORKER_CONFIG", str(path))
    monkeypatch.setenv("MAILWORKER_LANES__DEFAULT__LIMITS", "5/s, 100/h")
    settings = load_settings()
    lane, relay = settings.lanes["default"], settings.relays["ses"]
    assert lane.relay == (Route("ses", 0, 3), Route("default", 0), Route("backup", 1))
    assert [str(rate) for rate in lane.limits] == ["5/s", "100/h"]
    assert [str(each) for each in relay.domain_limits] == ["gmail.com 20/s", "* 100 recipients/min"]
    assert relay.warm_up is not None
    assert relay.warm_up.daily == (50, 100)
    assert settings.used_relays == ("backup", "default", "ses")
    assert {each.tenant: each.share for each in lane.tenant_weights} == {"big": 5, "vip": 2}
    plain = settings.model_dump(mode="json")
    assert plain["lanes"]["default"]["tenant_weights"] == "big*5, vip*2"
    assert plain["lanes"]["default"]["relay"] == "ses*3 + default, backup"
    assert plain["lanes"]["default"]["hours"] == "mon,tue,wed,thu,fri 08:00-20:00, sat 10:00-14:00"


def test_what_is_shown_of_a_lane_and_a_relay_can_be_read_again(monkeypatch):
    lane = {
        "relay": "a*3 + b, c",
        "hours": "mon-fri 08:00-20:00 ,sat,sun 10:00-14:00,",
        "tenant_weights": "big*5, vip*2",
    }
    lane |= {"limits": "5/s, 100 recipients/h burst 60", "suppress_days": "0"}
    relay = {"domain_limits": "gmail.com 20/s, * 60 recipients/min", "limits": "9/2min"}
    relay |= {"warm_up_start": "2026-11-01", "warm_up_daily": "50, 100"}
    given = {"relays": {"a": relay, "b": {}, "c": {}}, "lanes": {"default": lane}}
    first = Settings(**given)
    assert [str(each) for each in first.lanes["default"].hours] == [
        "mon,tue,wed,thu,fri 08:00-20:00",
        "sat,sun 10:00-14:00",
    ]
    plain = first.model_dump(mode="json", exclude_defaults=True)
    for section in ("lanes", "relays"):
        for name, settings in plain[section].items():
            for setting, value in settings.items():
                monkeypatch.setenv(f"MAILWORKER_{section}__{name}__{setting}".upper(), str(value))
    monkeypatch.setenv("MAILWORKER_RELAYS__B__PORT", "587")
    monkeypatch.setenv("MAILWORKER_RELAYS__C__PORT", "587")
    again = load_settings()
    assert again.lanes == first.lanes
    assert {name: again.relays[name] for name in "abc"} == dict(first.relays)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("RELAYS__DEFAULT__LIMITS", "fast", "14/s"),
        ("RELAYS__DEFAULT__LIMITS", "10/s, 20/s", "count the same"),
        ("RELAYS__DEFAULT__LIMITS", "100/min, 9000/60s", "count the same"),
        ("RELAYS__DEFAULT__DOMAIN_LIMITS", "* 1/s, a.example 2/s, a.example 3/s", "count the same"),
        ("RELAYS__DEFAULT__DOMAIN_LIMITS", "gmail.com", "gmail.com 20/s"),
        ("BROKER__URL", "ampq://localhost", "amqp://"),
        ("BROKER__URL", "localhost", "amqp://"),
        ("BROKER__URL", "redis://localhost/x", "number of a database"),
        ("REDIS__URL", "redis://localhost:6379/mail", "number of a database"),
        ("WORKER__TIME_LIMIT_SECONDS", "inf", "finite"),
        ("RELAYS__DEFAULT__WARM_UP_DAILY", "50, 100", "must be set together"),
        ("LANES__DEFAULT__HOURS", "always", "mon-fri 08:00-20:00"),
        ("LANES__DEFAULT__TIME_ZONE", "Berlin", "Europe/Berlin"),
        ("LANES__DEFAULT__RELAY", "a + + b", "ses, sendgrid"),
        ("LANES__DEFAULT__RELAY", "default, default", "twice"),
        ("LANES__DEFAULT__RELAY", "default*0", "between 1 and 1000"),
        ("LANES__DEFAULT__TENANT_WEIGHTS", "big", "big*5"),
        ("LANES__DEFAULT__TENANT_WEIGHTS", "big*0", "big*5"),
        ("LANES__DEFAULT__TENANT_WEIGHTS", "big*101", "from 1 to 100"),
        ("LANES__DEFAULT__TENANT_WEIGHTS", "big*2, big*3", "named twice"),
    ],
)
def test_words_that_mean_nothing_are_refused_where_they_stand(monkeypatch, name, value, told):
    monkeypatch.setenv(f"MAILWORKER_{name}", value)
    with pytest.raises(SettingsError, match=told.replace("+", r"\+").replace("*", r"\*")) as caught:
        load_settings()
    assert f"MAILWORKER_{name.rpartition('__')[0]}" in str(caught.value)
