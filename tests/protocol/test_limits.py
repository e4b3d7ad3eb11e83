"""What a server says it takes at most (RFC 9422): transactions are split, and links are left when they are full."""

from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.connection.transaction import split
from smtp_transport.phase import Phase
from smtp_transport.protocol.capabilities import Capabilities, Limits
from smtp_transport.reply import Reply
from tests.protocol.mails import BOB, CAT, CONTENT, GO, MAIL, OK, QUEUED, WHOLE, Start, facts, receipts
from tests.protocol.script import Fault, Step, make_transaction

CAT_ONLY: tuple[Step, ...] = (MAIL, OK, CAT, OK, "DATA", GO, CONTENT, ".")


@pytest.mark.parametrize(
    ("line", "limits"),
    [
        ("LIMITS MAILMAX=5 RCPTMAX=100 RCPTDOMAINMAX=2", Limits(5, 100, 2)),
        ("limits rcptmax=7 FUTURE=x", Limits(recipients=7)),
        ("LIMITS MAILMAX=0 RCPTMAX=many RCPTDOMAINMAX=-1", Limits()),
        ("LIMITS", Limits()),
        ("SIZE 5", Limits()),
    ],
)
def test_limits_are_read_and_noise_is_not(line: str, limits: Limits) -> None:
    assert Capabilities.parse(Reply(250, None, ("mx", line))).limits == limits


PEOPLE = st.lists(st.builds("{}@{}.example".format, st.integers(0, 99), st.sampled_from("abcAB")), min_size=1)


@given(people=PEOPLE, most=st.none() | st.integers(1, 5), domains=st.none() | st.integers(1, 3))
def test_everyone_is_in_one_transaction_and_none_is_over_its_limits(
    people: list[str], most: int | None, domains: int | None
) -> None:
    groups = split(people, Limits(None, most, domains))
    assert sorted(position for group in groups for position in group) == list(range(len(people)))
    for group in groups:
        assert list(group) == sorted(group)
        assert most is None or len(group) <= most
        assert domains is None or len({people[position].rpartition("@")[2].lower() for position in group}) <= domains
    if most is None and domains is not None:
        several = {person.rpartition("@")[2].lower() for person in people}
        assert len(groups) == -(-len(several) // domains), "no more transactions than the limit asks for"


@pytest.mark.parametrize("offers", [("LIMITS RCPTMAX=1",), ("LIMITS RCPTMAX=1", "PIPELINING")])
def test_a_mail_in_several_transactions_has_one_receipt(play: Start, offers: tuple[str, ...]) -> None:
    asked: list[int] = []

    def permit(positions):
        asked.extend(positions)
        return positions

    played = play(*WHOLE, *CAT_ONLY, b"554 5.7.1 spam\r\n", *WHOLE, offers=offers)
    both = make_transaction("bob@example.com", "cat@example.com")
    given_receipts = list(played.connection.deliver([both, make_transaction()], permit))
    assert [position for position, _ in given_receipts] == [0, 1]
    assert facts(given_receipts[0][1]) == [("bob", Phase.DOT, 250), ("cat", Phase.DOT, 554)]
    assert given_receipts[0][1].accepted == ("bob@example.com",)
    assert given_receipts[0][1].server_id == "4XyZ12"
    assert asked == [0, 0, 1], "each final dot is permitted"
    assert played.connection.delivered == 2


def test_transactions_of_one_mail_share_a_window(play: Start) -> None:
    chunk = ("BDAT 22 LAST", CONTENT, QUEUED)
    played = play(
        *(MAIL, OK, BOB, OK, *chunk, "RSET", OK, MAIL, OK, CAT, OK, *chunk),
        offers=("PIPELINING", "CHUNKING", "LIMITS RCPTMAX=1"),
        mode="chunked",
        knows_chunks=True,
    )
    (receipt,) = receipts(played.connection, make_transaction("bob@example.com", "cat@example.com"))
    assert len(receipt.accepted) == 2


def test_a_mail_without_permission_is_not_asked_for_again_with_its_other_transactions(play: Start) -> None:
    asked: list[list[int]] = []

    def permit(positions: Sequence[int]) -> Collection[int]:
        asked.append(list(positions))
        return [position for position in positions if position == 1]

    chunk = ("BDAT 22 LAST", CONTENT, QUEUED)
    played = play(
        *(MAIL, OK, BOB, OK, *chunk),
        offers=("PIPELINING", "CHUNKING", "LIMITS RCPTMAX=1"),
        mode="chunked",
        knows_chunks=True,
        window_mails=1,
    )
    both = make_transaction("bob@example.com", "cat@example.com")
    given_receipts = [receipt for _, receipt in played.connection.deliver([both, make_transaction()], permit)]
    assert asked == [[0], [1]]
    assert [len(receipt.accepted) for receipt in given_receipts] == [0, 1]


def test_what_breaks_in_a_later_transaction_takes_nothing_from_an_earlier_one(play: Start) -> None:
    played = play(*WHOLE, MAIL, OK, CAT, Fault.EOF, offers=("LIMITS RCPTMAX=1",))
    people = ("bob@example.com", "cat@example.com", "dan@example.com")
    (receipt,) = receipts(played.connection, make_transaction(*people), make_transaction())
    assert facts(receipt) == [("bob", Phase.DOT, 250), ("cat", Phase.RCPT, None), ("dan", Phase.RCPT, None)]
    assert receipt.error
    played.stream._steps.clear()


def test_doubt_about_one_transaction_is_none_about_those_not_begun(play: Start) -> None:
    played = play(*WHOLE[:-1], Fault.EOF, offers=("LIMITS RCPTMAX=1",))
    (receipt,) = receipts(played.connection, make_transaction("bob@example.com", "cat@example.com"))
    assert facts(receipt) == [("bob", Phase.DOT, None), ("cat", Phase.MAIL, None)]
    played.stream._steps.clear()


@pytest.mark.parametrize("offers", [("LIMITS MAILMAX=2",), ("LIMITS MAILMAX=2", "PIPELINING")])
@pytest.mark.parametrize("mode", ["lockstep", "pipelined", "streamed"])
def test_a_full_link_takes_no_more_mails_and_says_good_bye(play: Start, offers: tuple[str, ...], mode: str) -> None:
    played = play(*WHOLE, *WHOLE, "QUIT", b"221 bye\r\n", offers=offers, mode=mode)
    given_receipts = receipts(played.connection, *[make_transaction()] * 5)
    assert len(given_receipts) == 2
    assert all(receipt.accepted for receipt in given_receipts)
    assert played.connection.is_spent
    assert not played.connection.usable
    assert not list(played.connection.deliver([make_transaction()], lambda asked: asked))
    assert played.connection.quit()


def test_a_mail_that_no_longer_fits_on_a_link_is_not_begun_there(play: Start) -> None:
    played = play(*WHOLE, "NOOP", OK, offers=("LIMITS MAILMAX=2 RCPTMAX=1",))
    both = make_transaction("bob@example.com", "cat@example.com")
    assert len(receipts(played.connection, make_transaction(), both)) == 1
    assert played.connection.noop()


def test_a_mail_too_large_for_any_link_is_tried_on_a_fresh_one(play: Start) -> None:
    played = play(*WHOLE, MAIL, b"452 4.5.3 too many\r\n", offers=("LIMITS MAILMAX=1 RCPTMAX=1",), mode="lockstep")
    (receipt,) = receipts(played.connection, make_transaction("bob@example.com", "cat@example.com"))
    assert facts(receipt) == [("bob", Phase.DOT, 250), ("cat", Phase.MAIL, 452)]
