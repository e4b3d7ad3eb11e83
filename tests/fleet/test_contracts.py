"""A script of the fleet says what it takes, and asks only what Redis 6.2 can answer."""

import re
from importlib import resources

import pytest

from mailworker.fleet import FleetKeys
from mailworker.scripts import load_script

FOLDER = resources.files("mailworker.scripts") / "relay"
NAMES = sorted(f.name for f in FOLDER.iterdir() if f.name.endswith(".lua"))


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_takes_and_answers(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text.startswith(f"-- {name.removesuffix('.lua')}: ")
    for part in ("KEYS", "ARGV", "ANSWERS", "PARTS"):
        assert re.search(rf"^-- {part} +\S", text, re.MULTILINE), part


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"pin.lua", "switch.lua"}])
def test_a_full_server_stops_no_worker(name: str) -> None:
    """Its first write is one that needs no memory."""
    text = load_script(f"relay/{name.removesuffix('.lua')}").text.decode()
    body = text[text.index(f"-- {name.removesuffix('.lua')}: ") :]
    first = re.search(r"redis\.call\('(\w+)'", body)
    assert first is not None
    assert first[1] in {"HDEL", "ZREM"} or "move(KEYS" in body


def test_keys_of_one_script_share_a_cluster_slot_and_no_lane_s() -> None:
    keys = FleetKeys("mw")
    limits = [keys.lesson("a"), *keys.line("b"), keys.bucket("relay:a/s"), keys.bucket("lane:x/day")]
    for together in (keys.breaker("ses"), keys.links("relay", "ses"), keys.links("host", "mx.example"), limits):
        (tag,) = {re.search(r"\{(.+?)\}", key)[1] for key in together}
        assert not re.fullmatch(r"[a-z0-9_-]{1,32}", tag)


@pytest.mark.parametrize("name", ["", "a}b", "a b", "x" * 256, "ä"])
def test_a_name_that_would_break_a_key_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is named in"):
        FleetKeys("mw").lesson(name)
