"""Headers against the standard library's readers, which know nothing of ours."""

import email.header
import email.policy
import email.utils
import re
from datetime import datetime, timedelta, timezone
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtp_transport.message import Address, headers
from smtp_transport.message.encoded_words import encode_words, phrase

# What `rules.line` lets through.
UNSAFE = [*range(9), *range(0x0A, 0x20), 0x7F, 0x85, 0x2028, 0x2029]
lines_of_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, UNSAFE))))
texts = lines_of_text | st.text("ab =?_\t") | st.text("äß€日🎉 x", max_size=200)
names = st.from_regex(r"[!-9;-~]{1,76}", fullmatch=True)
ENCODED_WORD = re.compile(r"=\?utf-8\?([bq])\?([!-~]*)\?=")


def decoded(header: str) -> str:
    """Decode an unfolded header as RFC 2047 has it, with the older of the two readers of the standard library."""
    return str(email.header.make_header(email.header.decode_header(header)))


def unfolded(field: str) -> tuple[str, str]:
    assert field.endswith("\r\n")
    name, _, value = field.removesuffix("\r\n").replace("\r\n", "").partition(": ")
    return name, value


def check_lines(field: str) -> None:
    """F-MIME-01: CRLF only, nothing folded after the colon, no empty continuation line, no line too long."""
    first, *others = field.removesuffix("\r\n").split("\r\n")
    assert "\r" not in field.replace("\r\n", "")
    assert "\n" not in field.replace("\r\n", "")
    assert re.match(r"[!-9;-~]+: ", first)
    assert not others or first.partition(": ")[2]
    for line in others:
        assert line[0] in " \t"
        assert line.strip(" \t")
    for line in (first, *others):
        assert len(line.encode()) <= 998


@given(texts.filter(bool), st.integers(1, 78))
@example("ä" * 200, 9)
@example("=" * 200, 9)
@example("🎉" * 80, 60)
@example("abcdefé" * 40, 9)
@example("abcdefg日" * 40, 10)
@example("abcdefghijkl🎉" * 40, 11)
def test_encoded_words_decode_to_the_text_and_are_each_whole(text: str, used: int) -> None:
    """F-MIME-05."""
    words = encode_words(text, used)
    pieces = []
    for place, word in enumerate(words):
        found = ENCODED_WORD.fullmatch(word)
        assert found
        assert len(word) <= 75
        if place or used <= 52:
            assert (0 if place else used) + len(word) <= 76
        [(octets, charset)] = email.header.decode_header(word)
        pieces.append(octets.decode(charset))  # fails inside a character
    assert "".join(pieces) == text


def test_the_shorter_encoding_wins() -> None:
    """F-MIME-05."""
    assert encode_words("Zoë") == ["=?utf-8?q?Zo=C3=AB?="]
    assert encode_words("日本語") == ["=?utf-8?b?5pel5pys6Kqe?="]


@given(texts, names)
@example("word " * 40, "Subject")
@example("x" * 900, "Subject")
@example("x" * 901, "Subject")
@example("a" + " " * 2000 + "b", "Subject")
@example(" lead and trail ", "Subject")
@example("=?utf-8?q?not_an_encoded_word?=", "Subject")
@example("", "X-Empty")
def test_every_text_comes_back_from_an_unstructured_header(text: str, name: str) -> None:
    """F-MIME-05."""
    field = headers.unstructured(name, text)
    check_lines(field)
    assert field.isascii()
    read_name, value = unfolded(field)
    assert (read_name, decoded(value)) == (name, text)


@given(texts)
def test_a_line_with_an_encoded_word_has_at_most_76_characters(text: str) -> None:
    """F-MIME-05."""
    for line in headers.unstructured("Subject", text).split("\r\n"):
        assert "=?" not in line or len(line) <= 76


@given(st.text("ab ", max_size=300).map(lambda text: " ".join(text.split())))
def test_plain_text_is_folded_at_76_and_never_encoded(text: str) -> None:
    field = headers.unstructured("Subject", text)
    assert "=?" not in field
    for line in field.removesuffix("\r\n").split("\r\n"):
        assert len(line) <= 76 or " " not in line.removeprefix("Subject: ").strip(" ")


@given(texts.map(str.strip).filter(bool))
@example("a,b")
@example('say "hello" \\')
@example("x" * 61)
@example("=?utf-8?q?x?=")
@example("Zoë " * 30)
def test_a_name_is_a_phrase_that_reads_as_the_name(name: str) -> None:
    """F-MIME-05."""
    pieces = phrase(name)
    if len(pieces) == 1 and pieces[0].startswith('"'):
        assert re.sub(r"\\(.)", r"\1", pieces[0][1:-1]) == name
    else:
        assert decoded(" ".join(pieces)) == name


addresses = st.builds(
    Address,
    st.sampled_from(
        ["a@example.com", "some.one.with.a.long.name@department.of.a.long.example.org", '"a, b"@c.example']
    ),
    st.none()
    | st.sampled_from(["Ann", "Public, Ann", "Zoë Müller", 'The "X"', "日本 太郎", "N" * 90, "É" * 60, "a.b"]),
)


