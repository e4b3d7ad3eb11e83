"""With a sealing key, what a mail says is nowhere but in the mail: markers are looked for wherever anything is kept."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest
from celery import Celery
from click.testing import CliRunner

from mailworker import Attachment, Email, MailFailedError, app, send_email
from mailworker.celery import configuration
from mailworker.cli import main
from mailworker.dev.valkey import ValkeyServer
from mailworker.sealing import new_key
from smtp_transport.testing import FaultPlan, FaultServer, Reset, behaved
from tests.system.conftest import Post, wait_until
from tests.system.flower import Flower, flower_at

pytestmark = pytest.mark.system
# In whatever a mail says; and in what a foreign app says, whose own message in the broker we cannot seal.
TOKEN, FOREIGN = "qzmarker", "qzforeign"
PASSWORD = f"{TOKEN}-password"
REPLIES = {
    f"RCPT TO:<bounce.{TOKEN}": f"550 5.1.1 <bounce.{TOKEN}@example.org> is {TOKEN}-unknown",
    f"RCPT TO:<later.{TOKEN}": f"450 4.2.1 <later.{TOKEN}@example.org> is {TOKEN}-busy",
}


def spellings(token: str) -> Iterator[bytes]:
    """The token as it is, and inside base64, wherever it begins."""
    yield token.encode()
    for shift in range(3):
        yield base64.b64encode(bytes(shift) + token.encode())[4 if shift else 0 : -4]


def assert_nowhere(places: Mapping[str, bytes], token: str) -> None:
    found = [name for name, content in places.items() if any(each in content for each in spellings(token))]
    assert found == []


FOREIGN_MAIL = {
    "from": f"from.{FOREIGN}@example.com",
    "to": [f"to.{FOREIGN}@example.org"],
    "subject": f"{FOREIGN} subject",
    "text_body": f"{FOREIGN} text",
}


class Tapped:
    """All that is said to a server, and all that it writes to disk."""

    def __init__(self, server: ValkeyServer) -> None:
        self.server = server
        self._heard: list[str] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        with contextlib.suppress(Exception), self.server.client() as client, client.monitor() as monitor:
            client.connection_pool.connection_kwargs["socket_timeout"] = None
            self._ready.set()
            for command in monitor.listen():
                self._heard.append(command["command"])
                if "the end of it" in command["command"]:
                    return

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        with self.server.client() as client:
            client.echo("the end of it")
        self._thread.join(10)

    @property
    def heard(self) -> bytes:
        return "\n".join(self._heard).encode()

    @property
    def on_disk(self) -> bytes:
        files = [path for path in Path(self.server.folder).rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in files)

    @property
    def in_memory(self) -> bytes:
        with self.server.client() as client:
            return b"".join(key + (client.dump(key) or b"") for key in client.scan_iter())


def email(to: str) -> Email:
    return Email(
        from_={"email": f"from.{TOKEN}@example.com", "name": f"{TOKEN} Shop"},
        to={"email": to, "name": f"{TOKEN} Ann"},
        cc=[f"cc.{TOKEN}@example.org"],
        reply_to=[f"reply.{TOKEN}@example.com"],
        subject=f"{TOKEN} subject",
        text_body=f"{TOKEN} text",
        html_body=f"<p>{TOKEN} html</p>",
        headers=[("X-Note", f"{TOKEN} header")],
        attachments=[Attachment(f"{TOKEN}.txt", "text/plain", f"{TOKEN} content ".encode() * 4000)],
    )


def small(to: str) -> Email:
    return Email(from_=f"from.{TOKEN}@example.com", to=to, subject=TOKEN, text_body=TOKEN)


@pytest.fixture
def relay(environment: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server that asks for a password and quotes what it refuses; the second mail that it takes vanishes."""
    plan = FaultPlan().at("DOT", 2, Reset())
    with FaultServer(behaved("AUTH PLAIN", "8BITMIME", faults=plan, replies=REPLIES)) as server:
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__HOST", server.host)
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__PORT", str(server.port))
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__USERNAME", "account")
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__PASSWORD", PASSWORD)
        yield server


@pytest.fixture
def installation(
    valkey: ValkeyServer, environment: pytest.MonkeyPatch, relay: FaultServer, tmp_path: Path
) -> Iterator[tuple[Post, Tapped, Tapped]]:
    """A ledger and a broker of their own, both tapped."""
    environment.setenv("MAILWORKER_SEALING__KEYS", new_key("2026"))
    environment.setenv("MAILWORKER_LANES__DEFAULT__IN_DOUBT", "hold")
    environment.setenv("CRASHED", str(tmp_path / "crashed"))
    with (
        ValkeyServer(tmp_path / "ledger") as ledger,
        ValkeyServer(tmp_path / "broker") as broker,
        Tapped(ledger) as tapped_ledger,
        Tapped(broker) as tapped_broker,
    ):
        environment.setenv("MAILWORKER_REDIS__URL", ledger.url)
        environment.setenv("MAILWORKER_BROKER__URL", f"redis+socket://{broker.socket}")
        app.forget_runtime()
        app.conf.update(configuration())
        app._after_fork()
        post = Post(ledger, None, tmp_path)
        yield post, tapped_ledger, tapped_broker
        for worker in post.workers:
            worker.kill_group()


