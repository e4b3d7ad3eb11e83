"""What a person changes while real workers run holds at once, and what is wrong changes nothing."""

import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner

from mailworker import Email, app, send_email
from mailworker.cli import main
from mailworker.passage import WINDOW
from smtp_transport.testing import FaultPlan, FaultServer, Peer, Say, behaved
from tests.system.conftest import Post, wait_until

pytestmark = pytest.mark.system


def some_mails(count: int, **options: object) -> None:
    send_email.many(
        [Email(from_="shop@example.com", to="ann@example.org", subject="Order", text_body="Thank you.")] * count,
        **options,
    )


def run(*words: str) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output


def arrived(post: Post, count: int) -> None:
    wait_until(lambda: len(post.stored()) >= count, f"{count} mails")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_new_limits_hold_after_a_hangup_and_broken_ones_are_refused(post, environment, tmp_path, pool):
    """The lane rests for a minute because of the old limit: the new one ends that."""
    config = tmp_path / "mail.toml"
    environment.setenv("MAILWORKER_CONFIG", str(config))
    config.write_text('[relays.default]\nlimits = "2/h"\n')
    app.forget_runtime()
    worker = post.worker("-P", pool, "-c", "1")
    some_mails(5)
    arrived(post, 2)
    wait_until(lambda: app.runtime.ledger.stats("default").paused_ms > 50_000, "the lane rests")
    for broken, fault in (('limits = "fast"', "is no rate"), ("[worker]\nbatch_mails = 7", "takes a restart")):
        config.write_text(f"[relays.default]\n{broken}\n")
        worker.process.send_signal(signal.SIGHUP)
        wait_until(lambda fault=fault: fault in worker.log.read_text(), "the fault is told")
    assert worker.log.read_text().count("the old settings stay in force") == 2
    # A process that is forked meanwhile reads no broken file.
    assert len(post.stored()) == 2
    config.write_text('[relays.default]\nlimits = "100/s"\n')
    worker.process.send_signal(signal.SIGHUP)
    arrived(post, 5)
    assert worker.stop() == 0


def test_children_that_are_forked_while_the_file_is_broken_go_by_the_old_settings(post, environment, tmp_path):
    config = tmp_path / "mail.toml"
    environment.setenv("MAILWORKER_CONFIG", str(config))
    config.write_text('[relays.default]\nlimits = "1000/s"\n')
    app.forget_runtime()
    _ = app.runtime
    post.worker("-c", "1", "--max-tasks-per-child", "1")
    config.write_text("[relays\n")
    for count in (1, 2, 3):
        some_mails(1)
        arrived(post, count)


def test_a_relay_and_a_lane_are_held_and_let_go_at_once(post):
    post.worker("-c", "2")
    run("relay", "hold", "default", "--reason", "maintenance")
    some_mails(3)
    wait_until(lambda: "left alone by hand" in app.runtime.ledger.stats("default").pause_reason, "the lane rests")
    assert post.stored() == []
    run("relay", "close", "default")
    arrived(post, 3)
    run("lane", "pause", "default")
    some_mails(2)
    some_mails(1, lane="bulk")
    arrived(post, 4)
    assert app.runtime.ledger.stats("default").ready == 2
    run("lane", "resume", "default")
    arrived(post, 6)


@dataclass
class Turnstile:
    """Lets a relay's verdict on a mail pass when the test wants it."""

    waiting: list[None] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)

    def play(self, peer: Peer) -> None:
        self.waiting.append(None)
        assert self.free.wait(60)
        Say("250 2.0.0 ok").play(peer)


@pytest.fixture
def relay(request, environment) -> Iterator[tuple[FaultServer, Turnstile]]:
    turnstile = Turnstile()
    turnstile.free.set()
    with FaultServer(behaved(*request.param, faults=FaultPlan().always("DOT", turnstile)), strict=False) as server:
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__PORT", str(server.port))
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__MAX_CONNECTIONS", "1")
        app.forget_runtime()
        yield server, turnstile
        turnstile.free.set()


@pytest.mark.parametrize("relay", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")], indirect=True)
@pytest.mark.parametrize(
    ("stop", "go"),
    [
        (("relay", "hold", "default"), ("relay", "close", "default")),
        (("relay", "open", "default"), ("relay", "close", "default")),
        (("lane", "pause", "default"), ("lane", "resume", "default")),
    ],
)
def test_what_a_person_stops_stops_with_the_window_on_the_wire(post, relay, stop, go):
    """A batch of fifty is in hand; no attempt is burnt, and all of it flows when it is let go."""
    server, turnstile = relay

    def taken() -> int:
        return sum(len(conversation.contents) for conversation in server.conversations)

    post.worker("-c", "1")
    some_mails(10)
    wait_until(lambda: not app.runtime.ledger.stats("default").claims and taken() == 10, "the relay is known as quick")
    turnstile.free.clear()
    turnstile.waiting.clear()
    results = send_email.many([Email(from_="a@example.com", to="b@example.org", subject="Hi", text_body="Hi.")] * 50)
    wait_until(lambda: turnstile.waiting, "one is on the wire")
    wait_until(lambda: app.runtime.ledger.stats("default").claims == 50, "all are in hand")
    run(*stop, "--reason", "maintenance")
    turnstile.free.set()
    wait_until(lambda: app.runtime.ledger.stats("default").claims == 0, "the rest is given back")
    wait_until(lambda: app.runtime.ledger.stats("default").paused_ms, "the lane rests")
    sent = taken() - 10
    assert 1 <= sent <= WINDOW
    assert app.runtime.ledger.stats("default").ready == 50 - sent
    run(*go)
    reports = [result.get(timeout=30) for result in results]
    assert {report["attempts"] for report in reports} == {1}
    assert taken() == 60