@pytest.mark.parametrize("name", ["x" * 61, "x " + "y" * 61, "x" * 998, "x " + "y" * 996])
def test_a_name_with_a_word_too_long_for_a_line_is_folded_too(name: str) -> None:
    written = headers.mailboxes("From", [Address("a@example.com", name)])
    assert max(map(len, written.split("\r\n"))) <= 76
    assert decoded(written.partition(": ")[2].replace("\r\n", "")) == f"{name} <a@example.com>\r\n".strip()


@pytest.mark.parametrize("name", ["The Society " * 20 + "of Everything", "x" * 60 + " y", "x " * 300 + "x"])
def test_a_long_name_of_plain_words_is_folded_and_stays_plain(name: str) -> None:
    """F-MIME-05."""
    assert phrase(name) == name.split(" ")
    written = headers.mailboxes("From", [Address("a@example.com", name)])
    assert "=?" not in written
    assert max(map(len, written.split("\r\n"))) <= 76
    message = BytesParser(policy=email.policy.default).parsebytes(f"{written}\r\n".encode())
    (read,) = message["From"].addresses
    assert (read.display_name, read.addr_spec) == (name, "a@example.com")


@given(st.lists(addresses, min_size=1, max_size=12), st.sampled_from(["To", "Cc", "Reply-To"]))
def test_a_list_of_addresses_comes_back_with_its_names(given_addresses: list[Address], name: str) -> None:
    """F-MIME-01."""
    field = headers.mailboxes(name, given_addresses)
    check_lines(field)
    for line in field.split("\r\n"):
        assert "=?" not in line or len(line) <= 76
    message = BytesParser(policy=email.policy.default).parsebytes(field.encode() + b"\r\n")
    read = message[name].addresses
    assert [a.addr_spec for a in read] == [a.email for a in given_addresses]
    # Python's newer reader leaves a space between two encoded-words of a name; the older follows RFC 2047 section 6.2.
    named = email.utils.getaddresses([unfolded(field)[1]])
    assert [decoded(display) if display else "" for display, _ in named] == [a.name or "" for a in given_addresses]


def test_an_international_local_part_is_the_only_thing_written_raw() -> None:
    field = headers.mailboxes("To", [Address("grüße@bücher.example", "Zoë")])
    assert field == "To: =?utf-8?q?Zo=C3=AB?= <grüße@xn--bcher-kva.example>\r\n"


@given(st.lists(st.from_regex(r"<[a-z0-9]{1,200}@[a-z]{1,50}>", fullmatch=True), min_size=1, max_size=30))
def test_message_ids_are_folded_between_them(ids: list[str]) -> None:
    field = headers.identifiers("References", ids)
    check_lines(field)
    assert unfolded(field)[1].split() == ids


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001 - the zone is drawn apart
    st.integers(-1439, 1439),
)
def test_a_date_reads_as_the_same_moment(moment: datetime, minutes: int) -> None:
    """F-MIME-01."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)), microsecond=0)
    written = headers.date_time(aware)
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", written)
    assert f"{aware:%H:%M:%S}" in written
    read = parsedate_to_datetime(written)
    assert read.replace(tzinfo=None) == aware.replace(tzinfo=None)
    # "-0000" says that nothing is known of the zone (RFC 5322 section 3.3); we never write it.
    assert read.utcoffset() == aware.utcoffset()


@given(lines_of_text.filter(bool).map(lambda text: text[:255]).filter(lambda text: "\t" not in text))
@example("ü" * 255)
@example('quo"ted\\.txt')
@example("Übersicht 2026 (neu).pdf")
@example("'a' * 100%.txt")
@example("<>")
def test_a_file_name_comes_back_from_its_parameter(name: str) -> None:
    """RFC 2231 sections 3 and 4."""
    pieces = headers.parameter("filename", name)
    field = headers.field("Content-Disposition", ["attachment;", *(f"{piece};" for piece in pieces[:-1]), pieces[-1]])
    check_lines(field)
    assert field.isascii()
    message = BytesParser(policy=email.policy.default).parsebytes(field.encode() + b"\r\n")
    # Not get_filename(), which takes "<>" for quotes.
    assert message["Content-Disposition"].params["filename"].strip() == name.strip()


def test_a_short_international_file_name_is_one_section() -> None:
    assert headers.parameter("filename", "ü x.txt") == [" filename*=utf-8''%C3%BC%20x.txt"]


def test_a_long_file_name_is_cut_between_characters() -> None:
    sections = headers.parameter("filename", "日" * 100)
    assert len(sections) > 10
    assert all(section.count("%") % 3 == 0 for section in sections)


@pytest.mark.parametrize("name", ["Subject", "X" * 76])
def test_the_first_word_stands_beside_the_name(name: str) -> None:
    assert headers.unstructured(name, "x" * 800).startswith(f"{name}: x")
    assert headers.unstructured(name, "ü" * 800).startswith(f"{name}: =?")
