"""The SMTP server of a chaos run, in a process that nobody attacks: it fails on request and writes down the truth.

    python -m tests.chaos.sink --truth truth.jsonl --ready ready.json --pace 0.005

Law: a mail is written down before its 250 is said, and nothing is written down that was not taken for good. So a fault
before the dot's reply leaves no trace, and one behind it leaves a mail of which the client does not know.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import struct
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.letters import LANES, is_whole, tag_of_sender

STEPS = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "DOT", "AFTER")
"""Where things go wrong: DOT is before a mail is taken, AFTER is when it was taken and the client was not told."""
DEEDS = ("refuse", "reject", "leave", "drop", "reset", "stall", "stall and reset")
"""Say 451, 554 or 421 (and go); hang up; break the connection; say nothing for as long as it lasts, and then go on or
break the connection."""

_OFFERS = {
    "default": ("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 50000000"),
    "bulk": ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"),
    "held": ("8BITMIME",),
}
_MOST = 64 * 1024 * 1024


class GoneError(Exception):
    """This connection is over."""


@dataclass
class Trouble:
    """One fault: what happens at which step, with what probability, until when (by time.monotonic)."""

    number: int
    step: str
    deed: str
    share: float
    until: float
    played: int = 0

    @property
    def left(self) -> float:
        return self.until - time.monotonic()


@dataclass
class Sink:
    """What all connections share."""

    truth: int
    pace: float
    chance: random.Random
    troubles: list[Trouble] = field(default_factory=list)
    told_later: set[str] = field(default_factory=set)

    def record(self, what: str, **facts: Any) -> None:
        """Write down one line, whole, at once."""
        os.write(self.truth, (json.dumps({"at": time.time(), "what": what, **facts}) + "\n").encode())

    def trouble_at(self, step: str) -> Trouble | None:
        for trouble in self.troubles:
            if trouble.step == step and trouble.left > 0 and self.chance.random() < trouble.share:
                trouble.played += 1
                return trouble
        return None

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take faults, a JSON object a line, and tell how often each was played."""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                wish = json.loads(line)
                if wish:
                    until = time.monotonic() + wish.pop("seconds")
                    self.troubles.append(Trouble(until=until, **wish))
                writer.write(json.dumps([asdict(trouble) for trouble in self.troubles]).encode() + b"\n")
        writer.close()