def shown(mail_id: str) -> bytes:
    result = CliRunner().invoke(main, ["mail", "show", mail_id])
    assert result.exit_code == 0, result.output
    return result.output.encode()


def failed(result: object) -> MailFailedError:
    with pytest.raises(MailFailedError) as caught:
        result.get(timeout=30)
    return caught.value


def all_of(flower: Flower, mail_ids: list[str]) -> Iterator[tuple[str, bytes]]:
    """Everything that a dashboard shows of mails and workers."""
    (worker,) = json.loads(flower.get("/api/workers?refresh=1"))
    table = "draw=1&start=0&length=100&order[0][column]=0&columns[0][data]=name"
    paths = ["/workers", f"/worker/{worker}", "/tasks", f"/tasks/datatable?{table}", "/broker", "/metrics"]
    paths += ["/api/workers", "/api/tasks", "/api/task/types", "/api/queues/length"]
    paths += [f"{place}/{mail_id}" for place in ("/task", "/api/task/info") for mail_id in mail_ids]
    for path in paths:
        content = flower.get(path)
        assert content, path
        yield f"Flower, {path}", content


def test_what_sealed_mails_say_is_nowhere_but_in_the_mails(installation, relay, tmp_path, free_port):
    """NF-SEC-01."""
    with flower_at(free_port, tmp_path) as flower:
        say_and_look(installation, relay, tmp_path, flower)


def say_and_look(installation: tuple[Post, Tapped, Tapped], relay: FaultServer, tmp_path: Path, flower: Flower) -> None:
    post, ledger, broker = installation
    worker = ("-c", "1", "-E", "--loglevel=DEBUG", "--include", "tests.system.crash")
    post.worker(*worker)
    wait_until(lambda: b"w0@" in (flower.get("/api/workers?refresh=1") or b""), "Flower sees the worker")
    events: list[dict] = []
    connection = app.connection_for_read()
    receiver = app.events.Receiver(connection, handlers={"*": events.append})

    def listen() -> None:
        with contextlib.suppress(TimeoutError):
            receiver.capture(limit=None, timeout=60, wakeup=False)

    listener = threading.Thread(target=listen)
    listener.start()
    sent = send_email.apply_async((email(f"ann.{TOKEN}@example.org"),), idempotency_key=f"{TOKEN}-key")
    assert sent.get(timeout=30)["state"] == "sent"
    lost = send_email.delay(email(f"doubt.{TOKEN}@example.org"))
    errors = [failed(lost)]
    bounced = send_email.delay(small(f"bounce.{TOKEN}@example.org"))
    errors.append(failed(bounced))
    later = send_email.delay(small(f"later.{TOKEN}@example.org"))
    crash = send_email.delay(email(f"crash.{TOKEN}@example.org"))
    assert crash.get(timeout=30)["state"] == "sent"
    assert (tmp_path / "crashed").exists()
    wait_until(lambda: later.report().history, "a first refusal")
    with Celery("web", broker=app.conf.broker_url, set_as_current=False) as foreign:
        foreign.send_task("mailworker.send_email", [FOREIGN_MAIL], queue="mailworker")
        foreign.send_task("shop.charge", [FOREIGN_MAIL], queue="mailworker")
    wait_until(lambda: any(FOREIGN in str(c.contents) for c in relay.conversations), "the foreign mail")
    wait_until(lambda: app.runtime.strays.count() == 1, "the task of another app is kept")
    results = (sent, lost, bounced, later, crash)
    assert [result.report().state for result in results] == ["sent", "in_doubt", "dead", "deferred", "sent"]
    receiver.should_stop = True
    listener.join()
    connection.release()
    # What was killed with its drain is shown as it was last seen, or not at all.
    shown_there = [result.id for result in (sent, lost, bounced, later)]
    wait_until(lambda: all(flower.get(f"/task/{mail_id}") for mail_id in shown_there), "Flower shows the mails")
    told = dict(all_of(flower, shown_there)) | {
        "Flower's log": (tmp_path / "flower.log").read_bytes(),
        "ledger, in memory": ledger.in_memory,
        "ledger, on disk": ledger.on_disk,
        "ledger, said to it": ledger.heard,
        "worker's log": post.logs().encode(),
        "events": json.dumps(events, default=str).encode(),
        "errors": repr([(error, error.args) for error in errors]).encode(),
    }
    assert_nowhere(told | {"broker": broker.heard + broker.on_disk + broker.in_memory}, TOKEN)
    assert_nowhere(told | {"broker, now": broker.in_memory}, FOREIGN)
    assert b"ValueError" in told["worker's log"]
    for result, words in ((bounced, "550 5.1.1 unknown"), (later, "450 4.2.1 busy")):
        screen = shown(result.id)
        assert all(word in screen for word in words.encode().split())
        assert screen.count(TOKEN.encode()) == screen.count(f"{TOKEN}-".encode())
