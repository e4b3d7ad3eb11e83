"""No content can end itself: line ends are repaired first, dots are doubled after."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.phase import Phase
from smtp_transport.protocol.content import canonical, checked, dot_stuffed, dot_stuffed_chunks

NASTY = st.one_of(
    st.binary(max_size=60), st.lists(st.sampled_from([b"\r", b"\n", b".", b"a"]), max_size=24).map(b"".join)
)


def read_back(wire: bytes) -> bytes:
    """Read content as a strict server does: lines end with CRLF, a dot alone ends it, another first dot is dropped."""
    lines = []
    while True:
        line, end, wire = wire.partition(b"\r\n")
        assert end, "the content never ended"
        if line == b".":
            assert wire == b"", "something stands behind the final dot"
            return b"".join(lines)
        lines.append(line.removeprefix(b".") + b"\r\n")


@given(NASTY)
def test_what_a_server_reads_is_what_was_meant(data: bytes) -> None:
    """NF-SEC-04."""
    repaired = canonical(data)
    assert read_back(dot_stuffed(repaired) + b".\r\n") == repaired


@given(NASTY)
def test_no_bare_cr_or_lf_goes_out(data: bytes) -> None:
    rest = dot_stuffed(canonical(data)).replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest


@given(NASTY)
def test_nothing_but_line_ends_is_changed(data: bytes) -> None:
    def bare(octets: bytes) -> bytes:
        return octets.replace(b"\r", b"").replace(b"\n", b"")

    assert bare(canonical(data)) == bare(data)
    assert canonical(canonical(data)) == canonical(data)


@pytest.mark.parametrize(
    ("data", "wire"),
    [
        (b"", b""),
        (b"a", b"a\r\n"),
        (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd\r\n"),
        (b"a\r\r\nb", b"a\r\n\r\nb\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a\n.\nQUIT\n", b"a\r\n..\r\nQUIT\r\n"),
        (b"a\r\n.\rMAIL\r\n..b", b"a\r\n..\r\nMAIL\r\n...b\r\n"),
        (b"\r\n.\r\n.\r\n", b"\r\n..\r\n..\r\n"),
    ],
)
def test_smuggled_ends_of_content_are_doubled(data: bytes, wire: bytes) -> None:
    assert dot_stuffed(canonical(data)) == wire


def test_clean_content_is_not_copied() -> None:
    data = b"Subject: hi\r\n\r\nhello\r\n"
    assert dot_stuffed(canonical(data)) is data


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


@given(NASTY, st.lists(st.integers(0, 100), max_size=12))
def test_content_in_pieces_is_dot_stuffed_as_the_whole(data: bytes, places: list[int]) -> None:
    """NF-SEC-04."""
    whole = canonical(data) or b"\r\n"
    assert b"".join(dot_stuffed_chunks(checked(cut(whole, places), len(whole)))) == dot_stuffed(whole)


# Of what is whole at its end, so that only what stands in it is wrong.
ENDED = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"."]), max_size=4).map(
    lambda pieces: b"".join(pieces) + b"\r\n"
)


@example(b"a\rb\r\n", [], 0)
@example(b"a\r\r\n", [2], 0)
@example(b"a\nb\r\n", [], 0)
@given(NASTY | ENDED, st.lists(st.integers(0, 100), max_size=12), st.integers(-1, 1))
def test_pieces_that_are_no_content_are_noticed(data: bytes, places: list[int], more: int) -> None:
    pieces = checked(cut(data, places), len(data) + more)
    if data.endswith(b"\r\n") and canonical(data) == data and not more:
        assert b"".join(pieces) == data
        return
    with pytest.raises(MessageError) as caught:
        list(pieces)
    assert (caught.value.kind, caught.value.phase) == (ErrorKind.ENCODING_FAILED, Phase.BODY)
