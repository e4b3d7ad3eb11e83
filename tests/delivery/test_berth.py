"""A process's connections are leased before they are opened, and closed before others may have them."""

import threading
import time

import pytest

from mailworker import links as module
from mailworker.fleet import FleetKeys, Links
from mailworker.ledger import LedgerUnavailableError, Server
from mailworker.links import Berth, Harbour


class Moored:
    """Stands for the pool of a process: as many links are open as threads use, and what is kept idle."""

    def __init__(self) -> None:
        self.idle = 0
        self.busy = 0
        self.told: list[int] = []

    def __call__(self, links: int) -> int:
        self.told.append(links)
        self.idle = max(0, min(self.idle, links - self.busy))
        return self.idle + self.busy


IN_EARNEST_SECONDS = 0.45


def waits_for(what) -> None:
    """Have somebody who asked in vain wait long enough to be believed."""
    until = time.monotonic() + 10
    asked = time.monotonic()
    while time.monotonic() - asked < IN_EARNEST_SECONDS:
        assert time.monotonic() < until
        threading.Event().wait(0.05)  # only time makes it so
    assert not what()


class Port:
    """Real leases, of processes that this one plays."""

    def __init__(self, client) -> None:
        self.server = Server(client)
        self.keys = FleetKeys("mw")
        self.moored: dict[str, Moored] = {}

    def links(self, name: str, most: int) -> Links:
        return Links(self.server.run, self.server.read, self.keys.links("relay", name), most)

    def berth(self, who: str, *most: int, want: int = 5) -> Berth:
        moored = self.moored[who] = Moored()
        pools = [self.links(f"pool{place}", bound) for place, bound in enumerate(most)]
        return Berth(pools, who, want, moored)

    def let_turn_pass(self, who: str) -> None:
        """Have somebody held his links for twenty seconds."""
        held = self.keys.links("relay", "pool0")[1]
        has, wants, since = self.server.redis.hget(held, who).decode().split("/")
        self.server.redis.hset(held, who, f"{has}/{wants}/{int(since) - 20_000}")

    def holders(self, place: int = 0) -> dict[str, int]:
        return {who: links for who, links in self.links(f"pool{place}", 1).report().holders.items() if links}


@pytest.fixture
def port(valkey):
    with valkey.client() as client:
        client.flushall()
        yield Port(client)


def test_as_many_links_are_leased_as_threads_send(port):
    berth = port.berth("a", 10)
    assert [berth.take() for _ in range(6)] == [True] * 5 + [False]
    assert port.holders() == {"a": 5}


def test_a_link_that_another_thread_uses_is_not_taken(port):
    a, b = port.berth("a", 2), port.berth("b", 2)
    assert a.take()
    assert b.take()
    assert not a.take()
    a.leave()
    assert a.take()


def test_what_nobody_uses_is_closed_before_others_may_have_it(port, monkeypatch):
    monkeypatch.setattr(module, "_UNUSED_SECONDS", -1.0)
    a, b = port.berth("a", 1), port.berth("b", 1)
    assert a.take()
    port.moored["a"].busy = 1
    assert not b.take()
    waits_for(b.take)
    a.tend()  # hears that somebody waits
    port.moored["a"].busy, port.moored["a"].idle = 0, 1
    a.leave()
    a.tend()
    assert port.moored["a"].idle == 0
    assert port.holders() == {}
    assert b.take()


def test_whoever_ends_lets_those_who_wait_have_its_links_at_once(port):
    a, b = port.berth("a", 1), port.berth("b", 1)
    assert a.take()
    assert not b.take()
    waits_for(b.take)
    a.tend()
    a.rest()
    assert a.held == 1, "a thread uses it"
    a.leave()
    a.rest()
    assert b.take()


def test_a_link_in_use_counts_until_it_is_closed_whatever_was_agreed(port):
    a, b = port.berth("a", 2), port.berth("b", 2)
    assert a.take()
    assert a.take()
    port.moored["a"].busy = 2
    assert not b.take()
    waits_for(b.take)
    a.tend()
    assert a.held == 1
    a.tend()
    assert sum(port.holders().values()) == 2
    port.moored["a"].busy = 1
    a.leave()
    a.tend()
    assert sum(port.holders().values()) == 1


