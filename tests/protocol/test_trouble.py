"""What an error says of a server's words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.config import SmtpConfig
from smtp_transport.connection import Connection
from smtp_transport.connection.trouble import refused
from smtp_transport.errors import TlsError
from smtp_transport.phase import Phase
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.reply import Reply
from tests.protocol.mails import BOTH, WHOLE, Start, receipts
from tests.protocol.script import GREETED, ScriptedStream, make_config, make_transaction

ADDRESSES = [
    "bob@example.com",
    '"bob smith"@example.com',
    '"bob \\" smith"@example.com',
    "bob@[192.0.2.1]",
    "bob@[IPv6:2001:db8::1]",
    "bo'b@example.com",
    "bøb@exämple.com",
]
PARTS = ("bob", "smith", "bøb", "bo'b", "example", "192.0.2.1", "db8")


def told(*lines: str) -> str:
    return refused(Reply(550, "5.1.1", lines), Phase.RCPT).message


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("around", ["<{}>: unknown", "{}", "no such user: {}.", "to={}, from={}", "user {} unknown"])
def test_no_address_is_told(address: str, around: str) -> None:
    message = told(around.format(address, address))
    assert "***" in message
    assert not [part for part in PARTS if part in message]


@given(st.integers(0, 2_300), st.sampled_from(ADDRESSES))
def test_no_half_of_an_address_is_told(before: int, address: str) -> None:
    words = ("bad a@b.cd " * 300)[:before].rpartition(" ")[0]
    message = told(f"{words} <{address}> {address} unknown")
    assert not [part for part in PARTS if part in message]
    assert len(message) < 300


def test_the_words_of_a_server_cost_no_more_the_longer_they_are() -> None:
    """With a search that begins anew at each letter this one would not come back."""
    assert told(*["a" * 8_180] * 512)
    assert told(*['"' * 8_180] * 512)
    assert told(*["a@" * 4_090] * 512)


def test_a_keyword_said_again_and_again_costs_no_more_each_time() -> None:
    lines = ("X " + "a " * 4_000,) * 511
    capabilities = Capabilities.parse(Reply(250, None, ("mx", *lines)))
    assert len(capabilities.keywords["X"]) == 511 * 4_000


@BOTH
def test_a_refusal_after_the_dot_is_told_as_one(play: Start, offers: tuple[str, ...]) -> None:
    played = play(*WHOLE[:-1], b"554 5.7.1 spam\r\n", offers=offers)
    (receipt,) = receipts(played.connection, make_transaction())
    reply = receipt.recipients[0].reply
    assert reply
    message = refused(reply, Phase.DOT).message
    assert "spam" in message
    assert "may have been accepted" not in message


def test_a_goodbye_after_the_dot_is_no_doubt(play: Start) -> None:
    played = play(*WHOLE[:-1], b"421 4.3.2 bye\r\n")
    (receipt,) = receipts(played.connection, make_transaction())
    assert receipt.error
    assert "may have been accepted" not in str(receipt.error)


def test_clear_text_that_no_checked_configuration_allows_is_refused_before_a_word_is_said() -> None:
    """NF-SEC-02."""
    unchecked = SmtpConfig.model_construct(**vars(make_config()) | {"host": "mx.example.com"})
    stream = ScriptedStream(*GREETED)
    with pytest.raises(TlsError) as refusal:
        Connection.over(stream, unchecked)
    assert refusal.value.phase is Phase.TLS
    assert not stream.written
    assert stream.closed
