"""Bytes in any cut give the same replies; garbage gives a ProtocolError and nothing else."""

import itertools
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtp_transport.errors import ErrorKind, ProtocolError
from smtp_transport.protocol import grammar
from smtp_transport.protocol.replies import ReplyReader
from smtp_transport.reply import Reply

LINES = st.builds(
    lambda code, mark, text, end: f"{code}{mark}{text}".encode() + end,
    st.sampled_from([220, 250, 251, 334, 354, 421, 450, 550, 199, 600]),
    st.sampled_from([" ", "-", ""]),
    st.sampled_from(["", "ok", "5.1.1 no such user", "2.0.0", "4.2.2", "über", "\t tab", "a\x1b[31mb", "x" * 9_000]),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
)
CONVERSATIONS = st.lists(st.one_of(LINES, LINES, LINES, st.binary(max_size=12)), max_size=12).map(b"".join)


def outcome(pieces: list[bytes]) -> tuple[list[Reply], str | None]:
    """Feed pieces; give the replies and the text of the fault that ended them, if one did."""
    reader, replies, fault = ReplyReader(), [], None
    try:
        for piece in [*pieces, b""]:
            replies += reader.feed(piece)
    except ProtocolError as raised:
        fault = raised
    if fault is None:
        return replies, None
    assert fault.kind is ErrorKind.INVALID_RESPONSE
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)  # noqa: S301 - our own bytes
    return replies, fault.message


@given(data=CONVERSATIONS, cuts=st.lists(st.integers(0, 300)))
@example(data=b"250 fine\r\nnoise\r\n250 never\r\n", cuts=[])
@example(data=b"250-a\r\n251 b\r\n", cuts=[3])
def test_any_cut_of_the_bytes_gives_the_same_replies(data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    whole = outcome([data])
    assert outcome(pieces) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole


@given(data=st.binary(max_size=400))
def test_garbage_is_a_reply_or_a_protocol_error(data: bytes) -> None:
    replies, _ = outcome([data])
    assert all(200 <= reply.code <= 599 for reply in replies)


def test_a_reply_of_several_lines_is_one_reply() -> None:
    """F-CONN-02."""
    (reply,) = ReplyReader().feed(b"250-mx.example.com\r\n250-SIZE 1000\r\n250 HELP\r\n")
    assert reply == Reply(250, None, ("mx.example.com", "SIZE 1000", "HELP"))


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"250\r\n", Reply(250, None, ("",))),
        (b"250 \r\n", Reply(250, None, ("",))),
        (b"250 ok\n", Reply(250, None, ("ok",))),
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", ("Ok",))),
        (b"250 2.0.0\r\n", Reply(250, "2.0.0", ("",))),
        (b"550-5.7.1 go\r\n550 5.7.1 away\r\n", Reply(550, "5.7.1", ("go", "away"))),
        (b"550-5.7.1 go\r\n550 away\r\n", Reply(550, "5.7.1", ("go", "away"))),
        (b"550 4.1.1 the class is another\r\n", Reply(550, None, ("4.1.1 the class is another",))),
        (b"250 2.1.0.5 is no status code\r\n", Reply(250, None, ("2.1.0.5 is no status code",))),
        (b"250 caf\xe9\r\n", Reply(250, None, ("caf\ufffd",))),
        (b"250 \x1b[2Jgone\0\r\n", Reply(250, None, ("\ufffd[2Jgone\ufffd",))),
    ],
)
def test_forms_of_replies_that_servers_give(data: bytes, reply: Reply) -> None:
    assert ReplyReader().feed(data) == [reply]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"hello\r\n", "no SMTP reply"),
        (b"25 ok\r\n", "no SMTP reply"),
        (b"2500 ok\r\n", "no SMTP reply"),
        (b"100 ok\r\n", "no SMTP reply"),
        (b"\r\n", "no SMTP reply"),
        (b"250-a\r\n550 b\r\n", "different codes"),
        (b"\x15\x03\x01\x00\x02\x02\x46\n", "implicit TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"250 " + b"x" * grammar.MAX_REPLY_LINE, "octets"),
        (b"250-x\r\n" * (grammar.MAX_REPLY_LINES + 1), "lines"),
    ],
)
def test_what_is_no_reply_is_an_invalid_response(data: bytes, told: str) -> None:
    with pytest.raises(ProtocolError, match=told) as caught:
        ReplyReader().feed(data)
    assert caught.value.kind is ErrorKind.INVALID_RESPONSE


def test_idle_tells_whether_something_is_half_read() -> None:
    reader = ReplyReader()
    assert reader.idle
    for piece, idle in ((b"2", False), (b"50-a\r\n", False), (b"250 b\r\n", True), (b"220 x\r\n2", False)):
        reader.feed(piece)
        assert reader.idle is idle


def test_replies_before_a_fault_are_given_first() -> None:
    reader = ReplyReader()
    assert reader.feed(b"250 ok\r\nnoise\r\n") == [Reply(250, None, ("ok",))]
    assert reader.failed
    with pytest.raises(ProtocolError):
        reader.feed(b"")
    with pytest.raises(ProtocolError):
        reader.feed(b"250 ok\r\n")
