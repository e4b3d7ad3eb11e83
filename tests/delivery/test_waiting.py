"""Where a lane has to wait until mails may be sent, one of its workers does, and all others do something else."""

import threading
import time

from mailworker.doorway import Doorway, lane_terms
from mailworker.gate import Pass, Wait
from mailworker.settings import Settings
from smtp_transport.phase import Phase
from smtp_transport.reply import Reply
from tests.delivery.test_drain import LANE, client, desk, receipt  # noqa: F401 - fixtures
from tests.delivery.test_gate import configured, states


def test_whoever_stops_while_he_waits_for_all_calls_another(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "2/s"}})
    mails = desk.accept(count=9)
    desk.stopping = lambda: bool(desk.redis.exists(f"mw:{{{LANE}}}:waiter"))
    desk.drain()
    assert states(desk, mails) == {"sent": 2, "ready": 7}
    assert len(desk.rung) == 2, "by its claim, and at its end"
    assert not desk.stopping()


def test_only_one_waits_for_a_limit_and_another_leaves_at_once(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "2/s"}})
    mails = desk.accept(count=9)
    desk.ledger.bells.wait(LANE, "another process", 60_000, answering=False)
    desk.drain()
    assert states(desk, mails) == {"sent": 2, "ready": 7}
    assert desk.redis.get(f"mw:{{{LANE}}}:waiter") == b"another process"


def test_lanes_take_turns_at_a_limit_however_many_workers_each_has(desk):  # noqa: F811
    configured(desk, relays={"default": {"limits": "10/s"}}, lanes={LANE: {}, "small": {}})
    gate, small = desk.doorway.gate, lane_terms("small", Settings(lanes={"small": {}}).lane("small"))
    assert gate.enter(desk.lane, "w", 10).mails == 10
    for worker in range(8):
        gate.enter(desk.lane, f"w{worker}", 10)
    gate.enter(small, "w9", 10)
    answer = gate.enter(desk.lane, "w0", 10)
    while isinstance(answer, Wait):
        threading.Event().wait(answer.ms / 1000)
        answer = gate.enter(desk.lane, "w0", 10)
    assert answer.mails == 5, "half of it is the other lane's"


def test_a_drain_that_ends_gives_its_link_to_a_process_that_waits(desk):  # noqa: F811
    configured(desk, relays={"default": {"all_connections": 1}})
    other = Doorway(Settings(relays={"default": {"all_connections": 1}}), desk.redis, lambda relay, links: 0)
    desk.accept()

    def wait_in_earnest(_, mail):
        until = time.monotonic() + 0.5  # so long that it is believed
        while time.monotonic() < until:
            assert isinstance(other.gate.enter(desk.lane, "w", 1), Wait)
        desk.doorway.berths["default"].tend()
        return receipt(mail, Phase.DOT, Reply(250))

    desk.wires["default"].script = wait_in_earnest
    desk.drain()
    leave = other.gate.enter(desk.lane, "w", 1)
    assert isinstance(leave, Pass)
    other.gate.give_back(leave)
    other.harbour.close()
