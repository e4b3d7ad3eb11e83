"""A window on the wire costs the ledger one call, and marks no more mails than a window."""

from types import SimpleNamespace

import pytest

from mailworker.passage import WINDOW, Passage

SLOW, QUICK = 0.5, 0.001


class Book:
    """Notes what the ledger would be told: each call's ids settled and marked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str], list[str]]] = []
        self.is_stopped = False

    def settle(self, told):
        if told:
            self.calls.append(("settle", [each.claim.id for each in told], []))
        told.clear()

    def turn(self, told, claims):
        self.calls.append(("turn", [each.claim.id for each in told], [claim.id for claim in claims]))
        told.clear()
        return None if self.is_stopped else [True] * len(claims)


@pytest.fixture
def clock(monkeypatch):
    """Time stands still but for what a window takes."""
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("mailworker.passage.time", clock)
    return clock


def begun(count: int, pace: float | None) -> tuple[Book, Passage, list[SimpleNamespace]]:
    book, claims = Book(), [SimpleNamespace(id=str(number)) for number in range(count)]
    mails = [SimpleNamespace(claim=claim) for claim in claims]
    return book, Passage(mails, book.settle, book.turn, pace), claims


def window(clock: SimpleNamespace, passage: Passage, claims: list[SimpleNamespace], dots: range, pace: float) -> None:
    """Let so many mails go, each of which takes so long, and hear of all of them at the end."""
    assert passage.permit(dots) == list(dots)
    clock.now += pace * len(dots)
    for index in dots:
        passage.tell(index, SimpleNamespace(claim=claims[index]))


def test_a_window_of_a_slow_relay_is_settled_and_the_next_one_marked_in_one_call(clock):
    book, passage, claims = begun(25, SLOW)
    for first in range(0, 25, WINDOW):
        window(clock, passage, claims, range(first, min(first + WINDOW, 25)), SLOW)
    assert [(name, len(told), len(marked)) for name, told, marked in book.calls] == [
        ("turn", 0, 10),
        ("turn", 10, 10),
        ("turn", 10, 5),
        ("settle", 5, 0),
    ]
    assert passage.unsent == set()
    assert not passage.told


def test_mails_of_a_slow_relay_that_go_one_by_one_are_settled_at_once_and_marked_when_they_go(clock):
    book, passage, claims = begun(3, SLOW)
    for index in range(3):
        window(clock, passage, claims, range(index, index + 1), SLOW)
    assert [(name, told, marked) for name, told, marked in book.calls] == [
        call for mail in "012" for call in (("turn", [], [mail]), ("settle", [mail], []))
    ]


@pytest.mark.parametrize("pace", [SLOW, QUICK, None])
def test_never_more_than_a_window_is_marked_and_not_settled(clock, pace):
    book, passage, claims = begun(37, pace)
    open_marks: set[str] = set()
    most = 0
    for first in range(0, 37, 4):
        window(clock, passage, claims, range(first, min(first + 4, 37)), pace or QUICK)
    for _, told, marked in book.calls:
        open_marks = (open_marks - set(told)) | set(marked)
        most = max(most, len(open_marks))
    assert most <= WINDOW


def test_what_was_marked_ahead_and_did_not_go_counts_as_unsent(clock):
    _, passage, claims = begun(6, SLOW)
    window(clock, passage, claims, range(3), SLOW)
    assert passage.unsent == {"3", "4", "5"}
    assert set(passage.left) == {"3", "4", "5"}


def test_a_person_s_stop_is_seen_when_a_window_is_over_before_the_next_is_begun(clock):
    book, passage, claims = begun(6, SLOW)
    assert passage.permit(range(3)) == [0, 1, 2]
    clock.now += 3 * SLOW
    book.is_stopped = True
    for index in range(3):
        passage.tell(index, SimpleNamespace(claim=claims[index]))
    assert passage.is_stopped
    assert passage.permit(range(3, 6)) == []
