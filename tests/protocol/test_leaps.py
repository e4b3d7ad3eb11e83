"""The short way through a conversation in which all goes as hoped: it comes to what the long way comes to."""

import contextlib
import itertools
from collections.abc import Collection, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtp_transport.connection import Connection
from smtp_transport.errors import ProtocolError, SmtpError
from smtp_transport.protocol.announcement import Announcement
from smtp_transport.protocol.commands import BodyType, Command, Data, Ehlo, EndOfContent, LastChunk, Mail, Rcpt, Rset
from smtp_transport.protocol.machine import (
    ANNOUNCED,
    ASKED,
    ENDED,
    FOLLOWED,
    NAMED,
    NAMED_TOO,
    OPENED,
    WHOLE,
    Leap,
    Machine,
    State,
)
from smtp_transport.protocol.replies import ReplyReader
from smtp_transport.receipt import Receipt
from smtp_transport.reply import Reply
from smtp_transport.wire import WireMode
from tests.protocol.mails import GO, OK
from tests.protocol.model_server import ModelServer
from tests.protocol.script import make_config
from tests.protocol.test_model import CHOICES, MAILS, transaction

FROM, TO, ALSO = Mail("ann@example.com"), Rcpt("bob@example.com"), Rcpt("cat@example.com")
GROUPS: tuple[tuple[Leap, tuple[Command, ...]], ...] = (
    (WHOLE, (FROM, TO, LastChunk(2, b"\r\n"), Rset(), FROM, TO, ALSO, LastChunk(2, b"\r\n"))),
    (ANNOUNCED, (FROM, TO, ALSO, Data())),
    (FOLLOWED, (EndOfContent(), FROM, TO, Data())),
    (OPENED, (FROM,)),
    (NAMED, (TO,)),
    (NAMED_TOO, (ALSO,)),
    (ASKED, (Data(),)),
    (ENDED, (EndOfContent(),)),
)
WAY_TO: dict[State, tuple[Command, ...]] = {
    State.READY: (),
    State.MAIL: (FROM,),
    State.RCPT: (FROM, TO),
    State.CONTENT: (FROM, TO, Data()),
}


def at(state: State) -> Machine:
    machine = Machine()
    machine.feed(b"220 mx\r\n")
    machine.send(Ehlo("client.example.com"))
    machine.feed(b"250 mx\r\n")
    for command in WAY_TO[state]:
        machine.send(command)
        machine.feed(GO if command.verb == "DATA" else OK)
    assert machine.state is state
    return machine


@pytest.mark.parametrize(("leap", "commands"), GROUPS, ids=[" ".join(c.verb for c in group) for _, group in GROUPS])
def test_a_leap_ends_where_its_commands_lead(leap: Leap, commands: tuple[Command, ...]) -> None:
    heard = OK * (len(commands) - leap.asks) + GO * leap.asks
    walked, leapt = at(leap.start), at(leap.start)
    assert leapt.may_leap(leap)
    walked.send(*commands)
    replies = leapt.leapt(leap, heard, len(commands))
    assert replies == [exchange.reply for exchange in walked.feed(heard)]
    assert leapt.state is walked.state is leap.end
    assert leapt.settled == walked.settled
    assert leapt.phase is walked.phase
    if leap.end in WAY_TO:
        follows = next(command for command in (EndOfContent(), FROM, Rset()) if _may(walked, command))
        assert leapt.send(follows) == follows.to_bytes()


def _may(machine: Machine, command: Command) -> bool:
    with contextlib.suppress(ProtocolError):
        machine.send(command)
        return True
    return False


@pytest.mark.parametrize(("leap", "commands"), GROUPS, ids=[" ".join(c.verb for c in group) for _, group in GROUPS])
def test_nobody_leaps_from_elsewhere_with_something_unanswered_or_half_read(
    leap: Leap, commands: tuple[Command, ...]
) -> None:
    for state in WAY_TO.keys() - {leap.start}:
        assert not at(state).may_leap(leap)
    waiting, reading, lenient = at(leap.start), at(leap.start), Machine(lmtp=True)
    waiting.send(commands[0])
    reading.feed(b"25")
    lenient.state = leap.start
    assert not any(machine.may_leap(leap) for machine in (waiting, reading, lenient))


LINES = st.sampled_from(
    [
        *(b"250 ok\r\n", b"250 2.1.0 ok\n", b"250\r\n", b"250 2.0.0 queued as \xff\r\n", b"299 \x00\r\n"),
        *(b"354 go\r\n", b"334 what\r\n", b"450 later\r\n", b"421 bye\r\n", b"250-more\r\n"),
        *(b"25", b"\r\n", b"noise\r\n", b"250 " + b"x" * 9000 + b"\r\n"),
    ]
)


