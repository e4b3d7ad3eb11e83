"""Whoever hands mails to the queue, in a process of its own: `python -m bench.producer WHAT ...`, answers in JSON.

`fill N`: N mails at once. `offer RATE SECONDS`: so many mails a second, each with the moment in a header, from which
the sink reckons. `delay N` and `many N`: how long accepting takes. It works as an application does, with the settings
of the environment.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from bench.contenders import OCTETS, RECIPIENT, SENDER
from mailworker import Email, send_email

_PORTION = 10_000


def email(*headers: tuple[str, str]) -> Email:
    """Give an email of about 5 KB, text only."""
    text = ("x" * 76 + "\n") * (OCTETS // 77)
    return Email(from_=SENDER, to=RECIPIENT, subject="bench", text_body=text, headers=headers)


def fill(mails: int) -> dict[str, float]:
    """Put mails in line."""
    begun = time.perf_counter()
    for first in range(0, mails, _PORTION):
        one = email()
        send_email.many(one for _ in range(min(_PORTION, mails - first)))
    return {"seconds": time.perf_counter() - begun}


def offer(rate: int, seconds: int) -> dict[str, float]:
    """Hand over a mail every so often, whatever becomes of the others."""
    return offered(lambda enqueued: send_email.delay(email(("X-Enq", enqueued))), rate, seconds)


def offered(send: Callable[[str], object], rate: int, seconds: int) -> dict[str, float]:
    """Call `send` at an even rate with the moment; tells how late it was called at worst, in ms."""
    begun, late = time.perf_counter(), 0.0
    for number in range(rate * seconds):
        left = begun + number / rate - time.perf_counter()
        if left > 0:
            time.sleep(left)
        late = max(late, -left)
        send(f"{time.time():.6f}")
    return {"late_ms": late * 1000}


def delay(calls: int) -> dict[str, float]:
    """Accept mails one by one."""
    one = email()
    return timed(lambda: send_email.delay(one), calls)


def many(mails: int) -> dict[str, float]:
    """Accept mails in one call; each is an email of its own."""
    emails = [email() for _ in range(mails)]
    begun = time.perf_counter()
    send_email.many(emails)
    return {"seconds": time.perf_counter() - begun}


def timed(call: Callable[[], object], calls: int) -> dict[str, float]:
    """Time so many calls, after a few that open what is opened once."""
    for _ in range(10):
        call()
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    return {"seconds": time.perf_counter() - begun}


WAYS: Mapping[str, Callable[..., Mapping[str, float]]] = MappingProxyType(
    {"fill": fill, "offer": offer, "delay": delay, "many": many}
)

if __name__ == "__main__":
    sys.stdout.write(json.dumps(dict(WAYS[sys.argv[1]](*map(int, sys.argv[2:])))))
