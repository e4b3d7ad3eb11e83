"""Encoded once, sent often: never anything else than encoding would give, never more than is allowed."""

import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.message import Attachment, Email, EncodedFiles, InlineImage, cache, render
from smtp_transport.message.transfer import base64_lines

files = st.builds(lambda seed, size: bytes([seed]) * size, st.integers(0, 5), st.sampled_from([0, 2047, 2048, 5000]))


@given(st.lists(files, max_size=30), st.sampled_from([0, 10_000, 60_000, 200_000, 10**6]))
def test_what_comes_out_is_what_encoding_gives_within_bounds(octets: list[bytes], most: int) -> None:
    kept = EncodedFiles(most)
    for one in octets:
        assert kept.base64_lines(one) == base64_lines(one)
        held = sum(len(key) + len(value) for key, value in kept._encoded.items())
        assert held == most - kept._room <= most


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how often something is really encoded."""
    seen: list[int] = []

    def noted(octets: bytes) -> bytes:
        seen.append(len(octets))
        return base64_lines(octets)

    monkeypatch.setattr(cache, "base64_lines", noted)
    return seen


def test_a_file_that_repeats_is_encoded_once(encoded: list[int]) -> None:
    kept = EncodedFiles(1_000_000)
    made = [
        Email(
            from_="a@example.com",
            to=f"{n}@example.com",
            html_body="<img src=cid:i>",
            attachments=Attachment("a.pdf", "application/pdf", bytes(3000)),
            inline_images=InlineImage("i", "image/png", b"\x89" * 4000),
            message_id=f"{n}@example.com",
            date=datetime(2026, 1, 1, tzinfo=UTC),
        )
        for n in range(5)
    ]
    with_cache = [render(email, eight_bit=True, cache=kept).data for email in made]
    assert encoded == [3000, 4000]
    assert with_cache == [render(email, eight_bit=True).data for email in made]


def test_the_least_recently_used_goes_first(encoded: list[int]) -> None:
    kept = EncodedFiles(4 * 12_000)
    for size in (4000, 3999, 3998, 3997, 3996, 4000, 3995, 4000, 3999):
        kept.base64_lines(bytes(size))
    assert encoded == [4000, 3999, 3998, 3997, 3996, 3995, 3999]


def test_nobody_waits_for_the_cache(encoded: list[int]) -> None:
    """A lock that another thread holds, or held when this process was forked, costs the encoding only."""
    kept = EncodedFiles(1_000_000)
    with kept._lock:
        thread = threading.Thread(target=kept.base64_lines, args=(bytes(5000),))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert repr(kept) == "<EncodedFiles with 0 files, 0 bytes>"
