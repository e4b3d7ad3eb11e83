import copy
import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from smtp_transport.message import Address

ATEXT = string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-"
LETTERS_AND_DIGITS = string.ascii_lowercase + string.digits
local_parts = st.lists(st.text(ATEXT, min_size=1, max_size=10), min_size=1, max_size=5).map(".".join)
labels = st.text(LETTERS_AND_DIGITS + "-", min_size=1, max_size=20).filter(
    lambda text: not (text.startswith("-") or text.endswith("-"))
)
domains = st.tuples(st.lists(labels, max_size=4), st.text(string.ascii_lowercase, min_size=1, max_size=10)).map(
    lambda parts: ".".join([*parts[0], parts[1]])
)
CONTROLS = [*map(chr, range(32)), "\x7f", "\x85", "\u2028", "\u2029"]


def refusal(*args: str, **kwargs: str) -> str:
    with pytest.raises(ValidationError) as caught:
        Address(*args, **kwargs)
    return str(caught.value)


@given(local_parts, domains)
def test_every_plain_address_is_taken_as_it_is(local: str, domain: str) -> None:
    address = Address(f"{local}@{domain}")
    assert (address.email, address.local_part, address.domain) == (f"{local}@{domain}", local, domain)
    assert address.envelope_format == f"<{local}@{domain}>"


@pytest.mark.parametrize(
    "email",
    [
        "root@localhost",
        "a@host.test",
        "a@printer.local",
        "a@example.invalid",
        '"two words"@example.com',
        '"at@sign"@example.com',
        '"angle<bracket"@example.com',
        "a@[192.0.2.1]",
        "a@[IPv6:2001:db8::1]",
        "a@sub.xn--bcher-kva.example",
        "x" * 64 + "@example.com",
    ],
)
def test_unusual_but_right_addresses_are_taken(email: str) -> None:
    assert Address(email).email == email


@pytest.mark.parametrize(
    "email",
    [
        "",
        "nobody",
        "@example.com",
        "a@",
        "a@@example.com",
        "a@b@example.com",
        ".a@example.com",
        "a.@example.com",
        "a..b@example.com",
        "two words@example.com",
        " a@example.com",
        "a@example.com ",
        "a@-example.com",
        "a@example-.com",
        "a@example..com",
        "a@example.com.",
        "a@under_score.com",
        "a@192.0.2.1",
        "a@[300.0.0.1]",
        "a@[IPv6:zz]",
        "a@[IPv6:fe80::1%eth0]",
        "a@[x-tag:stuff]",
        "a@" + "x" * 64 + ".com",
        "a@" + "x." * 126 + "com",
        "x" * 65 + "@example.com",
        '"' + "x" * 63 + '"@example.com',
        "ü" * 33 + "@example.com",
        '"unclosed@example.com',
        "a@☃.example",
        "x" * 64 + "@" + "label." * 32 + "com",
        "a@" + "ü" * 254 + ".example",
        "a@example.com, b@example.com",
        "<a@example.com>",
        "a@ex\ud800mple.com",
    ],
)
def test_wrong_addresses_are_refused_with_the_field_and_without_the_address(email: str) -> None:
    text = refusal(email=email)
    assert "email" in text
    assert len(email) < 4 or email not in text


@given(st.sampled_from(CONTROLS), local_parts, domains, st.data())
def test_no_control_character_enters_anywhere(control: str, local: str, domain: str, data: st.DataObject) -> None:
    """NF-SEC-04."""
    good = data.draw(st.sampled_from([f"{local}@{domain}", f'"{local}"@{domain}', f"Name <{local}@{domain}>"]))
    place = data.draw(st.integers(0, len(good)))
    bad = good[:place] + control + good[place:]
    with pytest.raises(ValidationError):
        Address.parse(bad)
    with pytest.raises(ValidationError):
        Address(bad)
    with pytest.raises(ValidationError):
        Address("a@example.com", f"A{control}B")


def test_an_international_domain_is_kept_as_a_labels_and_needs_no_smtputf8() -> None:
    address = Address("hans@Bücher.example")
    assert address.email == "hans@xn--bcher-kva.example"
    assert address.envelope_format.isascii()
    assert Address("a@例え。テスト").domain == "xn--r8jz45g.xn--zckzah"


