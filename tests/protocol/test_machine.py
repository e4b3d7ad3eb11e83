"""The machine walks its table: nothing is said out of turn, no reply is given to the wrong command."""

import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.errors import ErrorKind, ProtocolError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import (
    Auth,
    AuthResponse,
    Command,
    Data,
    Ehlo,
    EndOfContent,
    Expn,
    Helo,
    LastChunk,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
)
from smtp_transport.protocol.machine import RULES, Exchange, Machine, State

EHLO, MAIL, RCPT, DATA, DOT = Ehlo("me"), Mail("a@b.example"), Rcpt("c@d.example"), Data(), EndOfContent()
EVERY_COMMAND: tuple[Command, ...] = (
    *(EHLO, Helo("me"), StartTls(), Auth("LOGIN"), AuthResponse(b"x"), MAIL, RCPT, DATA, DOT),
    *(Rset(), Noop(), Vrfy("x"), Expn("x"), Quit(), Lhlo("me"), LastChunk(9)),
)
ROADS: dict[State, tuple[tuple[Command | None, bytes], ...]] = {
    State.GREETING: (),
    State.START: ((None, b"220 hi\r\n"),),
    State.READY: ((None, b"220 hi\r\n"), (EHLO, b"250 hi\r\n")),
    State.AUTH: ((None, b"220 hi\r\n"), (EHLO, b"250 hi\r\n"), (Auth("LOGIN"), b"334 \r\n")),
    State.TLS: ((None, b"220 hi\r\n"), (EHLO, b"250 hi\r\n"), (StartTls(), b"220 go\r\n")),
    State.MAIL: ((None, b"220 hi\r\n"), (EHLO, b"250 hi\r\n"), (MAIL, b"250 ok\r\n")),
    State.RCPT: ((None, b"220 hi\r\n"), (EHLO, b"250 hi\r\n"), (MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n")),
    State.CONTENT: (
        *((None, b"220 hi\r\n"), (EHLO, b"250 hi\r\n"), (MAIL, b"250 ok\r\n"), (RCPT, b"250 ok\r\n")),
        (DATA, b"354 go\r\n"),
    ),
    State.CLOSED: ((None, b"554 go away\r\n"),),
}


def at(state: State) -> Machine:
    """Walk a machine to a state."""
    machine = Machine()
    for command, reply in ROADS[state]:
        if command is not None:
            machine.send(command)
        machine.feed(reply)
    assert machine.state is state
    return machine


@pytest.mark.parametrize(("state", "command"), [*itertools.product(State, EVERY_COMMAND)])
def test_a_command_is_refused_wherever_the_table_does_not_allow_it(state: State, command: Command) -> None:
    machine = at(state)
    if state in RULES[command.verb].legal:
        assert machine.send(command) == command.to_bytes()
        return
    with pytest.raises(ProtocolError) as caught:
        machine.send(command)
    assert caught.value.kind is ErrorKind.COMMAND_SEQUENCE_ERROR
    assert machine.state is state
    assert not machine.failed


def test_every_command_has_its_row() -> None:
    assert {command.verb for command in EVERY_COMMAND} == set(RULES)


@pytest.mark.parametrize(
    ("state", "command", "reply", "after"),
    [
        (State.START, EHLO, b"250 hi\r\n", State.READY),
        (State.START, EHLO, b"502 what\r\n", State.START),
        (State.READY, StartTls(), b"220 go\r\n", State.TLS),
        (State.READY, StartTls(), b"454 not now\r\n", State.READY),
        (State.READY, Auth("PLAIN", b"x"), b"235 ok\r\n", State.READY),
        (State.READY, Auth("LOGIN"), b"334 VXNlcjo=\r\n", State.AUTH),
        (State.AUTH, AuthResponse(b"x"), b"334 \r\n", State.AUTH),
        (State.AUTH, AuthResponse(b"x"), b"535 no\r\n", State.READY),
        (State.READY, MAIL, b"250 ok\r\n", State.MAIL),
        (State.READY, MAIL, b"550 no\r\n", State.READY),
        (State.MAIL, RCPT, b"550 no\r\n", State.MAIL),
        (State.MAIL, RCPT, b"251 will forward\r\n", State.RCPT),
        (State.RCPT, RCPT, b"550 no\r\n", State.RCPT),
        (State.RCPT, DATA, b"354 go\r\n", State.CONTENT),
        (State.RCPT, DATA, b"451 later\r\n", State.RCPT),
        (State.CONTENT, DOT, b"250 queued\r\n", State.READY),
        (State.CONTENT, DOT, b"554 spam\r\n", State.READY),
        (State.RCPT, Rset(), b"250 ok\r\n", State.READY),
        (State.RCPT, EHLO, b"250 hi\r\n", State.READY),
        (State.RCPT, Noop(), b"250 ok\r\n", State.RCPT),
        (State.READY, Quit(), b"221 bye\r\n", State.CLOSED),
        (State.READY, Quit(), b"500 what\r\n", State.CLOSED),
        *((state, Noop(), b"421 bye\r\n", State.CLOSED) for state in (State.READY, State.MAIL, State.RCPT)),
        (State.CONTENT, DOT, b"421 bye\r\n", State.CLOSED),
        (State.READY, MAIL, b"421 bye\r\n", State.CLOSED),
    ],
)
def test_a_reply_leads_where_the_table_says(state: State, command: Command, reply: bytes, after: State) -> None:
    machine = at(state)
    machine.send(command)
    ((answered, _),) = machine.feed(reply)
    assert answered is command
    assert machine.state is after


@pytest.mark.parametrize(
    ("state", "command", "reply"),
    [
        (State.READY, StartTls(), b"250 ok\r\n"),
        (State.READY, Auth("LOGIN"), b"354 go\r\n"),
        (State.READY, Auth("PLAIN", b"x"), b"250 ok\r\n"),
        (State.AUTH, AuthResponse(b"x"), b"250 ok\r\n"),
        (State.READY, MAIL, b"354 go\r\n"),
        (State.MAIL, RCPT, b"334 what\r\n"),
        (State.RCPT, DATA, b"250 ok\r\n"),
        (State.RCPT, DATA, b"334 ok\r\n"),
        (State.CONTENT, DOT, b"354 go on\r\n"),
        (State.READY, Noop(), b"334 what\r\n"),
    ],
)
def test_a_reply_that_its_command_cannot_have_ends_the_conversation(
    state: State, command: Command, reply: bytes
) -> None:
    machine = at(state)
    machine.send(command)
    with pytest.raises(ProtocolError) as caught:
        machine.feed(reply)
    assert caught.value.kind is ErrorKind.UNEXPECTED_RESPONSE
    assert machine.state is State.CLOSED
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own bytes


@pytest.mark.parametrize("greeting", [b"250 hi\r\n", b"354 hi\r\n", b"hello\r\n"])
def test_only_220_greets(greeting: bytes) -> None:
    machine = Machine()
    with pytest.raises(ProtocolError):
        machine.feed(greeting)
    assert machine.state is State.CLOSED


@pytest.mark.parametrize("state", [s for s in State if s not in {State.GREETING, State.CONTENT, State.CLOSED}])
def test_an_unasked_reply_is_a_violation(state: State) -> None:
    machine = at(state)
    with pytest.raises(ProtocolError) as caught:
        machine.feed(b"250 surprise\r\n")
    assert caught.value.kind is ErrorKind.UNEXPECTED_RESPONSE
    assert machine.state is State.CLOSED


def test_an_unasked_421_says_that_the_server_leaves() -> None:
    machine = at(State.READY)
    with pytest.raises(ProtocolError) as caught:
        machine.feed(b"421 4.3.2 idle too long\r\n")
    assert (caught.value.kind, caught.value.code, caught.value.enhanced_code) == (
        ErrorKind.SERVER_SHUTDOWN,
        421,
        "4.3.2",
    )


def test_a_server_may_give_up_on_the_content_before_its_end() -> None:
    machine = at(State.CONTENT)
    ((answered, reply),) = machine.feed(b"552 too big\r\n")
    assert isinstance(answered, EndOfContent)
    assert reply.code == 552
    assert machine.state is State.CLOSED


def test_a_server_may_not_accept_content_before_its_end() -> None:
    machine = at(State.CONTENT)
    with pytest.raises(ProtocolError):
        machine.feed(b"250 queued\r\n")


def test_pipelined_replies_belong_to_their_commands_in_order() -> None:
    machine = at(State.READY)
    other = Rcpt("e@f.example")
    assert machine.send(MAIL, RCPT, other, DATA).count(b"\r\n") == 4
    answered = machine.feed(b"250 a\r\n550 b\r\n250 c\r\n354 d\r\n")
    assert [(e.command, e.reply.text) for e in answered] == [(MAIL, "a"), (RCPT, "b"), (other, "c"), (DATA, "d")]
    assert machine.state is State.CONTENT


@pytest.mark.parametrize("alone", [DATA, Noop(), Quit(), EHLO, Vrfy("x")])
def test_nothing_is_pipelined_behind_a_command_that_must_be_last(alone: Command) -> None:
    machine = at(State.RCPT)
    with pytest.raises(ProtocolError):
        machine.send(alone, Rset())
    assert machine.awaits == 0
    machine.send(alone)
    with pytest.raises(ProtocolError):
        machine.send(Rset())


def test_a_group_with_one_command_out_of_turn_is_not_said_at_all() -> None:
    machine = at(State.READY)
    with pytest.raises(ProtocolError):
        machine.send(MAIL, DATA)
    assert machine.awaits == 0
    assert machine.send(MAIL) == MAIL.to_bytes()


def test_a_recipient_accepted_after_its_sender_was_refused_is_a_violation() -> None:
    machine = at(State.READY)
    machine.send(MAIL, RCPT, DATA)
    machine.feed(b"550 no\r\n")
    with pytest.raises(ProtocolError):
        machine.feed(b"250 ok\r\n")


def test_content_asked_for_although_all_recipients_were_refused_is_answered_by_a_lone_dot() -> None:
    machine = at(State.READY)
    machine.send(MAIL, RCPT, DATA)
    machine.feed(b"250 ok\r\n550 no\r\n354 go\r\n")
    assert machine.state is State.CONTENT
    assert machine.send(DOT) == b".\r\n"
    machine.feed(b"554 no valid recipients\r\n")
    assert machine.settled


@pytest.mark.parametrize("behind", [b"250 injected\r\n", b"2", b"\r\n"])
def test_plaintext_behind_the_220_to_starttls_is_a_violation(behind: bytes) -> None:
    machine = at(State.READY)
    machine.send(StartTls())
    with pytest.raises(ProtocolError):
        machine.feed(b"220 go\r\n" + behind)
    with pytest.raises(ProtocolError):
        machine.tls_started()
    assert machine.failed


def test_after_tls_all_begins_again() -> None:
    """F-TLS-01."""
    machine = at(State.TLS)
    machine.tls_started()
    assert machine.state is State.START
    with pytest.raises(ProtocolError):
        machine.send(MAIL)
    machine.send(EHLO)
    machine.feed(b"250 hi\r\n")
    with pytest.raises(ProtocolError):
        machine.send(StartTls())
    assert machine.send(Auth("LOGIN"))


def test_who_is_authenticated_cannot_authenticate_again() -> None:
    machine = at(State.AUTH)
    machine.send(AuthResponse(b"x"))
    machine.feed(b"235 ok\r\n")
    with pytest.raises(ProtocolError):
        machine.send(Auth("LOGIN"))


def test_who_was_refused_may_try_another_mechanism() -> None:
    machine = at(State.AUTH)
    machine.send(AuthResponse(b"x"))
    machine.feed(b"535 no\r\n")
    assert machine.send(Auth("PLAIN", b"x"))


def test_a_half_read_reply_stops_the_next_command() -> None:
    machine = at(State.READY)
    machine.feed(b"250-what is")
    assert not machine.settled
    with pytest.raises(ProtocolError) as caught:
        machine.send(MAIL)
    assert caught.value.kind is ErrorKind.UNEXPECTED_RESPONSE
    assert machine.failed


def test_a_command_of_a_users_own_is_said_and_answered() -> None:
    class Xclient(Command):
        verb = "XCLIENT"

    machine = at(State.READY)
    mine = Xclient()
    assert machine.send(mine) == b"XCLIENT\r\n"
    assert machine.feed(b"250 ok\r\n")[0].command is mine
    assert machine.state is State.READY


def test_a_command_of_a_users_own_cannot_pass_by_the_table() -> None:
    class Sly(Command):
        verb = "DATA"

    with pytest.raises(ProtocolError):
        at(State.READY).send(Sly())


def test_the_phase_is_that_of_the_oldest_command_without_reply() -> None:
    machine = Machine()
    assert machine.phase is Phase.GREETING
    machine = at(State.READY)
    machine.send(MAIL, RCPT, DATA)
    for reply, phase in ((b"", Phase.MAIL), (b"250 a\r\n", Phase.RCPT), (b"250 a\r\n", Phase.DATA)):
        machine.feed(reply)
        assert machine.phase is phase
    machine.feed(b"354 go\r\n")
    assert machine.phase is Phase.BODY
    machine.send(DOT)
    assert machine.phase is Phase.DOT
    assert at(State.TLS).phase is Phase.TLS


REPLIES = st.lists(
    st.one_of(
        st.sampled_from([b"250 ok\r\n", b"354 go\r\n", b"550 5.1.1 no\r\n", b"421 bye\r\n", b"250-a\r\n250 b\r\n"]),
        st.binary(max_size=6),
    ),
    max_size=8,
).map(b"".join)


def events(pieces: list[bytes]) -> tuple[list[Exchange], str | None, State]:
    machine = at(State.READY)
    machine.send(MAIL, RCPT, RCPT, DATA)
    seen: list[Exchange] = []
    try:
        for piece in [*pieces, b""]:
            seen += machine.feed(piece)
    except ProtocolError as fault:
        return seen, fault.message, machine.state
    return seen, None, machine.state


@given(data=REPLIES, cuts=st.lists(st.integers(0, 60)))
def test_any_cut_of_the_bytes_gives_the_same_events(data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    whole = events([data])
    assert events([data[start:end] for start, end in itertools.pairwise(edges)]) == whole
    assert events([data[i : i + 1] for i in range(len(data))]) == whole


@given(data=st.binary(max_size=200), state=st.sampled_from(State))
def test_garbage_is_an_event_or_a_protocol_error(data: bytes, state: State) -> None:
    machine = at(state)
    try:
        seen = machine.feed(data)
    except ProtocolError:
        assert machine.state is State.CLOSED
    else:
        assert all(200 <= exchange.reply.code <= 599 for exchange in seen)
