"""Modes, limits and LMTP over real sockets, through the client and its pool."""

import pytest

from smtp_transport import (
    DeliveryOptions,
    ErrorKind,
    Noop,
    Notify,
    Phase,
    PoolConfig,
    ProtocolError,
    SendResult,
    Vrfy,
    WireMode,
)
from smtp_transport.observation import SendDone, SendStarted
from smtp_transport.protocol.commands import Data
from smtp_transport.testing import Behave, FaultPlan, FaultServer, Raw, Say, Stall, behaved

MANY = [f"r{number}@example.org" for number in range(25)]
FAST = ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 10000000")


@pytest.mark.parametrize("mode", WireMode)
def test_every_mode_carries_a_batch_in_order(client_for, email, mode):
    """F-SEND-08."""
    with FaultServer(behaved(*FAST)) as server:
        batch = client_for(server, mode=mode).send_batch([email(to, text_body=f"to {to}\r\n.\r\n") for to in MANY])
    assert [result.accepted for result in batch.results] == [(to,) for to in MANY]
    (conversation,) = server.conversations
    assert [b"to %s" % to.encode() in content for to, content in zip(MANY, conversation.contents, strict=True)]
    assert conversation.verbs.count("BDAT") == (26 if mode is WireMode.CHUNKED else 0)


def test_a_batch_may_go_over_several_connections_at_once_and_keeps_its_order(client_for, email):
    """F-SEND-08."""
    with FaultServer(behaved(*FAST, replies={"RCPT TO:<r7@": "550 5.1.1 no"})) as server:
        client = client_for(server, pool=PoolConfig(max_connections=3))
        batch = client.send_batch([email(to) for to in MANY], connections=8)
        assert client.pool_status().total <= 3
    assert [isinstance(result, SendResult) for result in batch.results] == [to != MANY[7] for to in MANY]
    assert [result.accepted for result in batch.results if isinstance(result, SendResult)] == [
        (to,) for to in MANY if to != MANY[7]
    ]
    assert sum(conversation.verbs.count("MAIL") for conversation in server.conversations) == 25


