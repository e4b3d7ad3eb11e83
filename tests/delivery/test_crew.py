"""Several links at once: only where a relay is slow, never more than it stands, and nothing lost when one leaves."""

import threading
from collections.abc import Iterator

import pytest

from mailworker.crew import RelayLinks
from mailworker.delivery import Drain
from mailworker.ledger import LedgerUnavailableError
from mailworker.mates import Mates
from mailworker.settings import MOST_SLICES
from smtp_transport.errors import ErrorKind, SmtpConnectionError
from smtp_transport.phase import Phase
from tests.delivery.test_drain import OK, Desk, Wire, receipt

A_LONG_REPLY = 0.12
REFUSED = SmtpConnectionError("refused", ErrorKind.CONNECTION_REFUSED)


class SlowWire(Wire):
    """Each mail's reply takes long; `most` links at once, all others are refused."""

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self.most = most
        self.links: set[threading.Thread] = set()
        self.peak = 0
        self.refused = 0
        self.lock = threading.Lock()

    def deliver(self, transactions, permit):
        with self.lock:
            if len(self.links) >= self.most:
                self.refused += 1
                raise REFUSED
            self.links.add(threading.current_thread())
            self.peak = max(self.peak, len(self.links))
        try:
            for index, mail in enumerate(transactions):
                assert permit([index])
                threading.Event().wait(A_LONG_REPLY)  # what a slow server does
                self.sent.append(mail.envelope.recipients)
                yield index, receipt(mail, Phase.DOT, OK)
        finally:
            with self.lock:
                self.links.discard(threading.current_thread())


def crowd(desk: Desk, most: int = 20) -> Desk:
    """Let a desk have so many links to a relay of which nothing is known."""
    desk.links = RelayLinks(lambda: most)
    return desk


@pytest.fixture
def desk(valkey) -> Iterator[Desk]:
    with valkey.client() as client:
        client.flushall()
        desk = Desk(client)
        yield desk
        desk.renewer.close()
        desk.doorway.harbour.close()


def test_a_quick_relay_is_served_by_one_link(desk):
    mails = desk.accept(count=120)
    assert crowd(desk).drain() == 120
    assert {desk.state(mail) for mail in mails} == {"sent"}
    assert desk.hired == 1


def test_a_slow_relay_gets_as_many_links_as_what_waits_needs(desk):
    mails = desk.accept(count=50)
    desk.wire = SlowWire()
    assert crowd(desk, 5).drain() == 50
    assert desk.wire.peak == 5
    assert {desk.state(mail) for mail in mails} == {"sent"}
    assert len(desk.wire.sent) == 50


def test_few_mails_need_few_links(desk):
    desk.accept(count=10)
    desk.wire = SlowWire()
    assert crowd(desk).drain() == 10
    assert 2 <= desk.wire.peak <= 3


def test_a_link_that_is_refused_while_others_work_is_done_without(desk):
    mails = desk.accept(count=40)
    desk.wire = SlowWire(most=3)
    crowd(desk).drain()
    assert desk.wire.refused
    assert {desk.state(mail) for mail in mails} == {"sent"}
    assert {desk.ledger.read(mail).attempts for mail in mails} == {1}
    assert desk.ledger.stats("default").pause_failures == 0

    refused = desk.wire.refused
    desk.accept(count=40)
    desk.drain()
    assert desk.wire.refused == refused


def test_a_relay_that_refuses_every_link_is_left_alone(desk):
    mails = desk.accept(count=3)
    desk.wire.cannot_connect = REFUSED
    crowd(desk).drain()
    assert {(desk.state(mail), desk.ledger.read(mail).attempts) for mail in mails} == {("ready", 0)}
    assert desk.ledger.stats("default").pause_failures == 1


def test_a_worker_that_stops_waits_for_all_links_and_loses_nothing(desk):
    mails = desk.accept(count=60)
    desk.wire = SlowWire()
    desk.stopping = lambda: desk.wire.peak >= 4
    settled = crowd(desk).drain()
    states = [desk.state(mail) for mail in mails]
    assert 4 <= settled == states.count("sent") < 60
    assert set(states) == {"sent", "ready"}
    assert not desk.wire.links


def test_a_ledger_out_of_reach_ends_all_links(desk):
    desk.accept(count=30)
    desk.wire = SlowWire()
    real = desk.ledger.claim

    def claim(*arguments, **options):
        if desk.wire.peak >= 3:
            raise LedgerUnavailableError("away")
        return real(*arguments, **options)

    desk.ledger.claim = claim
    with pytest.raises(LedgerUnavailableError):
        crowd(desk).drain()
    assert not desk.wire.links


def test_what_goes_wrong_in_a_link_is_not_hidden(desk):
    desk.accept(count=30)
    desk.wire = SlowWire()
    hire = desk.hire

    class BrokenDrain(Drain):
        def run(self) -> int:
            raise ZeroDivisionError

    def broken(mates: Mates, is_first: object) -> Drain:
        drain = hire(mates, is_first)
        return drain if is_first else BrokenDrain(drain.policy, drain.tools, drain.who, mates)

    desk.hire = broken
    with pytest.raises(ZeroDivisionError):
        crowd(desk).drain()


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_slice_goes_on_while_several_links_work_and_nobody_waits_for_the_process(desk, is_wanted):
    desk.slice_seconds = 0.3
    desk.accept(count=200)
    desk.wire = SlowWire()
    answers = []
    desk.is_wanted = lambda: answers.append(is_wanted) or is_wanted
    settled = crowd(desk, 3).drain()
    assert len(answers) >= 1
    assert (len(answers) == MOST_SLICES - 1) == (not is_wanted)
    assert 0 < settled < 200
    assert desk.ledger.stats("default").claims == 0