def test_an_international_local_part_is_kept() -> None:
    assert Address("grüße@bücher.example").email == "grüße@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("text", "email", "name"),
    [
        ("a@example.com", "a@example.com", None),
        ("  a@example.com ", "a@example.com", None),
        ("<a@example.com>", "a@example.com", None),
        ("Ann <a@example.com>", "a@example.com", "Ann"),
        ("Ann Q. Public (Sales) <a@example.com>", "a@example.com", "Ann Q. Public (Sales)"),
        ('"Public, Ann" <a@example.com>', "a@example.com", "Public, Ann"),
        ('"a \\"b\\" \\\\ <c@d>"   <a@example.com>', "a@example.com", 'a "b" \\ <c@d>'),
        ("Jörg Müller <a@example.com>", "a@example.com", "Jörg Müller"),
        ('"" <a@example.com>', "a@example.com", None),
        ('"odd one"@example.com', '"odd one"@example.com', None),
        ('"a<b"@example.com', '"a<b"@example.com', None),
        ('Ann <"a<b"@example.com>', '"a<b"@example.com', "Ann"),
    ],
)
def test_text_with_a_name_is_read(text: str, email: str, name: str | None) -> None:
    address = Address.parse(text)
    assert (address.email, address.name) == (email, name)


@pytest.mark.parametrize(
    "text",
    [
        "Public, Ann <a@example.com>",
        "a@example.com <b@example.com>",
        "Ann <a@example.com> <b@example.com>",
        "Ann <a@example.com",
        "Ann a@example.com>",
        "Ann <>",
        "Ann <a@example.com>, Bob <b@example.com>",
        "group: a@example.com;",
        '"Ann <a@example.com>',
        "test@example.com\r\nRCPT TO:<hijacker@example.com>",
    ],
)
def test_text_that_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Address.parse(text)
    assert "example.com" not in str(caught.value)


@given(st.text(), local_parts, domains)
def test_a_quoted_name_is_read_back_whatever_it_holds(name: str, local: str, domain: str) -> None:
    try:
        given_name = Address(f"{local}@{domain}", name).name
    except ValidationError:
        return
    quoted = (given_name or "").replace("\\", "\\\\").replace('"', '\\"')
    assert Address.parse(f'"{quoted}" <{local}@{domain}>') == Address(f"{local}@{domain}", given_name)


def test_the_header_form_quotes_and_encodes_the_name_where_it_must() -> None:
    email = "a@example.com"
    assert Address(email).header_format == email
    assert Address(email, "Ann Public").header_format == "Ann Public <a@example.com>"
    assert Address(email, 'Public, Ann "X"').header_format == '"Public, Ann \\"X\\"" <a@example.com>'
    assert Address(email, "Zoë").header_format == "=?utf-8?q?Zo=C3=AB?= <a@example.com>"
    assert Address(email, "日本").header_format == "=?utf-8?b?5pel5pys?= <a@example.com>"


def test_a_name_of_nothing_is_no_name() -> None:
    assert Address("a@example.com", "   ").name is None


def test_neither_repr_nor_refusal_shows_the_address() -> None:
    address = Address("annabella@example.com", "Annabella")
    assert repr(address) == str(address) == "<Address a***@example.com>"
    assert "annabella" not in refusal("annabella@exa mple.com")
    assert "Annabella" not in refusal("a@example.com", "Annabella\n")
    assert "email" in refusal("annabella@exa mple.com")
    assert "name" in refusal("a@example.com", "Annabella\n")


def test_positions_are_those_of_the_fields_and_nothing_else_is_taken() -> None:
    assert Address("a@example.com", "Ann") == Address(email="a@example.com", name="Ann")
    assert "Unexpected" in refusal("a@example.com", "Ann", "more")
    assert "multiple values" in refusal("a@example.com", email="b@example.com")
    assert "Unexpected" in refusal("a@example.com", nickname="Ann")


def test_bytes_are_not_taken_for_text() -> None:
    with pytest.raises(ValidationError):
        Address(b"a@example.com")


def test_it_cannot_be_changed_and_survives_pickle_and_copy() -> None:
    address = Address("a@example.com", "Zoë")
    with pytest.raises(AttributeError):
        address.email = "b@example.com"
    assert pickle.loads(pickle.dumps(address)) == copy.deepcopy(address) == address  # noqa: S301 - our own bytes
    assert len({address, Address("a@example.com", "Zoë")}) == 1
