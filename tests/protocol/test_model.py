"""Any server that follows the rules, and breaks off anywhere: what receipts say is what the server did."""

import itertools
from collections.abc import Collection, Sequence

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from smtp_transport.connection import Connection
from smtp_transport.envelope import Content, Envelope, Transaction
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt
from smtp_transport.wire import WireMode
from tests.protocol.model_server import DECISIONS, OK, ModelServer
from tests.protocol.script import make_config

MAILS = st.lists(st.integers(1, 3), min_size=1, max_size=7)
# Mostly yes, so that conversations come far enough to be interesting.
CHOICES = st.lists(st.sampled_from([*DECISIONS, *[OK] * 12]), max_size=40)


def transaction(number: int, recipients: int) -> Transaction:
    people = tuple(f"r{number}-{person}@example{person}.com" for person in range(recipients))
    return Transaction(Envelope(f"s{number}@example.com", people), lambda _: Content(f"mail {number}\r\n".encode()))


def check(receipt: Receipt, number: int, mail: Transaction, server: ModelServer) -> None:
    """Compare what one receipt says with what the server knows."""
    mine = [taken for taken in server.taken if taken.content.rstrip() == f"mail {number}".encode()]
    for fate in receipt.recipients:
        commits = [taken for taken in mine if fate.address in taken.recipients]
        assert len(commits) <= 1, "nothing is committed twice"
        took = any(fate.address in taken.accepted for taken in commits)
        if fate.is_accepted:
            assert took
        elif fate.reply is not None or fate.phase is not Phase.DOT:
            assert not took
        if fate.reply is None and fate.phase is not Phase.DOT:
            assert not commits, "its end was never written, as far as the server can tell"
    assert all(taken.sender == mail.envelope.sender for taken in mine)
    assert [fate.address for fate in receipt.recipients] == list(mail.envelope.recipients)
    unanswered = [fate.phase for fate in receipt.recipients if fate.reply is None]
    if unanswered:
        assert receipt.error is not None
        assert (receipt.error.phase is Phase.DOT) == (Phase.DOT in unanswered), (
            "doubt is told of the mail as of its people"
        )


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
@pytest.mark.parametrize("mode", WireMode)
@settings(max_examples=150)
@given(data=st.data(), sizes=MAILS, decisions=CHOICES, cut=st.sampled_from([1, 7, 65_536]))
def test_receipts_say_what_the_server_did(
    mode: WireMode, protocol: str, data: st.DataObject, sizes: list[int], decisions: list[str], cut: int
) -> None:
    """NF-REL-03, NF-REL-04."""
    limits = data.draw(st.sampled_from(["", "LIMITS RCPTMAX=2", "LIMITS RCPTDOMAINMAX=1", "LIMITS MAILMAX=3"]))
    server = ModelServer(
        iter(decisions),
        ("PIPELINING", "CHUNKING", *([limits] if limits else [])),
        cut,
        keeps_open=data.draw(st.booleans()),
        asks_in_vain=data.draw(st.booleans()),
        lmtp=protocol == "lmtp",
    )
    held_back = data.draw(st.sets(st.integers(0, 6), max_size=1))
    mails = [transaction(number, size) for number, size in enumerate(sizes)]
    config = make_config(mode=mode, protocol=protocol, port=2525, window_mails=data.draw(st.integers(1, 4)))
    connection = Connection.over(server, config)
    connection.footing.knows_chunks = data.draw(st.booleans())
    connection._talk.takes_chunks = data.draw(st.booleans())
    permitted: set[int] = set()

    def permit(positions: Sequence[int]) -> Collection[int]:
        allowed = [position for position in positions if position not in held_back]
        permitted.update(allowed)
        return allowed

    given_receipts = list(connection.deliver(mails, permit))

    positions = [position for position, _ in given_receipts]
    assert positions == list(range(len(positions))), "in order, and none left out"
    for position, receipt in given_receipts:
        check(receipt, position, mails[position], server)
        event(", ".join(sorted({f"{f.phase.name} {f.reply.code if f.reply else None}" for f in receipt.recipients})))
    written = {int(taken.content.split()[1]) for taken in server.taken if taken.content}
    assert written <= permitted, "nothing is committed without permission"
    assert written <= set(positions), "what was committed has a receipt"
    assert connection.usable or server.closed or connection.is_spent
    if len(positions) < len(mails):
        assert not connection.usable


@pytest.mark.parametrize("mode", WireMode)
def test_a_server_to_which_all_is_well_takes_everything(mode: WireMode) -> None:
    server = ModelServer(itertools.repeat(OK))
    connection = Connection.over(server, make_config(mode=mode))
    mails = [transaction(number, 2) for number in range(25)]
    assert all(receipt.accepted for _, receipt in connection.deliver(mails, lambda positions: positions))
    assert len(server.taken) == 25
    assert connection.mode is mode
    assert connection.usable
