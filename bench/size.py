"""What a mail costs in the ledger's memory: queued, and ended, with and without a sealing key.

Law: it is the server's own count, of a server that holds nothing else; so a mail's places in sets are counted too.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from redis import Redis

from bench.report import Section
from mailworker import Attachment, Email
from mailworker.dev.valkey import ValkeyServer
from mailworker.options import Options
from mailworker.outcome import Said, note_of, seal_said
from mailworker.record import Claim, Claiming, Settlement
from mailworker.runtime import Runtime
from mailworker.sealing import new_key
from mailworker.settings import Settings

_BODY = ("x" * 78 + "\n") * 64
_FILE = bytes(range(256)) * 4096
_RELAY = "default"
_WANT = Claiming(500, 1 << 26, 60_000, 99)
_TAKEN = Said(250, "2.0.0", "2.0.0 Ok: queued as 4XyZ12abcd")
_REFUSED = Said(550, "5.1.1", "5.1.1 <a***@example.org>: Recipient address rejected: User unknown")


def measured(*, quick: bool) -> Iterator[Section]:
    """Measure both ledgers."""
    mails = 500 if quick else 20_000
    rows = {"not sealed": _small(mails, []), "sealed": _small(mails, [new_key("2026")])}
    told = f"{mails} mails of 5 KB, a recipient each. Bytes of memory for each of them."
    yield Section("A mail in the ledger", told, rows)
    carriers = 100 if quick else 10_000
    told = f"{carriers} mails of 200 bytes that carry the same file of 1 MB. Bytes of memory."
    yield Section("A file that mails share", told, {"sealed": _shared(carriers)})


class _Ledger:
    """A ledger of its own, and the memory that it takes."""

    def __init__(self, folder: str, keys: Sequence[str]) -> None:
        self._server = ValkeyServer(Path(folder))
        self._keys = keys

    def __enter__(self) -> Self:
        self._server.start()
        settings = Settings.model_validate(
            {"redis": {"url": self._server.url}, "sealing": {"keys": tuple(self._keys)}, "limits": {"attachments": 1}}
        )
        self.runtime = Runtime(settings, bool)
        self.runtime.ledger.stats("default")
        self._empty = self._used()
        return self

    def __exit__(self, *_: object) -> None:
        self.runtime.close()
        self._server.stop()

    def memory(self) -> int:
        """Bytes that it holds by now."""
        return self._used() - self._empty

    def accept(self, emails: Iterator[Email], count: int) -> None:
        for _ in range(count // 100):
            self.runtime.post([next(emails) for _ in range(100)], [Options()] * 100)

    def settle(self, letter: str, said: Said) -> None:
        keys, ledger = self.runtime.keys, self.runtime.ledger

        def settled(claim: Claim) -> Settlement:
            note = "" if letter == "d" else note_of(claim.attempts, "bounced", said, claim.id, keys, _RELAY)
            error = "" if letter == "d" else "reply 550 5.1.1"
            told = seal_said([said], claim.id, keys)
            return Settlement(claim, letter, told=told, note=note, error=error, relay=_RELAY)

        while claims := ledger.claim("default", _WANT, answering=True).mails:
            ledger.settle("default", [settled(claim) for claim in claims])

    def _used(self) -> int:
        with self._server.client() as client:
            return _settled_memory(client)


def _settled_memory(client: Redis) -> int:
    """What is used by data: buffers of clients come and go."""
    facts = client.info("memory")
    return int(facts["used_memory_dataset"])


def _emails(*files: Attachment) -> Iterator[Email]:
    number = 0
    while True:
        number += 1
        yield Email(
            from_="shop@example.com",
            to=f"customer{number}@example.org",
            subject=f"Order {number}",
            text_body=_BODY if not files else _BODY[:200],
            attachments=files,
        )


def _small(mails: int, keys: Sequence[str]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, letter, said in (("sent", "d", _TAKEN), ("dead", "b", _REFUSED)):
        with tempfile.TemporaryDirectory() as folder, _Ledger(folder, keys) as ledger:
            ledger.accept(_emails(), mails)
            figures.setdefault("queued", ledger.memory() / mails)
            ledger.settle(letter, said)
            figures[name] = ledger.memory() / mails
    return figures


def _shared(mails: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, _Ledger(folder, [new_key("2026")]) as ledger:
        ledger.accept(_emails(Attachment("terms.pdf", "application/pdf", _FILE)), mails)
        queued = ledger.memory()
        ledger.settle("d", _TAKEN)
        return {"queued": queued, "of which for each mail": (queued - len(_FILE)) / mails, "sent": ledger.memory()}
