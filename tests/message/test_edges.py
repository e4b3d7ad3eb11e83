"""Values at the edge of what a header can carry."""

import tracemalloc
import unicodedata
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import compat32, default

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from smtp_transport import Address, Attachment, Email, render
from smtp_transport.message.mailbox_list import address_list
from smtp_transport.message.transfer import has_long_line

ENCODED = "=?utf-8?q?evil=2Eexe?="
GROWS = "\N{DEVANAGARI LETTER QA}"  # NFC makes two characters of it


def rendered(**fields) -> bytes:
    email = Email(from_="me@example.com", to="you@example.org", **fields)
    return render(email.stamped("<1@example.com>", datetime(2026, 11, 1, tzinfo=UTC)), eight_bit=False).data


@pytest.mark.parametrize("length", range(70, 77))
def test_an_empty_header_of_one_s_own_may_have_any_name(length):
    name = "X-".ljust(length, "a")
    assert f"{name}: \r\n".encode() in rendered(headers=[(name, "")])


def test_a_local_part_is_measured_as_it_will_be_sent():
    local = GROWS * 21
    assert len(local.encode()) <= 64 < len(unicodedata.normalize("NFC", local).encode())
    with pytest.raises(ValidationError, match="64 octets"):
        Address(f"{local}@example.com")


@given(st.text(st.sampled_from(f'aé{GROWS}\u0301.+"\\ @语'), min_size=1, max_size=40), st.booleans())
def test_an_address_that_passed_passes_again_unchanged(local, quoted):
    try:
        address = Address(f'"{local}"@example.com' if quoted else f"{local}@example.com")
    except ValidationError:
        return
    assert Address(address.email) == address
    assert len(address.local_part.encode()) <= 64


@pytest.mark.parametrize("name", [ENCODED, f"a {ENCODED} b.txt", "=?", "what=?.txt"])
def test_a_file_name_that_looks_encoded_keeps_its_meaning(name):
    """F-MIME-05."""
    data = rendered(attachments=[Attachment(name, "text/plain", b"x")])
    for policy in (default, compat32):
        names = [part.get_filename() for part in message_from_bytes(data, policy=policy).walk()]
        assert name in names
    assert b'filename="' not in data


def test_a_display_name_has_a_bound():
    assert Address("a@example.com", "é" * 499).name
    with pytest.raises(ValidationError, match="998 octets"):
        Address("a@example.com", "é" * 500)
    with pytest.raises(ValidationError, match="998 octets"):
        Address.parse(f"{'n' * 999} <a@example.com>")


def test_short_lines_are_measured_without_a_copy_of_each():
    octets = b"ab\r\n" * 1_000_000
    tracemalloc.start()
    try:
        assert not has_long_line(octets)
        assert tracemalloc.get_traced_memory()[1] < len(octets) / 10
    finally:
        tracemalloc.stop()


@given(st.lists(st.sampled_from([0, 1, 2, 500, 996, 997, 998, 999, 1000, 1998, 2500]), max_size=8), st.booleans())
def test_a_long_line_is_found_wherever_it_is(lengths, ended):
    octets = b"\r\n".join(b"x" * length for length in lengths) + b"\r\n" * ended
    assert has_long_line(octets) == any(length > 998 for length in lengths)


@pytest.mark.parametrize("name", ["Resent-To", "resent-cc", "Disposition-Notification-To", "Mail-Followup-To"])
def test_an_address_in_a_header_of_one_s_own_is_in_no_encoded_word(name):
    """F-MIME-05. RFC 2047 section 5: no encoded-word stands in an address."""
    data = rendered(headers=[(name, 'Jörg <j@bücher.example>, "Doe, Jané" <d@example.org>, x@example.org')])
    written = message_from_bytes(data, policy=compat32)[name]
    told = address_list(written.replace("\r\n", ""))
    assert [address.email for address in told] == ["j@xn--bcher-kva.example", "d@example.org", "x@example.org"]
    assert str(make_header(decode_header(written))).startswith("Jörg <j@xn--bcher-kva.example>")


@pytest.mark.parametrize("value", ["Jörg", "Jörg <j@>", "Ä: j@example.org;", "é,", "a@é b"])
def test_a_header_for_addresses_that_has_none_is_refused(value):
    with pytest.raises(ValidationError, match="Errors-To must hold addresses") as refused:
        rendered(headers=[("Errors-To", value)])
    assert value not in str(refused.value)


def test_the_id_of_a_list_is_in_no_encoded_word():
    """RFC 2919 section 3."""
    data = rendered(headers=[("List-Id", f"Größe {'x' * 90} <sizes.example.com>")])
    written = message_from_bytes(data, policy=compat32)["List-Id"]
    assert written.endswith(" <sizes.example.com>")
    assert str(make_header(decode_header(written))) == f"Größe {'x' * 90} <sizes.example.com>"
    with pytest.raises(ValidationError, match="List-Id must hold an id in angle brackets"):
        rendered(headers=[("List-Id", "Größe")])