class KnowsNoChunks:
    """Offers CHUNKING and does not know BDAT, as behind a filter that passes on what it cannot do."""

    def play(self, peer):
        peer.send(b"220 hello\r\n")
        while (line := peer.read_line().upper()) != "QUIT":
            if line.startswith("EHLO"):
                peer.send(b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
            elif line.startswith("DATA"):
                peer.send(b"354 go\r\n")
                peer.read_content()
                peer.send(b"250 ok\r\n")
            else:
                peer.send(b"250 ok\r\n" if line.startswith(("MAIL", "RCPT")) else b"500 what?\r\n")
        peer.send(b"221 bye\r\n")


def test_a_mail_that_was_not_sent_goes_in_the_slower_mode_at_once(client_for, email):
    with FaultServer([KnowsNoChunks()], strict=False) as server:
        client = client_for(server)
        batch = client.send_batch([email(to) for to in MANY])
        assert [result.accepted for result in batch.results] == [(to,) for to in MANY]
        assert client.stumble.mode is WireMode.CHUNKED
        assert [len(conversation.contents) for conversation in server.conversations] == [0, 25]


def test_what_breaks_in_every_mode_ends(client_for, email):
    """Each mode is tried once, and the slowest tells what is wrong."""
    plan = FaultPlan()
    for number in range(1, 9):
        plan.at("MAIL", number, Raw(b"what?\r\n"), Stall())
    with FaultServer(behaved(*FAST, faults=plan)) as server, pytest.raises(ProtocolError) as failed:
        client_for(server).send(email())
    assert failed.value.kind is ErrorKind.INVALID_RESPONSE
    assert len(server.conversations) <= len(WireMode)


def test_a_server_that_takes_fewer_connections_gets_the_batch_over_those(client_for, email):
    seen = []
    for taken in ([behaved(*FAST)] * 2, [behaved(*FAST)], []):
        with FaultServer(*taken, [Say("421 4.7.0 too many connections")]) as server:
            seen.clear()
            batch = client_for(server, observers=[seen.append]).send_batch([email(to) for to in MANY], connections=5)
        assert batch.total == 25
        assert [getattr(result, "accepted", None) for result in batch.results] == [
            (to,) if taken else None for to in MANY
        ]
        assert all(taken or result.code == 421 for result in batch.results)
        assert [sum(isinstance(event, kind) for event in seen) for kind in (SendStarted, SendDone)] == [25, 25]
        assert sum(len(conversation.contents) for conversation in server.conversations) == (25 if taken else 0)


def test_behind_a_full_link_the_rest_goes_over_others(client_for, email):
    with FaultServer(behaved(*FAST, "LIMITS MAILMAX=10")) as server:
        batch = client_for(server).send_batch([email(to) for to in MANY])
        server.wait_until(lambda: all(conversation.is_over for conversation in server.conversations[:2]))
    assert batch.succeeded == 25
    assert [conversation.verbs.count("MAIL") for conversation in server.conversations] == [10, 10, 5]
    assert [conversation.verbs[-1] for conversation in server.conversations[:2]] == ["QUIT", "QUIT"]


def test_what_one_link_learns_the_next_one_knows(client_for, email):
    garbage = FaultPlan().at("MAIL", 2, Raw(b"what?\r\n"), Stall())
    with FaultServer(behaved(*FAST, faults=garbage)) as server:
        client = client_for(server)
        alone, first, second = client.send_batch([email(to) for to in MANY[:3]]).results
        assert client.stumble.mode is WireMode.CHUNKED
        assert client.send(email("c@example.org")).is_complete_success
    assert isinstance(alone, SendResult)
    assert (first.phase, second.phase) == (Phase.DOT, Phase.DOT)
    assert "BDAT" not in server.conversations[1].verbs


def test_a_window_of_which_something_may_have_been_taken_is_not_sent_again(client_for, email):
    """F-CONN-05: only a link on which nothing was committed costs no mail."""
    leaving = FaultPlan().at("MAIL", 3, "421 4.3.2 bye", Stall())
    with FaultServer(behaved(*FAST, faults=leaving)) as server:
        alone, *window = client_for(server).send_batch([email(to) for to in MANY[:4]]).results
    assert isinstance(alone, SendResult)
    assert isinstance(window[0], SendResult)
    assert (window[1].kind, window[1].phase) == (ErrorKind.SERVER_SHUTDOWN, Phase.MAIL)
    assert window[2].phase is Phase.DOT
    assert len(server.conversations) == 1


def test_a_wish_of_a_mail_reaches_the_wire(client_for, email):
    with FaultServer(behaved(*FAST, "DSN")) as server:
        client = client_for(server)
        options = DeliveryOptions(envelope_id="id 1", notify=frozenset({Notify.FAILURE}))
        assert client.send(email(), options).is_complete_success
    commands = server.conversations[0].commands
    assert any(line.endswith(" ENVID=id+201") for line in commands)
    assert "RCPT TO:<you@example.org> NOTIFY=FAILURE" in commands


def test_a_command_goes_over_a_link_that_is_alive_and_leaves_it_fit(client_for, email):
    with FaultServer(behaved(*FAST, replies={"VRFY": "252 2.0.0 perhaps"})) as server:
        client = client_for(server)
        assert client.command(Vrfy("bob")).code == 252
        assert client.command(Noop()).is_positive
        with pytest.raises(ProtocolError):
            client.command(Data())
        assert client.send(email()).is_complete_success
    assert len(server.conversations) == 1


@pytest.mark.parametrize("mode", WireMode)
def test_a_mail_store_is_delivered_to_by_lmtp(client_for, email, mode):
    people = ("a@example.org", "full@example.org", "b@example.org")
    store = [Say("220 store"), Behave(FAST, {"RCPT TO:<full@": "452 4.2.2 full"}, lmtp=True)]
    with FaultServer(store) as server:
        client = client_for(server, protocol="lmtp", mode=mode)
        results = client.send_batch([email(*people) for _ in range(12)]).results
    assert server.conversations[0].verbs[0] == "LHLO"
    assert [result.accepted for result in results] == [("a@example.org", "b@example.org")] * 12
    assert {result.rejected[0].code for result in results} == {452}