class Talk:
    """One conversation."""

    def __init__(self, sink: Sink, lane: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sink = sink
        self._lane = lane
        self._reader = reader
        self._writer = writer
        self._sender = ""
        self._recipients: list[str] = []
        self._chunks = b""

    async def run(self) -> None:
        with contextlib.suppress(GoneError, ConnectionError, asyncio.IncompleteReadError):
            if (await self._answer("CONNECT", "220 sink ESMTP")).startswith("2"):
                while line := (await self._reader.readline()).decode().strip():
                    await self._obey(line)
        self._writer.close()

    async def _obey(self, line: str) -> None:
        match line.upper().partition(" ")[0]:
            case "EHLO":
                last = len(_OFFERS[self._lane]) - 1
                offers = (f"250{'-' if n < last else ' '}{word}" for n, word in enumerate(_OFFERS[self._lane]))
                await self._answer("EHLO", "\r\n".join(("250-sink", *offers)))
            case "MAIL":
                self._sender, self._recipients, self._chunks = _address(line), [], b""
                await self._answer("MAIL", "250 2.1.0 ok")
            case "RCPT":
                await self._take_recipient(_address(line))
            case "DATA":
                await self._take_data()
            case "BDAT":
                await self._take_chunk(line.split())
            case "RSET":
                self._recipients = []
                self._say("250 2.0.0 ok")
            case "QUIT":
                self._say("221 2.0.0 bye")
                raise GoneError
            case _:
                self._say("502 5.5.1 not here")

    async def _take_recipient(self, address: str) -> None:
        usual = "250 2.1.5 ok"
        if address.startswith("nobody"):
            usual = "550 5.1.1 nobody of that name"
        elif address.startswith("later") and address not in self._sink.told_later:
            self._sink.told_later.add(address)
            usual = "451 4.2.1 later"
        if (await self._answer("RCPT", usual, to=address)).startswith("2"):
            self._recipients.append(address)

    async def _take_data(self) -> None:
        if not self._recipients:
            self._say("503 5.5.1 no recipients")
            return
        if not (await self._answer("DATA", "354 go on")).startswith("3"):
            return
        await self._interrupt("BODY")
        content = await self._reader.readuntil(b"\r\n.\r\n")
        await self._finish(content[:-5])

    async def _take_chunk(self, words: list[str]) -> None:
        size = int(words[1])
        await self._interrupt("BODY")
        self._chunks += await self._reader.readexactly(size)
        if not self._recipients:
            self._say("503 5.5.1 no recipients")
        elif not (await self._answer("DATA", "")).startswith(("4", "5")):
            if words[-1].upper() == "LAST":
                await self._finish(self._chunks)
            else:
                self._say(f"250 2.0.0 {size} octets")

    async def _finish(self, content: bytes) -> None:
        """Take the mail for good, or do not, and say so, or do not."""
        recipients, self._recipients, self._chunks = self._recipients, [], b""
        await asyncio.sleep(self._sink.pace)
        if not (await self._answer("DOT", "")).startswith(("4", "5")):
            tag = tag_of_sender(self._sender)
            self._sink.record("taken", tag=tag, to=recipients, whole=is_whole(content, tag))
            await self._answer("AFTER", "250 2.0.0 taken")

    async def _answer(self, step: str, usual: str, **facts: str) -> str:
        """Say this, or do what goes wrong now; what the client was told."""
        trouble = self._sink.trouble_at(step)
        if trouble is None:
            reply = usual
        elif trouble.deed in {"refuse", "reject"} and step != "AFTER":
            reply = "451 4.3.0 not now" if trouble.deed == "refuse" else "554 5.7.1 not ever"
        else:
            await self._misbehave(trouble)
            reply = usual
        if reply.startswith("5"):
            self._sink.record("refused", step=step, tag=tag_of_sender(self._sender), reply=reply, **facts)
        self._say(reply)
        return reply

    async def _interrupt(self, step: str) -> None:
        """In the middle of content there is nothing to say."""
        trouble = self._sink.trouble_at(step)
        if trouble is not None and trouble.deed not in {"refuse", "reject"}:
            if trouble.deed != "stall":
                await self._reader.read(1)
            await self._misbehave(trouble)

    async def _misbehave(self, trouble: Trouble) -> None:
        if trouble.deed == "leave":
            self._say("421 4.3.2 going down")
        if trouble.deed.startswith("stall"):
            await asyncio.sleep(max(0.0, trouble.left))
        if trouble.deed == "stall":
            return
        if "reset" in trouble.deed:
            link = self._writer.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        raise GoneError

    def _say(self, reply: str) -> None:
        if reply:
            self._writer.write(f"{reply}\r\n".encode())


def _address(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]


async def serve(options: argparse.Namespace) -> None:
    """Listen for each lane and for control, tell where, and serve until SIGTERM."""
    truth = os.open(options.truth, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    sink = Sink(truth, options.pace, random.Random(options.seed))
    ports = {}
    for lane in LANES:

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lane: str = lane) -> None:
            await Talk(sink, lane, reader, writer).run()

        server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=_MOST)
        ports[lane] = server.sockets[0].getsockname()[1]
    control = await asyncio.start_server(sink.control, "127.0.0.1", 0)
    ports["control"] = control.sockets[0].getsockname()[1]
    partial = options.ready.with_suffix(".partial")
    partial.write_text(json.dumps(ports))
    partial.rename(options.ready)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.chaos.sink")
    options.add_argument("--truth", type=Path, required=True)
    options.add_argument("--ready", type=Path, required=True)
    options.add_argument("--pace", type=float, default=0.0, help="seconds that each mail takes")
    options.add_argument("--seed", default="")
    asyncio.run(serve(options.parse_args()))


if __name__ == "__main__":
    main()
