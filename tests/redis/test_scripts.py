from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from mailworker.ledger import Ledger, MailState, NewMail, Pause, Settlement, Untold
from mailworker.ledger.seals import Change
from mailworker.record import Unreadable
from mailworker.scripts import load_script

if TYPE_CHECKING:
    from tests.redis.conftest import Rig

FOLDER = resources.files("mailworker.scripts")
NAMES = sorted(f.name.removesuffix(".lua") for f in FOLDER.iterdir() if f.name.endswith(".lua"))
TRANSITIONS = {"accept", "claim", "mark_dot", "settle", "turn", "release", "renew", "wake", "recover", "ring"} | {
    "bury",
    "stats",
    "cancel",
    "wait",
    "hand_on",
    "postpone",
    "rest",
    "resume",
    "paused_by_hand",
    "recall",
    "requeue",
    "set_aside",
    "store_file",
    "purge",
    "untold",
    "told",
    "ring_untold",
    "heads",
    "reseal",
}
OF_WORKERS = {"sign", "roll"}
LANE_KEYS = 8


def body(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def header(name: str) -> dict[str, str]:
    """The header's entries: a word in capitals, then its text, which may go on in the next lines."""
    lines = [line.removeprefix("--") for line in body(name).splitlines() if line.startswith("--")]
    entries: dict[str, str] = {}
    current = "WHAT"
    for line in lines:
        if entry := re.match(r" ([A-Z]{4,8}) +(\S.*)", line):
            current = entry[1]
            entries[current] = entry[2]
        else:
            entries[current] = f"{entries.get(current, '')} {line.strip()}".strip()
    return entries


def test_every_transition_is_a_script_of_the_package() -> None:
    assert set(NAMES) == TRANSITIONS | OF_WORKERS


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_takes_and_answers(name: str) -> None:
    told = header(name)
    assert told["WHAT"].startswith(f"{name}: ")
    assert {"KEYS", "ARGV", "ANSWERS", "PARTS"} <= set(told)
    assert told["KEYS"].startswith("roll" if name in OF_WORKERS else "lane")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_fits_on_a_screen(name: str) -> None:
    lines = body(name).splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", NAMES)
def test_a_script_runs_on_the_oldest_server(name: str) -> None:
    text = load_script(name).text.decode()
    assert not re.search(r"KEYS \*|'(KEYS|SCAN|FUNCTION|FCALL|SPUBLISH|EXPIRETIME|LMPOP|ZMPOP|EVAL)'", text)
    assert not re.search(r"\bos\.|math\.random|'(NX|XX|GT|LT)', *'(NX|XX)'", text)


@pytest.mark.parametrize("name", NAMES)
def test_a_part_is_named_if_and_only_if_it_is_used(name: str) -> None:
    parts = [part for part in header(name)["PARTS"].split() if part != "-"]
    used = " ".join([body(name), *((FOLDER / "parts" / f"{part}.lua").read_text() for part in parts)])
    for part in parts:
        text = (FOLDER / "parts" / f"{part}.lua").read_text(encoding="utf-8")
        defined = re.findall(r"^local (?:function )?([\w, ]+)", text, re.MULTILINE)
        names = [n.strip() for group in defined for n in group.split(",") if n.strip()]
        others = used.replace(text, "")
        assert not names or any(re.search(rf"\b{n}\b", others) for n in names), part


@pytest.mark.parametrize("name", sorted(TRANSITIONS - {"accept", "stats", "heads", "store_file", "paused_by_hand"}))
def test_a_script_that_workers_need_makes_room_before_it_writes(name: str) -> None:
    text = load_script(name).text.decode()
    writes = [m.start() for m in re.finditer(r"redis\.call\('(HSET|SET|ZADD|HINCRBY|DEL|HDEL|ZREM|PEXPIRE)'", text)]
    assert text.index("redis.call('ZREM', CLAIMS, '')") == writes[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_digest_is_what_the_server_would_compute(name: str, redis: Redis) -> None:
    script = load_script(name)
    assert redis.script_load(script.text) == script.sha == hashlib.sha1(script.text).hexdigest()  # noqa: S324 - Redis's


def test_a_script_that_does_not_exist_is_not_loaded() -> None:
    with pytest.raises(FileNotFoundError):
        load_script("requeue_everything")


class Counting:
    """A client that notes how many keys each script was given."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.names = {load_script(name).sha: name for name in NAMES}
        self.passed: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.redis, name)

    def evalsha(self, sha: str, number: int, *rest: bytes | str | int) -> Any:
        self.passed[self.names[sha]] = number
        return self.redis.evalsha(sha, number, *rest)


def test_a_script_gets_as_many_keys_as_its_header_names(rig: Rig) -> None:
    counting = Counting(rig.redis)
    rig.ledger = Ledger(counting)
    mails: list[NewMail] = [rig.new(key="a" * 64), rig.new(key="b" * 64), rig.new()]
    rig.ledger.accept("news", mails)
    rig.batch(owner="somebody")
    rig.ledger.departed.bury("news", lambda name: name == "somebody")
    first, second, third = rig.batch().mails
    rig.ledger.mark_dot("news", [first, second, third], 1000)
    rig.ledger.turn("news", [Settlement(first, "-")], [second, third], 1000)
    rig.ledger.renew("news", [first, second, third], 1000)
    rig.ledger.release("news", [first, second, third], Pause(1, 1, "why"))
    rig.ledger.sweep("news")
    rig.ledger.bells.ring("news")
    rig.ledger.bells.wait("news", "who", 1, answering=True)
    rig.ledger.bells.hand_on("news", "who")
    rig.ledger.pauses.rest("news", 1, "why")
    rig.ledger.postpone("news", [first, second, third], [1, 1, 1])
    rig.ledger.pauses.by_hand_ms("news")
    rig.ledger.pauses.recall("news", "default", 1)
    rig.ledger.pauses.resume("news")
    rig.ledger.stats("news")
    rig.ledger.set_aside("news", [Unreadable(mail.id, 9, "", may_heal=True) for mail in mails])
    rig.ledger.files.store("news", "f" * 64, b"content")
    rig.ledger.outbox.ring("news")
    rig.ledger.outbox.take("news", 1, 1)
    rig.ledger.outbox.told("news", [Untold(mail.id, MailState.SENT, b"", 0) for mail in mails])
    rig.ledger.seals.heads([mail.id for mail in mails], 9)
    rig.ledger.seals.replace([Change(mail.id, "payload", b"old", b"new") for mail in mails])
    rig.settle(first, "d")
    for by_hand in (rig.ledger.cancel, rig.ledger.purge, lambda lane, ids: rig.ledger.requeue(lane, ids, 1000)):
        by_hand("news", [mail.id for mail in mails])
    counts = {"lane": LANE_KEYS, "record": len(mails), "key": 2}
    for name, number in counting.passed.items():
        named = header(name)["KEYS"]
        mails_told = 1 if name == "settle" else counts["record"]
        expected = LANE_KEYS + ("a record for each" in named) * mails_told + ("a key for each" in named) * 2
        expected += name == "store_file"
        assert number == expected, name
    assert set(counting.passed) == TRANSITIONS


def test_a_server_that_forgot_the_scripts_is_taught_again(rig: Rig) -> None:
    rig.accept()
    rig.redis.script_flush()
    assert rig.claim().attempts == 1
