"""Power loss, with producers in the middle of their calls."""

import os
from pathlib import Path

import pytest

from mailworker.ledger import Ledger
from tests.chaos.installation import Producers, settings_for, wait_until
from tests.chaos.letters import LANES
from tests.chaos.power import PoweredServer
from tests.chaos.preload import build, compiler
from tests.chaos.run import _accepted, _calls

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not compiler() and not os.environ.get("CI"), reason="a C compiler (cc) is needed"),
]


def accepted_and_lost(folder: Path, fsync: str, mails: int, ahead: int = 0) -> tuple[int, int, int]:
    """Accept so many, and cut the power when so many octets are not on the disk.

    Gives the mails whose call had returned, those of them that are gone, and octets gone.
    """
    powered = PoweredServer(folder, build(folder), fsync)
    environment = {**os.environ, **settings_for(powered.server.url, dict.fromkeys(LANES, 1))}
    producers = Producers(folder, environment, rate=10_000, seed=f"power {fsync}")
    try:
        for number in range(3):
            producers.start(number)
        wait_until(lambda: _accepted(folder) > mails, "mails are accepted")
        wait_until(lambda: powered.ahead() >= ahead, "the server runs ahead of its disk")
        powered.server.kill()
        stop(producers)
        octets = powered.start_again()
        accepted = [mail for call in _calls(folder) for mail in call.ids or ()]
        with powered.server.client() as client:
            ledger = Ledger(client)
            return len(accepted), sum(ledger.read(mail) is None for mail in accepted), octets
    finally:
        stop(producers)
        powered.server.kill()


def stop(producers: Producers) -> None:
    for process in producers.processes.values():
        process.kill()
        process.wait()


def test_with_fsync_always_no_mail_that_was_accepted_is_lost_with_the_power(tmp_path):
    accepted, lost, _ = accepted_and_lost(tmp_path, "always", 300)
    assert accepted > 300
    assert lost == 0


def test_with_fsync_everysec_the_power_takes_what_was_not_yet_on_the_disk(tmp_path):
    """That this loses mail is what shows that the other test could fail."""
    _, lost, octets = accepted_and_lost(tmp_path, "everysec", 300, ahead=100_000)
    assert octets >= 100_000
    assert lost > 0