def test_of_two_bounds_the_tighter_one_holds_and_none_keeps_what_the_other_forbids(port):
    a, b = port.berth("a", 5, 2), port.berth("b", 5, 2)
    assert [a.take(), a.take(), a.take()] == [True, True, False]
    assert not b.take()
    assert port.holders(0) == {"a": 2}
    assert port.holders(1) == {"a": 2}
    assert "b" in port.links("pool1", 2).report().holders, "it is known to wait at the host too"


def test_a_relay_that_refuses_a_link_is_not_asked_again_at_once(port):
    berth = port.berth("a", 10)
    assert berth.take()
    berth.crowded()
    berth.leave()
    assert not berth.take()
    assert berth.ask_again_ms > 400


def test_links_that_are_open_may_be_used_while_more_are_refused(port):
    berth = port.berth("a", 10)
    assert berth.take()
    assert berth.take()
    port.moored["a"].busy = 1
    berth.crowded()
    berth.leave()
    port.moored["a"].busy, port.moored["a"].idle = 0, 1
    berth.leave()
    assert berth.take()
    assert berth.room == 1


def test_what_cannot_be_renewed_is_closed_before_the_lease_is_over(port, monkeypatch):
    berth = port.berth("a", 1)
    assert berth.take()
    berth.leave()
    port.moored["a"].idle = 1
    berth.lapse()
    assert berth.held == 1
    monkeypatch.setattr(module, "_LAPSE_SECONDS", -1.0)
    berth.lapse()
    assert (berth.held, port.moored["a"].idle) == (0, 0)


class Deaf:
    def __init__(self) -> None:
        self.asked = threading.Event()

    def run(self, *_: object) -> object:
        self.asked.set()
        raise LedgerUnavailableError("down")


def test_a_harbour_out_of_reach_says_so_once_and_goes_on(port, monkeypatch, caplog):
    monkeypatch.setattr(module, "_TEND_SECONDS", 0.01)
    harbour = Harbour()
    deaf, rounds = Deaf(), threading.Semaphore(0)
    monkeypatch.setattr(module, "_LAPSE_SECONDS", -1.0)
    berth = harbour.berth([port.links("pool0", 5)], "a", 5, Moored())
    assert berth.take()
    berth._pools = [Links(deaf.run, port.server.read, port.keys.links("relay", "pool0"), 5)]
    monkeypatch.setattr(berth, "lapse", lambda lapse=berth.lapse: (lapse(), rounds.release()))
    assert deaf.asked.wait(10)
    assert rounds.acquire(timeout=10)
    assert berth.held == 0
    harbour.close()
    assert len([record for record in caplog.records if "could not be renewed" in record.message]) == 1


def test_a_link_that_was_promised_counts_before_it_is_opened(port, monkeypatch):
    """Its turn is over between the leave to send and the connection."""
    a, b = port.berth("a", 1), port.berth("b", 1)
    assert a.take()
    assert not b.take()
    waits_for(b.take)
    port.let_turn_pass("a")
    a.tend()
    assert a.held == 0
    a.tend()
    assert not b.take(), "it is about to be opened"
    a.leave()
    a.tend()
    assert b.take()


def test_an_outage_is_told_once_however_many_berths_have_nothing_to_renew(port, monkeypatch, caplog):
    monkeypatch.setattr(module, "_TEND_SECONDS", 0.01)
    monkeypatch.setattr(module, "_TEND_WANTED_SECONDS", 0.01)
    harbour = Harbour()
    harbour.berth([port.links("pool0", 5)], "idle", 5, Moored())
    berth = harbour.berth([port.links("pool1", 5)], "a", 5, Moored())
    assert berth.take()
    rounds = threading.Semaphore(0)
    deaf = Deaf()
    berth._pools = [Links(deaf.run, port.server.read, port.keys.links("relay", "pool1"), 5)]
    monkeypatch.setattr(berth, "lapse", rounds.release)
    for _ in range(4):
        assert rounds.acquire(timeout=10)
    harbour.close()
    assert len([record for record in caplog.records if "could not be renewed" in record.message]) == 1


def test_what_is_kept_is_renewed_until_it_is_let_go(port, monkeypatch):
    monkeypatch.setattr(module, "_TEND_SECONDS", 0.01)
    harbour = Harbour()
    heard = threading.Semaphore(0)
    end = harbour.keep(heard.release)
    assert heard.acquire(timeout=10)
    assert heard.acquire(timeout=10)
    end()
    end()
    assert not harbour._kept
    harbour.close()
