"""No full address leaves the process as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.message import Address
from smtp_transport.observation import masked_address, masked_text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no such user", "no such user"),
        ("<bob@example.org>: unknown", "<b***@example.org>: unknown"),
        ("<bob>: unknown", "<***>: unknown"),
        ("bob@[192.0.2.1] a", "b***@[192.0.2.1] a"),
        ('"bob smith"@example.org a', "***@example.org a"),
        (r'"bob\" smith"@example.org a', "***@example.org a"),
        ('"bob@home smith"@example.org a', "***@example.org a"),
        ("to:bob@example.com,eve@example.org", "to:b***@example.com,e***@example.org"),
        ("bob@пример.рф", "b***@пример.рф"),
        ("bob@", "b***@"),
        ("bob@inner@example.org a", "b***@example.org a"),
        ('"bob"@inner@[192.0.2.1] a', "***@[192.0.2.1] a"),
        ("one\r\ntwo\tthree", "one two three"),
        ("a\x1b[2J\x00b", "a?[2J?b"),
    ],
)
def test_addresses_and_control_characters_are_hidden(said, shown):
    assert masked_text(said) == shown


@pytest.mark.parametrize("before", [0, 1, 250, 490, 500, 511, 512])
def test_a_text_is_cut_between_words_so_that_no_half_address_stays(before):
    told = masked_text("x " * (before // 2) + "bob.smith@example.com" + " y" * 2000)
    assert len(told) <= 512
    assert "smith" not in told
    assert len(masked_text(told, 40)) <= 40


@pytest.mark.parametrize("text", ["a" * 10_000_000, '"' * 10_000_000, "<" * 10_000_000, '"\\' * 5_000_000])
def test_a_text_without_end_is_not_even_looked_at(text):
    """A server chooses this text: it must not buy our time with it."""
    assert masked_text(text) == " ***"


@given(st.from_regex(r"[a-z][a-z0-9.+_-]{2,40}", fullmatch=True), st.text(max_size=600), st.text(max_size=40))
def test_no_local_part_comes_through(local, before, after):
    assert f"{local}@" not in masked_text(f"{before} {local}@example.org {after}")


@given(st.text(st.characters(exclude_characters='"\\', codec="utf-8"), min_size=2, max_size=60))
def test_no_quoted_local_part_comes_through(local):
    assert local not in masked_text(f'550 "{local}"@example.org').replace("@example.org", "")


@pytest.mark.parametrize("address", ["ann@example.com", '"a b"@example.com', "ü@example.com", "a@[192.0.2.1]"])
def test_an_address_alone_is_masked_to_its_letter_and_domain(address):
    shown = masked_address(address)
    assert shown.partition("***@")[1:] == ("***@", address.rpartition("@")[2])
    assert len(shown.partition("***@")[0]) <= 1
    assert Address(address).masked == shown


def test_what_is_no_address_shows_nothing():
    assert masked_address("nobody") == "***"
