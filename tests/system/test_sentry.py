"""What a real worker sends to Sentry, read from the wire."""

import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mailworker import Attachment, Email, app, send_email
from smtp_transport.testing import FaultServer, behaved
from tests.system.conftest import refused_start, wait_until

pytestmark = pytest.mark.system

TOKEN = "qzmarker"
PASSWORD = f"{TOKEN}-password"


class Collector(ThreadingHTTPServer):
    """Takes envelopes as Sentry does."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Endpoint)

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self.server_port}/1"

    @property
    def events(self) -> list[dict]:
        """The events among what came."""
        items = [envelope.split(b"\n") for envelope in self.envelopes]
        return [
            json.loads(lines[at + 1])
            for lines in items
            for at in range(1, len(lines) - 1, 2)
            if json.loads(lines[at] or b"{}").get("type") == "event"
        ]


class _Endpoint(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[self.headers["Content-Encoding"]]
        self.server.envelopes.append(unpack(raw))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def sentry() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


@pytest.fixture
def relay(environment) -> Iterator[FaultServer]:
    replies = {"RCPT TO:<bounce": f"550 5.1.1 <bounce.{TOKEN}@example.org> {TOKEN}: unknown"}
    with FaultServer(behaved("AUTH PLAIN", "8BITMIME", replies=replies)) as server:
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__PORT", str(server.port))
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__USERNAME", "account")
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__PASSWORD", PASSWORD)
        yield server


def email(to: str) -> Email:
    return Email(
        from_=f"from.{TOKEN}@example.com",
        to=to,
        subject=f"{TOKEN} subject",
        text_body=f"{TOKEN} text",
        attachments=[Attachment(f"{TOKEN}.txt", "text/plain", f"{TOKEN} content".encode())],
    )


def errors_of(events: list[dict]) -> list[tuple[str, str]]:
    return [(error["type"], error["value"]) for one in events for error in one.get("exception", {}).get("values", ())]


def lines_of(events: list[dict]) -> list[str]:
    return [one["logentry"]["message"] for one in events if "logentry" in one]


@pytest.mark.parametrize(("pool", "name"), [("prefork", "MAILWORKER_SENTRY__DSN"), ("threads", "SENTRY_DSN")])
def test_errors_of_a_worker_reach_sentry_and_nothing_of_a_mail_does(post, sentry, relay, environment, pool, name):
    """NF-SEC-01."""
    environment.setenv(name, sentry.dsn)
    app.forget_runtime()
    worker = post.worker("-P", pool, "-c", "1", "-E", "--loglevel=DEBUG", "--include", "tests.system.alarming")
    bounced = send_email.delay(email(f"bounce.{TOKEN}@example.org"))
    wait_until(lambda: bounced.report().state == "dead", "a refusal")
    send_email.delay(email(f"crash.{TOKEN}@example.org"))
    wait_until(lambda: any(kind == "DrainError" for kind, _ in errors_of(sentry.events)), "the drain's error")
    wait_until(lambda: len(errors_of(sentry.events)) > 1, "the thread's error")
    with app.connection_for_write() as connection:
        for _ in range(2):
            connection.SimpleQueue("mail.default").put({TOKEN: TOKEN})
    wait_until(lambda: str(lines_of(sentry.events)).count("is kept as stray") == 2, "lines of our own log")
    assert worker.stop() == 0
    everything = b"\n".join(sentry.envelopes)
    assert TOKEN.encode() not in everything
    assert b"example.org" not in everything
    assert ("ValueError", "(not shown: it could quote a mail)") in errors_of(sentry.events)
    (drain,) = {value for kind, value in errors_of(sentry.events) if kind == "DrainError"}
    assert drain.startswith("ValueError at ")
    assert "alarming.py" in drain
    assert {"(not shown: it could quote a mail)", "a mail: %s"} <= set(lines_of(sentry.events))
    crumbs = [crumb for one in sentry.events for crumb in one["breadcrumbs"]["values"]]
    assert {crumb["category"] for crumb in crumbs} == {"mailworker"}
    assert TOKEN in worker.log.read_text(), "there was something to be hidden"


@pytest.mark.parametrize("dsn", ["not-a-dsn", "http://127.0.0.1/1"])
def test_a_dsn_that_is_none_stops_the_worker_with_the_reason(post, environment, dsn):
    environment.setenv("MAILWORKER_SENTRY__DSN", dsn)
    told = refused_start()
    assert "is no DSN of Sentry" in told
