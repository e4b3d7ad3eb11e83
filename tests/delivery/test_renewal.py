"""Claims are kept alive by who holds them, and by nobody else."""

import time
from collections.abc import Callable

from mailworker.ledger import MOST_AT_ONCE, LedgerError
from mailworker.record import Claim
from mailworker.renewal import Renewer


class Book:
    """Stands for the ledger: notes who was renewed."""

    def __init__(self) -> None:
        self.calls: list[list[Claim]] = []
        self.fail = 0

    def renew(self, lane: str, claims: list[Claim], lease_ms: int) -> tuple[bool, ...]:
        assert len(claims) <= MOST_AT_ONCE
        self.calls.append(claims)
        if self.fail:
            self.fail -= 1
            raise LedgerError("away")
        return (True,) * len(claims)


def claim(number: int, fence: int = 1) -> Claim:
    return Claim(f"default-{number:026d}", fence, 1, b"p", b"e", "p", "", 0, 5, 0, None)


def wait_until(what: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_more_claims_than_one_call_takes_are_all_renewed():
    book = Book()
    renewer = Renewer(book, 60)
    claims = [claim(n) for n in range(MOST_AT_ONCE + 200)]
    with renewer.holding("default", claims):
        wait_until(lambda: len({c.id for call in book.calls for c in call}) == len(claims))
    renewer.close()


def test_a_renewal_that_failed_is_tried_again():
    book = Book()
    book.fail = 2
    renewer = Renewer(book, 60)
    with renewer.holding("default", [claim(1)]):
        wait_until(lambda: len(book.calls) > 3)
    renewer.close()


def test_letting_go_of_an_old_claim_leaves_the_newer_one_held():
    book = Book()
    renewer = Renewer(book, 60)
    old, new = claim(1, fence=1), claim(1, fence=2)
    with renewer.holding("default", [new]):
        renewer.let_go([old])
        seen = len(book.calls)
        wait_until(lambda: len(book.calls) > seen + 1)
        assert book.calls[-1][0].fence == 2
    renewer.close()


def test_what_was_let_go_is_not_renewed():
    book = Book()
    renewer = Renewer(book, 60)
    with renewer.holding("default", [claim(1), claim(2)]):
        renewer.let_go([claim(1)])
        wait_until(lambda: book.calls)
        assert [c.id for c in book.calls[-1]] == [claim(2).id]
    renewer.close()