@given(
    before=st.lists(LINES, max_size=3), lines=st.lists(LINES, max_size=6), count=st.integers(1, 5), asks=st.booleans()
)
@example(before=[], lines=[b"250 ok\r\n"] * 3, count=3, asks=False)
@example(before=[], lines=[b"250 ok\r\n", b"354 go\r\n"], count=2, asks=True)
@example(before=[], lines=[b"250 ok\r\n", b"250-more\r\n"], count=2, asks=False)
def test_what_agrees_is_what_a_patient_reader_finds(
    before: list[bytes], lines: list[bytes], count: int, *, asks: bool
) -> None:
    """NF-REL-03."""
    data = b"".join(lines)
    reader, patient = ReplyReader(), ReplyReader()
    for line in before:  # what is known by heart from earlier changes nothing
        assert _fed(reader, line) == _fed(patient, line)
    was_idle = patient.idle
    agreed = reader.agreed(data, count, asks=asks)
    found = _fed(patient, data)
    codes = [reply.code for reply in found or ()]
    last = codes.pop() if asks and codes else 354
    hoped = last == 354 and all(200 <= code < 300 for code in codes)
    plain = was_idle and patient.idle and found is not None and data.count(b"\n") == len(found) == count
    assert agreed == (found if plain and hoped else None)
    if agreed is None:
        assert _fed(reader, data) == found, "nothing was taken"


def _fed(reader: ReplyReader, data: bytes) -> list[Reply] | None:
    with contextlib.suppress(ProtocolError):
        return reader.feed(data)
    return None


ADDRESS = st.one_of(
    st.sampled_from(["ann@example.com", "", "postmaster", '"a b"@example.com', "x@[192.0.2.1]", "ä@example.com"]),
    st.text(alphabet="a@.<>\r\n \x00ä", max_size=8),
    st.integers(0, 300).map(lambda length: "x" * length + "@example.com"),
)


@given(
    sender=ADDRESS,
    recipients=st.lists(ADDRESS, min_size=1, max_size=3).map(tuple),
    size=st.none() | st.integers(0, 10**9),
    body=st.none() | st.sampled_from(BodyType),
    smtputf8=st.booleans(),
    notify=st.booleans(),
)
def test_lines_put_together_at_once_are_those_of_the_commands(
    sender: str, recipients: tuple[str, ...], size: int | None, body: BodyType | None, *, smtputf8: bool, notify: bool
) -> None:
    """NF-SEC-04."""
    wishes = ((("NOTIFY", "NEVER"),),) * len(recipients) if notify else ()
    announced = Announcement(sender, recipients, size, body, smtputf8, (("RET", "HDRS"),) if notify else (), wishes)
    one_by_one = _told(lambda: b"".join(command.to_bytes() for command in (announced.mail, *announced.rcpts)))
    assert _told(announced.to_bytes) == one_by_one
    if isinstance(one_by_one, bytes):
        assert one_by_one.count(b"\n") == one_by_one.count(b"\r\n") == 1 + len(recipients)


def _told(write: Any) -> bytes | tuple[type, str]:
    try:
        return write()
    except SmtpError as error:
        return type(error), str(error)


class Recorded(ModelServer):
    """Keeps what was written."""

    written: bytes = b""

    def write(self, data: bytes, deadline: float, *, attentive: bool = False) -> None:
        self.written += data
        super().write(data, deadline, attentive=attentive)


@pytest.mark.parametrize("mode", WireMode)
@settings(max_examples=100)
@given(
    sizes=MAILS,
    decisions=CHOICES,
    cut=st.sampled_from([1, 7, 40, 65_536]),
    keeps_open=st.booleans(),
    asks_in_vain=st.booleans(),
    knows_chunks=st.booleans(),
    takes_chunks=st.booleans(),
)
@example(
    sizes=[1, 2, 3], decisions=[], cut=65_536, keeps_open=True, asks_in_vain=False, knows_chunks=True, takes_chunks=True
)
def test_whoever_leaps_says_the_same_and_finds_the_same(
    mode: WireMode,
    sizes: list[int],
    decisions: list[str],
    cut: int,
    *,
    keeps_open: bool,
    asks_in_vain: bool,
    knows_chunks: bool,
    takes_chunks: bool,
) -> None:
    """Where somebody observes, each reply is heard by itself; where nobody does, groups are heard at once."""

    def permit(positions: Sequence[int]) -> Collection[int]:
        return [position for position in positions if position != 5]

    def carried(observers: tuple[Any, ...]) -> tuple[bytes, list[Any], bool]:
        server = Recorded(iter(decisions), cut=cut, keeps_open=keeps_open, asks_in_vain=asks_in_vain)
        config = make_config(mode=mode, window_mails=3, observers=observers)
        connection = Connection.over(server, config)
        connection.footing.knows_chunks = knows_chunks
        connection._talk.takes_chunks = takes_chunks
        mails = [transaction(number, size) for number, size in enumerate(sizes)]
        found = [(position, plain(receipt)) for position, receipt in connection.deliver(mails, permit)]
        return server.written, found, connection.usable

    assert carried(()) == carried((lambda _: None,))


def plain(receipt: Receipt) -> tuple[Any, ...]:
    error = receipt.error
    return receipt.recipients, error and (type(error), str(error), error.kind, error.code, error.phase)


@pytest.mark.parametrize("mode", WireMode)
def test_a_server_to_which_all_is_well_is_leapt_through(mode: WireMode, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ModelServer(itertools.repeat("ok"))
    connection = Connection.over(server, make_config(mode=mode))
    connection._talk.takes_chunks = True
    said: list[Command] = []
    monkeypatch.setattr(Machine, "send", lambda _, *commands: said.extend(commands))
    mails = [transaction(number, 2) for number in range(5)]
    assert all(receipt.accepted for _, receipt in connection.deliver(mails, lambda positions: positions))
    assert said == []
