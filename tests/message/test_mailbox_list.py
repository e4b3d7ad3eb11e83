"""Addresses in headers of others: each found where the grammar has it, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from smtp_transport.message import Address
from smtp_transport.message.mailbox_list import address_list


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a@b.c", ["a@b.c"]),
        ('A B <a@b.c>, "x, y@z" <c@d.e>', ["a@b.c", "c@d.e"]),
        ("team: a@b.c, <c@d.e>;, f@g.h", ["a@b.c", "c@d.e", "f@g.h"]),
        ("undisclosed-recipients:;", []),
        ("a (c (d) \\) e) @ (x) b.c (y)", ["a@b.c"]),
        ("<@r.x,@y.z:a@b.c>", ["a@b.c"]),
        ('"q @ s"@b.c', ['"q @ s"@b.c']),
        ("=?utf-8?q?a=40evil.example=2C?= <a@b.c>", ["a@b.c"]),
        ("jörg@bücher.example", ["jörg@xn--bcher-kva.example"]),
        ("a@[192.0.2.1]", ["a@[192.0.2.1]"]),
        (",, a@b.c\r\n ,,\tc@d.e,", ["a@b.c", "c@d.e"]),
        ('"a\\"b" <a@b.c>', ["a@b.c"]),
        ("", []),
    ],
)
def test_what_the_grammar_allows_is_found(text: str, found: list[str]) -> None:
    assert [address.email for address in address_list(text)] == found


@pytest.mark.parametrize(
    "text",
    [
        "a b@c.d",
        "<a@b.c",
        "a@b.c>",
        "a@b.c <d@e.f>",
        "<>",
        "a@b.c d",
        "<a@b.c> d",
        "x <a@b.c> <d@e.f>",
        "a:b:c@d.e;",
        "g: a@b.c",
        "a@b.c;",
        "a@example.org)b@evil.example",
        "a@example.org(<b@evil.example>",
        '"a@b.c',
        "a@b@c.d",
        "nobody",
        "a@b.c\0",
        "<a@b.c>, nobody",
    ],
)
def test_what_it_does_not_allow_is_refused_without_being_repeated(text: str) -> None:
    """NF-SEC-04."""
    with pytest.raises(ValidationError) as caught:
        address_list(text)
    assert "evil" not in str(caught.value)


names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30)
mailboxes = st.builds(Address, st.sampled_from(["a@b.example", '"x, y"@b.example', "ü@b.example"]), names)


@given(st.lists(mailboxes, max_size=5), st.sampled_from([", ", ",\r\n ", " ,"]))
def test_what_we_write_we_read(addresses: list[Address], between: str) -> None:
    written = between.join(address.header_format for address in addresses)
    assert [found.email for found in address_list(written)] == [address.email for address in addresses]


@given(st.text('ab@.,:;<>()"\\[] \t\r\nü=?', max_size=40))
def test_no_text_makes_anything_but_addresses_or_a_refusal(text: str) -> None:
    try:
        found = address_list(text, names=True)
    except ValidationError:
        return
    assert all(Address(address.email).email == address.email for address in found)


def test_a_long_list_of_nonsense_takes_no_longer_than_it_is() -> None:
    for text in ("(" * 100_000, '"' * 99_999, "<" * 100_000, "a:" * 50_000, "\\" * 100_000, "a " * 50_000 + "@"):
        with pytest.raises(ValidationError):
            address_list(text)
