"""Mails over a scripted link, and the short words of their scripts."""

import pickle
from collections.abc import Callable, Collection, Sequence

import pytest

from smtp_transport.connection import Connection
from smtp_transport.envelope import Transaction
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt
from tests.protocol.script import Played, Step

MAIL, BOB, CAT = "MAIL FROM:<ann@example.com>", "RCPT TO:<bob@example.com>", "RCPT TO:<cat@example.com>"
CONTENT = "Subject: hi\n\nhello"
LARGE = "\n".join(["Subject: hi", "", *["0123456789" * 7] * 2_000])
"""A content that is not written together with its dot."""
OK = b"250 2.1.0 ok\r\n"
GO = b"354 go\r\n"
QUEUED = b"250 2.0.0 queued as 4XyZ12\r\n"
WHOLE: tuple[Step, ...] = (MAIL, OK, BOB, OK, "DATA", GO, CONTENT, ".", QUEUED)
BOTH = pytest.mark.parametrize("offers", [(), ("PIPELINING",)], ids=["lockstep", "pipelined"])
Start = Callable[..., Played]


def all_of(positions: Sequence[int]) -> Collection[int]:
    return positions


def receipts(connection: Connection, *transactions: Transaction) -> list[Receipt]:
    """Deliver, and check what holds for every receipt."""
    given = list(connection.deliver(transactions, all_of))
    assert [position for position, _ in given] == list(range(len(given)))
    for _, receipt in given:
        if receipt.error is not None and receipt.error.code is None:
            assert ("may have been accepted" in str(receipt.error)) is (receipt.error.phase is Phase.DOT)
    for _, receipt in given:
        assert receipt.duration >= 0
        if receipt.error:
            assert receipt.error.phase is not None
            assert "example.com" not in str(receipt.error)
            assert str(pickle.loads(pickle.dumps(receipt.error))) == str(receipt.error)  # noqa: S301 - our own bytes
    return [receipt for _, receipt in given]


def facts(receipt: Receipt) -> list[tuple[str, Phase, int | None]]:
    return [(r.address.partition("@")[0], r.phase, r.reply.code if r.reply else None) for r in receipt.recipients]
