"""What a server offers is read as it was written, and noise is not believed."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.replies import ReplyReader
from smtp_transport.reply import Reply


def offered(*lines: str) -> Capabilities:
    return Capabilities.parse(Reply(250, None, ("mx.example.com", *lines)))


def test_the_reply_to_ehlo_is_read_keyword_by_keyword() -> None:
    """F-CONN-02."""
    (reply,) = ReplyReader().feed(
        b"250-mx.example.com at your service\r\n250-SIZE 35882577\r\n250-8BITMIME\r\n250-STARTTLS\r\n"
        b"250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-DSN\r\n250-AUTH LOGIN PLAIN\r\n"
        b"250 SMTPUTF8\r\n"
    )
    can = Capabilities.parse(reply)
    assert can.max_size == 35_882_577
    assert can.auth_mechanisms == ("LOGIN", "PLAIN")
    assert all((can.size, can.starttls, can.eight_bit_mime, can.pipelining, can.smtputf8))
    assert all((can.chunking, can.enhanced_status_codes, can.dsn))
    assert can.raw[0] == "SIZE 35882577"
    assert len(can.raw) == 9


def test_nothing_is_offered_by_a_server_without_ehlo() -> None:
    can = Capabilities()
    assert can.max_size is None
    assert can.auth_mechanisms == ()
    assert not any((can.size, can.starttls, can.eight_bit_mime, can.pipelining, can.smtputf8, can.chunking, can.dsn))


def test_keywords_are_read_in_any_case_and_kept_when_unknown() -> None:
    can = offered("pipelining", "X-Foo bar BAZ", "limits RCPTMAX=20")
    assert can.pipelining
    assert can.offers("x-foo")
    assert can.keywords["X-FOO"] == ("bar", "BAZ")
    assert can.keywords["LIMITS"] == ("RCPTMAX=20",)


def test_the_old_form_of_auth_is_joined_to_the_new_one() -> None:
    assert offered("AUTH=LOGIN PLAIN", "AUTH PLAIN cram-md5").auth_mechanisms == ("LOGIN", "PLAIN", "CRAM-MD5")


def test_a_size_of_zero_or_noise_is_no_limit() -> None:
    for line in ("SIZE", "SIZE 0", "SIZE many", "SIZE -5", "SIZE ٣", "SIZE " + "9" * 5_000):
        can = offered(line)
        assert can.size
        assert can.max_size is None


@given(st.lists(st.text(max_size=30), max_size=8))
def test_any_lines_can_be_read(lines: list[str]) -> None:
    can = offered(*lines)
    assert can.raw == tuple(lines)
    assert all(keyword == keyword.upper() for keyword in can.keywords)
    assert can.max_size is None or can.max_size > 0
    assert pickle.loads(pickle.dumps(can)) == can  # noqa: S301 - our own bytes
    assert hash(can) == hash(offered(*lines))
