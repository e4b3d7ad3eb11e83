"""Ledgers and brokers of other shapes: Sentinel, Cluster, RabbitMQ, TLS with users of few rights."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import trustme
from celery import Celery
from kombu import Connection

from mailworker import Attachment, Email, LedgerError, app, foreign, send_email
from mailworker.celery import configuration
from mailworker.dev.mailbox import Mailbox
from mailworker.ledger import Roll
from mailworker.record import MailState
from mailworker.rotation import reseal, take_census
from mailworker.sealing import KeyRing, new_key
from tests.system.conftest import Post, wait_until
from tests.system.nodes import Node, Rabbit, free_ports, system_redis, until
from tests.system.test_workers import message_id_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

GUIDE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def some_mails(count: int, **options):
    return send_email.many((email(n) for n in range(count)), **options)


def email(number: int) -> Email:
    return Email(from_="shop@example.com", to="ann@example.org", subject=f"Order {number}", text_body="Thanks. " * 50)


@pytest.fixture
def settle(environment, tmp_path) -> Iterator:
    """Make this process and its workers use the places that a test gives."""
    mailbox = Mailbox(tmp_path / "mailbox")
    mailbox.start()
    posts = []

    def use(**settings: str) -> Post:
        environment.setenv("MAILWORKER_RELAYS__DEFAULT__PORT", str(mailbox.address[1]))
        environment.setenv("MAILWORKER_WORKER__LEASE_SECONDS", "3")
        environment.setenv("MAILWORKER_REDIS__TIMEOUT_SECONDS", "2.5")
        for name, value in settings.items():
            environment.setenv(f"MAILWORKER_{name}", value)
        app.forget_runtime()
        app.conf.update(configuration())
        app._after_fork()
        posts.append(Post(None, mailbox, tmp_path))
        return posts[-1]

    yield use
    for post in posts:
        for worker in post.workers:
            worker.kill_group()
    app.forget_runtime()
    app._after_fork()
    mailbox.stop()


@pytest.fixture
def nodes(tmp_path) -> Iterator[list[Node]]:
    running: list[Node] = []
    yield running
    for node in running:
        node.kill()


def all_arrived(post: Post, results) -> None:
    ledger = app.runtime.ledger

    def is_over() -> bool:
        with contextlib.suppress(LedgerError):
            return all(ledger.read(result.id).state.is_final for result in results)
        return False

    wait_until(is_over, "every mail has ended", 60)
    records = {result.report().message_id: ledger.read(result.id) for result in results}
    assert {record.state for record in records.values()} == {MailState.SENT}
    arrived = Counter(message_id_of(mail.content) for mail in post.stored())
    assert set(records) <= set(arrived)
    assert all(records[m].possible_duplicates for m, times in arrived.items() if times > 1 and m in records)


@pytest.fixture
def sentinels(nodes, tmp_path) -> str:
    """A master, two replicas and three Sentinels that agree on them; the ledger's URL."""
    master, one, two, *watching = free_ports(6)
    nodes.append(Node.server(tmp_path / "master", master))
    nodes += [Node.server(tmp_path / f"replica{p}", p, "--replicaof", "127.0.0.1", str(master)) for p in (one, two)]
    until(lambda: all(node.is_up() for node in nodes), "the servers are up")
    with nodes[0].client() as client:
        until(lambda: client.info("replication")["connected_slaves"] == 2, "the replicas follow")
        until(lambda: client.wait(2, 100) == 2, "the replicas have all")
    sentinels = [Node.sentinel(tmp_path / f"sentinel{p}", p, master) for p in watching]
    nodes.extend(sentinels)
    for sentinel in sentinels:
        with sentinel.client() as client:
            until(
                lambda client=client: (
                    (told := client.sentinel_master("post"))["num-slaves"] == 2 and told["num-other-sentinels"] == 2
                ),
                "the Sentinels know each other and the replicas",
            )
    return f"sentinel://{','.join(f'127.0.0.1:{port}' for port in watching)}/post?db=0"


def test_a_failover_in_the_middle_loses_nothing_that_a_replica_had(settle, sentinels, nodes):
    """NF-REL-04. The bells travel by the same Sentinels."""
    post = settle(REDIS__URL=sentinels, REDIS__REPLICAS="1", REDIS__TIMEOUT_SECONDS="2")
    post.worker("-c", "2")
    accepted = [insist(number) for number in range(100)]
    wait_until(lambda: len(post.stored()) > 20, "mails flow")
    nodes[0].kill()
    accepted += [insist(number) for number in range(100, 150)]
    assert len({result.id for result in accepted}) == 150
    all_arrived(post, accepted)
    send_email.delay(email(0)).get(timeout=20)
    assert all(worker.stop() == 0 for worker in post.workers)


