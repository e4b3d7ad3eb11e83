"""A measurement with a peer that is no sink: a real Postfix."""

import time
from contextlib import ExitStack

import pytest
import trustme

from bench.contenders import ONE_BY_ONE, WAYS, Send, by_smtplib, ours
from bench.report import Section
from tests.servers import postfix

_ROUNDS = 3


def real_postfix(mails: int) -> Section:
    """Send to a Postfix: a mode that waits for a delayed acknowledgement shows 40 ms a mail."""
    told = f"One connection to a real Postfix on the loopback interface, every core free; best of {_ROUNDS} rounds."
    with ExitStack() as running:
        try:
            server = running.enter_context(postfix.running(trustme.CA(), with_users=False))
        except pytest.skip.Exception as error:
            return Section("Postfix", f"{told} Not measured: {error}.", {})
        port = server.doors["plain"]
        known = {ONE_BY_ONE: by_smtplib, **{f"ours, {name}": ours(way) for name, way in WAYS.items()}}
        sends: dict[str, Send] = {name: running.enter_context(each(port)) for name, each in known.items()}
        for send in sends.values():
            send(max(1, mails // 10))
        # In turns, so that what disturbs does not disturb one of them alone.
        rounds = [{name: _timed(send, mails) for name, send in sends.items()} for _ in range(_ROUNDS)]
    seconds = {name: min(each[name] for each in rounds) for name in sends}
    base = seconds["ours, lockstep"]
    rows = {
        name: {"mails/s": mails / took, "ms/mail": took / mails * 1000, "x lockstep": base / took}
        for name, took in seconds.items()
    }
    return Section("Postfix", told, rows)


def _timed(send: Send, mails: int) -> float:
    begun = time.perf_counter()
    send(mails)
    return time.perf_counter() - begun
