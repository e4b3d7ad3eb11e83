"""What a mail costs the ledger, with few others in line and with very many."""

import secrets
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redis import Redis

from bench.report import Figure, Section
from bench.stand import store
from mailworker.keys import new_mail_id
from mailworker.ledger import Claiming, Ledger, NewMail, Settlement

_BATCH = 50
_PORTION = 500
_ROUNDS, _CYCLES = 20, 10
_PAYLOAD = 200
"""Octets: a million mails must fit in memory."""
_A_DAY = 86_400_000


def by_depth(few: int, very_many: int) -> Section:
    """Take mails the whole way, as many in as out, in two lanes of one server by turns."""
    lanes = {"few": few, "many": very_many}
    spent = dict.fromkeys(lanes, 0.0)
    with tempfile.TemporaryDirectory(prefix="bench-") as place, store(Path(place)) as server, server.client() as client:
        ledger = Ledger(client)
        for lane, depth in lanes.items():
            for first in range(0, depth, _PORTION):
                ledger.accept(lane, _mails(lane, min(_PORTION, depth - first)))
        for _ in range(_ROUNDS):
            for lane in lanes:
                before = _cpu(client)
                for _ in range(_CYCLES):
                    _cycle(ledger, lane)
                spent[lane] += _cpu(client) - before
    base, mails = spent["few"], _ROUNDS * _CYCLES * _BATCH
    rows: Mapping[str, Mapping[str, Figure]] = {
        f"{depth:,} in line": {"CPU us/mail": spent[lane] / mails * 1e6, "of that with few": spent[lane] / base}
        for lane, depth in lanes.items()
    }
    told = (
        f"CPU of client and server for accept, claim, mark and settle of mails with {_PAYLOAD} octets, {_BATCH} a call."
    )
    return Section("A deep queue", told, rows)


def _cycle(ledger: Ledger, lane: str) -> None:
    ledger.accept(lane, _mails(lane, _BATCH))
    claims = ledger.claim(lane, Claiming(_BATCH, 1 << 20, 60_000, 10), answering=True).mails
    ledger.turn(lane, [], claims, 60_000)
    ledger.settle(lane, [Settlement(claim, "d") for claim in claims])


def _mails(lane: str, number: int) -> list[NewMail]:
    now, chance, payload = time.time_ns() // 1_000_000, secrets.token_bytes(10), b"x" * _PAYLOAD
    return [NewMail(new_mail_id(lane, now, chance, place), payload, b"-") for place in range(number)]


def _cpu(client: "Redis") -> float:
    told: Any = client.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"]) + time.process_time()