def insist(number: int):
    """Send a mail as a careful app does: a call that failed was perhaps done, and the same key makes no second mail."""
    for _ in range(20):
        try:
            return send_email.apply_async((email(number),), idempotency_key=f"order-{number}")
        except LedgerError:
            continue
    pytest.fail("no new master within the time of twenty calls")


def test_a_mail_that_no_replica_has_is_not_accepted(settle, sentinels, nodes):
    settle(REDIS__URL=sentinels, REDIS__REPLICAS="2", REDIS__TIMEOUT_SECONDS="1")
    first = send_email.apply_async((email(1),), idempotency_key="first")
    frozen = nodes[1].process
    os.kill(frozen.pid, 19)
    try:
        with pytest.raises(LedgerError, match="only 1 of 2 replicas"):
            send_email.apply_async((email(2),), idempotency_key="second")
        # By another connection too: what it repeats was written by the first.
        app.forget_runtime()
        with pytest.raises(LedgerError, match="only 1 of 2 replicas"):
            send_email.apply_async((email(2),), idempotency_key="second")
    finally:
        os.kill(frozen.pid, 18)
    assert send_email.apply_async((email(1),), idempotency_key="first").id == first.id
    assert app.runtime.ledger.stats("default").ready == 2


@pytest.fixture
def cluster(nodes, tmp_path) -> str:
    """Three masters that share the slots; the ledger's URL."""
    ports = free_ports(3)
    nodes += [
        Node.server(tmp_path / f"node{p}", p, "--cluster-enabled", "yes", "--cluster-port", str(bus))
        for p, bus in zip(ports, free_ports(3), strict=True)
    ]
    until(lambda: all(node.is_up() for node in nodes), "the nodes are up")
    bounds = [0, 5461, 10923, 16384]
    for node, first, end in zip(nodes, bounds, bounds[1:], strict=False):
        with node.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(first, end))
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", nodes.index(node) + 1)
    with nodes[0].client() as client:
        for node in nodes[1:]:
            bus = node.process.args[node.process.args.index("--cluster-port") + 1]
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
    for node in nodes:
        with node.client() as client:
            until(
                lambda client=client: (
                    client.cluster("INFO")["cluster_state"] == "ok"
                    and client.cluster("INFO")["cluster_known_nodes"] == "3"
                ),
                "the Cluster is whole",
            )
    return f"cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"


def test_a_cluster_holds_the_ledger_each_lane_in_one_slot(settle, cluster, nodes, valkey):
    lanes = ("default", "bulk", "news", "tenant-7")
    post = settle(
        REDIS__URL=cluster,
        BROKER__URL=valkey.url,
        LANES__NEWS__RELAY="default",
        **{"LANES__TENANT-7__RELAY": "default"},
    )
    results = [result for lane in lanes for result in some_mails(30, lane=lane, idempotency_key=f"{lane}-key")]
    later = send_email.apply_async((email(99),), lane="news", countdown=3600)
    terms = Attachment("terms.pdf", "application/pdf", bytes(50_000))
    with_file = email(98).model_copy(update={"attachments": (terms,)})
    results += [send_email.delay(with_file, lane=lane) for lane in lanes]
    assert take_census(app.runtime.ledger.seals, app.runtime.suppressions, app.runtime.strays).files.total() == len(
        lanes
    )
    worker = post.worker("-c", "2")
    all_arrived(post, results)
    assert len(post.stored()) == len(results)
    runtime = app.runtime
    assert reseal(runtime.ledger.seals, runtime.ledger.files, KeyRing.parse([new_key("2026")]), lambda *_: None) == 0
    census = take_census(runtime.ledger.seals, runtime.suppressions, runtime.strays)
    assert (census.ended, census.files.total()) == (Counter({"2026": len(results)}), 0)
    assert later.report().state == "scheduled"
    assert app.runtime.cancel(later.id) == "cancelled"
    assert results[0].get(timeout=20)["state"] == "sent"
    assert [seen.is_alive for seen in Roll(app.runtime.redis).read()] == [True]
    held = Counter()
    for node in nodes:
        with node.client() as client:
            held[node.port] = client.dbsize()
    assert sum(1 for size in held.values() if size) > 1
    assert worker.stop() == 0


@pytest.fixture
def rabbit(tmp_path) -> Iterator[Rabbit]:
    server = Rabbit(tmp_path / "rabbit")
    yield server
    server.close()


