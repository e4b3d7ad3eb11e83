"""A client whose server takes little at once (RFC 9422): what several transactions and several links come to."""

import pytest

from smtp_transport import ErrorKind
from smtp_transport.testing import Close, FaultPlan, FaultServer, Say, behaved

BOTH = ("b@example.org", "c@example.org")


def recipients(server):
    return [line for talk in server.conversations for line in talk.commands if line.startswith("RCPT")]


@pytest.mark.parametrize("end", [Close(), Say("421 4.3.2 bye"), Say("299 what?", "250 huh?")])
def test_who_was_accepted_by_an_earlier_transaction_gets_the_mail_once(client_for, email, end):
    """NF-REL-04."""
    faults = FaultPlan().at("MAIL", 3, end)
    with FaultServer(behaved("LIMITS RCPTMAX=1", faults=faults)) as server:
        client = client_for(server)
        assert client.send(email("a@example.org")).is_complete_success
        result = client.send(email(*BOTH))
    assert result.accepted == BOTH[:1]
    assert not result.is_complete_success
    assert [line for line in recipients(server) if "<b@" in line] == ["RCPT TO:<b@example.org>"]


def test_a_recipient_whose_fate_is_unknown_is_no_success(client_for, email):
    faults = FaultPlan().at("MAIL", 2, Close())
    with FaultServer(behaved("LIMITS RCPTMAX=1", faults=faults)) as server:
        result = client_for(server).send(email(*BOTH))
    assert (result.accepted, result.rejected, result.unanswered) == (BOTH[:1], (), BOTH[1:])
    assert result.is_partial_success
    assert not result.is_complete_success
    assert result.error.kind is ErrorKind.CONNECTION_RESET
    assert "example.org" not in repr(result)


@pytest.mark.parametrize("capabilities", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")])
def test_a_mail_for_which_a_used_link_has_no_room_goes_over_a_fresh_one(client_for, email, capabilities):
    three = email("d@example.org", "e@example.org", "f@example.org")
    with FaultServer(behaved("LIMITS MAILMAX=3 RCPTMAX=1", *capabilities)) as server:
        client = client_for(server)
        assert client.send(email("a@example.org")).is_complete_success
        assert client.send(three).is_complete_success
        batch = client.send_batch([email("b@example.org"), three, email("c@example.org"), three])
        assert batch.succeeded == 4
    assert [talk.verbs.count("MAIL") for talk in server.conversations] == [1, 3, 1, 3, 1, 3]