def test_rabbitmq_carries_the_bells_on_quorum_queues_and_may_be_killed(settle, rabbit, valkey):
    post = settle(BROKER__URL=rabbit.url)
    worker = post.worker("-c", "2")
    first = some_mails(50)
    all_arrived(post, first)
    with Connection(rabbit.url) as connection, pytest.raises(connection.channel_errors, match="x-queue-type"):
        connection.channel().queue_declare("mail.default", durable=True, auto_delete=False)
    rabbit.kill()
    second = some_mails(50)
    all_arrived(post, first + second)
    rabbit.start()
    third = some_mails(50)
    all_arrived(post, first + second + third)
    assert len(post.stored()) == 150
    hand_over_and_back(post, rabbit)
    assert worker.stop() == 0


def hand_over_and_back(post: Post, rabbit: Rabbit) -> None:
    """An app without this package leaves a mail, and by mistake a task of its own, which it gets back."""
    data = {"from": "shop@example.com", "to": ["ann@example.org"], "subject": "Hello", "text_body": "Hi."}
    with Celery("web", broker=rabbit.url, set_as_current=False) as web:
        web.send_task("mailworker.send_email", [data], queue="mailworker")
        lost = web.send_task("shop.charge", ["order-1"], queue="mailworker")
    wait_until(lambda: len(post.stored()) == 151, "the foreign mail")
    wait_until(lambda: app.runtime.strays.count() == 1, "a stray")
    (stray,) = foreign.strays()
    with pytest.raises(LookupError, match="no queue 'shop'"):
        foreign.hand_back([stray.id], "shop")
    assert app.runtime.strays.count() == 1
    with Connection(rabbit.url) as connection, connection.SimpleQueue("shop") as queue:
        assert foreign.hand_back([stray.id], "shop") == 1
        message = queue.get(timeout=10)
        assert (message.headers["id"], message.headers["task"]) == (lost.id, "shop.charge")
        assert message.payload[0] == ["order-1"]
        message.ack()
    assert app.runtime.strays.count() == 0


@pytest.fixture
def guarded(nodes, tmp_path) -> str:
    """A server that speaks TLS only, to two users that may do what they need and no more."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    users = re.findall(r"^    (user \w+ on >secret-\w .*)$", GUIDE, re.MULTILINE)
    assert len(users) == 2
    (tmp_path / "users.acl").write_text("\n".join(["user default off", *users, "user root on >root ~* &* +@all\n"]))
    (port,) = free_ports(1)
    files = {"cert-file": "cert", "key-file": "key", "ca-cert-file": "ca"}
    tls = [word for name, file in files.items() for word in (f"--tls-{name}", str(tmp_path / f"{file}.pem"))]
    node = Node.server(
        tmp_path / "guarded",
        0,
        *("--tls-port", str(port), "--tls-auth-clients", "no", "--aclfile", str(tmp_path / "users.acl"), *tls),
        binary=system_redis(),
    )
    nodes.append(node)
    node.port = port
    with root_of(port, tmp_path) as root:
        until(lambda: node.is_running() and root.ping(), "the server speaks TLS")
    return f"127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"


def root_of(port: int, folder: Path) -> redis.Redis:
    return redis.Redis(port=port, username="root", password="root", ssl=True, ssl_ca_certs=str(folder / "ca.pem"))


def test_a_ledger_and_a_broker_behind_tls_with_users_of_few_rights(settle, guarded, tmp_path):
    """NF-SEC-01."""
    post = settle(REDIS__URL=f"rediss://ledger:secret-l@{guarded}", BROKER__URL=f"rediss://bells:secret-b@{guarded}")
    worker = post.worker("-c", "2")
    results = some_mails(50)
    refused = send_email.delay(Email(from_="a@example.com", to="refuse@example.org", subject="s", text_body="t"))
    all_arrived(post, results)
    wait_until(lambda: refused.report().state == "dead", "a refusal")
    assert app.runtime.requeue("default", [refused.id]) == ("ready",)
    later = send_email.apply_async((email(7),), countdown=3600)
    assert app.runtime.cancel(later.id) == "cancelled"
    assert results[0].get(timeout=10)["state"] == "sent"
    assert app.runtime.ledger.parked("default", MailState.IN_DOUBT) == ()
    assert worker.stop() == 0
    assert "secret-" not in post.logs()
    port = guarded.partition("/")[0].rpartition(":")[2]
    with root_of(int(port), tmp_path) as root:
        assert [entry["object"] for entry in root.acl_log() if entry["reason"] != "auth"] == []


def test_a_server_with_an_unknown_certificate_is_not_spoken_to(settle, guarded):
    settle(REDIS__URL=f"rediss://ledger:secret-l@{guarded.partition('?')[0]}", REDIS__TIMEOUT_SECONDS="0.5")
    with pytest.raises(LedgerError):
        send_email.delay(email(1))
