"""Messages that are not ours, with real workers: never eaten, never lost, handed back."""

import base64
import json
from collections import Counter

import pytest
from celery import Celery
from click.testing import CliRunner

from mailworker import Email, app, foreign, send_email
from mailworker.celery import configuration
from mailworker.cli import main
from mailworker.dev.valkey import ValkeyServer
from mailworker.pickup import Pickup
from mailworker.strays import Stray
from tests.system.conftest import Worker, wait_until

pytestmark = pytest.mark.system

MAIL = {"from": "shop@example.com", "to": ["ann@example.org"], "subject": "Hello", "text_body": "Hi."}
QUEUE = "mailworker"


def run(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == status, result.output
    return result.output


def listed() -> list[dict]:
    return json.loads(run("stray", "list", "--json"))["strays"]


def publish(task: str, *arguments: object, queue: str | None = None, protocol: int = 2, **options: object) -> str:
    """Send a task as an app does that knows nothing of this package."""
    with Celery("web", broker=app.conf.broker_url, set_as_current=False) as web:
        web.conf.task_protocol = protocol
        return web.send_task(task, arguments, queue=queue, **options).id


def kept(count: int) -> list[Stray]:
    wait_until(lambda: app.runtime.strays.count() == count, f"{count} strays")
    return list(foreign.strays())


def test_the_tasks_of_other_apps_on_the_same_broker_are_left_alone(post):
    post.worker("-c", "1")
    for number in range(300):
        publish("shop.charge", f'"task": "mailworker.send_email" {number}')
    publish("mailworker.send_email", MAIL)
    publish("mailworker.send_email", MAIL, priority=9)
    publish("mailworker.send_email", MAIL, queue=QUEUE)
    wait_until(lambda: len(post.stored()) == 3, "mails that name their queue, and mails that do not")
    with post.redis as client:
        left = client.lrange("celery", 0, -1)
    assert [json.loads(message)["headers"]["task"] for message in left] == ["shop.charge"] * 300
    assert app.runtime.strays.count() == 0
    assert "strays" not in run("status")


def test_a_mail_that_cannot_be_moved_stays_where_it_is_and_what_only_mentions_one_too(post):
    publish("shop.charge", headers={"meta": {"task": "mailworker.send_email"}})
    ids = [publish("mailworker.send_email", MAIL) for _ in range(2)]
    with post.redis as client:
        client.set(QUEUE, "no list")
        assert Pickup(app.connection_or_acquire, QUEUE).look() == 0
        assert client.llen("celery") == 3
        client.delete(QUEUE)
        assert Pickup(app.connection_or_acquire, QUEUE).look() == 2
        assert [json.loads(message)["headers"]["id"] for message in client.lrange(QUEUE, 0, -1)][::-1] == ids
        (left,) = client.lrange("celery", 0, -1)
    assert json.loads(left)["headers"]["task"] == "shop.charge"


def test_mails_of_task_protocol_1_are_found_as_those_of_2_are(post):
    post.worker("-c", "1")
    for number in range(30):
        publish("shop.charge", f'{{"task": "mailworker.send_email", {number}', MAIL, protocol=1)
    published = {publish("mailworker.send_email", MAIL, protocol=1, **how) for how in ({}, {"priority": 9})}
    publish("mailworker.send_email", MAIL, protocol=1, queue=QUEUE)
    wait_until(lambda: len(post.stored()) == 3, "mails that name their queue, and mails that do not")
    with post.redis as client:
        left = client.lrange("celery", 0, -1)
    tasks = [json.loads(base64.b64decode(json.loads(message)["body"]))["task"] for message in left]
    assert (tasks, len(published)) == (["shop.charge"] * 30, 2)
    assert app.runtime.strays.count() == 0


def test_what_only_looks_like_a_mail_of_task_protocol_1_is_left_alone(post):
    begin = base64.b64encode(b'{"task": "mailworker.send_email",').decode()
    with post.redis as client:
        for message in (
            {"body": begin, "headers": {"task": "shop.charge"}},
            {"body": "x" + begin, "headers": {}},
            {"body": [begin], "headers": None},
            {"note": begin},
            [begin],
        ):
            client.lpush("celery", json.dumps(message))
        client.lpush("celery", f'"{begin}', f'"{begin}"')
        assert Pickup(app.connection_or_acquire, QUEUE).look() == 0
        assert client.llen("celery") == 7


def test_hundreds_of_mails_from_apps_that_name_no_queue_are_sent_in_their_order(post):
    with Celery("web", broker=app.conf.broker_url, set_as_current=False) as web, web.connection_for_write() as broker:
        ids = [
            web.send_task("mailworker.send_email", [MAIL | {"subject": f"{number}"}], connection=broker).id
            for number in range(250)
        ]
        web.send_task("shop.charge", connection=broker)
        picked = Pickup(app.connection_or_acquire, QUEUE)
        assert (picked.look(), picked.look()) == (250, 0)
    with post.redis as client:
        moved = [json.loads(message)["headers"]["id"] for message in client.lrange(QUEUE, 0, -1)]
        assert client.llen("celery") == 1
    assert moved[::-1] == ids
    post.worker("-c", "1")
    wait_until(lambda: len(post.stored()) == 250, "all of them")


def test_a_queue_that_the_settings_name_is_read(post, environment):
    environment.setenv("MAILWORKER_BROKER__FOREIGN_QUEUE", "celery")
    post.worker("-c", "1")
    publish("mailworker.send_email", MAIL)
    wait_until(post.stored, "the mail")


def test_a_task_of_another_app_on_our_queue_is_kept_told_and_handed_back(post, environment):
    environment.setenv("SHOP_URL", post.server.url)
    post.worker("-c", "1")
    task_id = publish("shop.noted", "marker-4711", queue="mail.default")
    (stray,) = kept(1)
    (shown,) = listed()
    assert (shown["id"], shown["queue"], shown["task"]) == (stray.id, "mail.default", "shop.noted")
    assert shown["reason"] == "a task not known here"
    assert "1 messages on our queues were not ours" in run("status")
    assert json.loads(run("status", "--json"))["strays"] == 1
    assert "marker" not in post.logs() + run("stray", "list") + repr(stray)
    assert "name the queue of its own app" in run("stray", "return", stray.id, status=2)
    assert run("stray", "return", stray.id, "--queue", "shop") == "1 handed back\n"
    assert listed() == []
    shop = Worker(post.folder / "shop.log", "-c", "1", "-n", "shop@%h", "-Q", "shop", app="tests.system.shop")
    post.workers.append(shop)
    with post.redis as client:
        wait_until(lambda: client.llen("shop:diary"), "its own app has run it")
        assert json.loads(client.lindex("shop:diary", 0)) == ["noted", "marker-4711", task_id]


@pytest.mark.parametrize("item", [b"no message", b"\xff\xfe", b'{"body": "marker-4711", "properties": {}}'])
def test_what_is_no_message_at_all_is_kept_and_the_worker_goes_on(post, item):
    worker = post.worker("-c", "1")
    with post.redis as client:
        client.rpush("mail.default", item)
    (stray,) = kept(1)
    assert (stray.message.queue, stray.message.reason, stray.message.body) == ("mail.default", "not a message", item)
    send_email.delay(Email.model_validate(MAIL)).get(timeout=20)
    assert "marker" not in post.logs()
    assert worker.stop() == 0


def test_a_message_that_celery_cannot_read_is_kept_and_not_printed(post):
    worker = post.worker("-c", "1")
    task = {"task": "mailworker.send_email", "id": "1", "root_id": "1", "eta": "marker-4711", "expires": None}
    with Celery("web", broker=app.conf.broker_url, set_as_current=False) as web, web.connection_for_write() as broker:
        producer = broker.Producer()
        producer.publish(b"marker-4711 \xff", routing_key=QUEUE, content_type="application/json")
        producer.publish(b"marker-4711", routing_key=QUEUE, content_type="application/x-python-serialize")
        producer.publish([[MAIL], {}, {}], routing_key=QUEUE, headers=task)
    assert {stray.message.reason.partition(" (")[0] for stray in kept(3)} == {
        "an unreadable message",
        "an unreadable task message",
    }
    send_email.delay(Email.model_validate(MAIL)).get(timeout=20)
    assert "marker" not in post.logs()
    assert worker.stop() == 0


def test_a_message_with_arguments_that_are_no_mail_s_says_so(post):
    post.worker("-c", "1")
    publish("mailworker.send_email", MAIL, queue=QUEUE, kwargs={"priority": 3})
    (stray,) = kept(1)
    assert "lane, idempotency_key and tenant" in stray.message.reason


def test_a_message_for_an_unknown_lane_is_a_mail_when_the_lane_is_there(post, environment):
    worker = post.worker("-c", "1")
    publish("mailworker.send_email", MAIL, queue=QUEUE, kwargs={"lane": "news", "tenant": "shop-17"})
    (stray,) = kept(1)
    assert (stray.message.queue, stray.message.task) == (QUEUE, "mailworker.send_email")
    assert "there is no lane 'news'" in stray.message.reason
    assert worker.stop() == 0
    environment.setenv("MAILWORKER_LANES__NEWS__RELAY", "default")
    app.forget_runtime()
    assert run("stray", "return", "--all") == "1 handed back\n"
    post.worker("-c", "1")
    wait_until(post.stored, "the mail")
    (key,) = post.redis.scan_iter("mw:{news}:m:*")
    assert post.redis.hget(key, "tenant") == b"shop-17"
    assert app.runtime.strays.count() == 0


@pytest.mark.parametrize(
    "arguments", [[{"from": "nobody", "to": []}], [{"from": "a@example.com", "marker-4711": 1}], [], ["marker-4711"]]
)
def test_what_can_be_no_mail_is_kept_whole_and_shown_nowhere(post, arguments):
    post.worker("-c", "1", "-E", "--loglevel=DEBUG")
    publish("mailworker.send_email", *arguments, queue=QUEUE, kwargs={"lane": "default"})
    (stray,) = kept(1)
    args, kwargs, _ = json.loads(stray.message.body)
    assert (args, kwargs) == (arguments, {"lane": "default"})
    assert "marker-4711" not in post.logs() + run("stray", "list") + repr(stray)
    assert "marker-4711" not in json.dumps(dict(stray.message.headers))
    assert run("stray", "drop", stray.id) == "1 dropped\n"
    assert listed() == []


@pytest.mark.parametrize("protocol", [1, 2])
def test_what_a_task_cannot_be_called_with_is_kept_whole_with_its_reason(post, protocol):
    worker = post.worker("-c", "1", "--loglevel=DEBUG")
    misshapen = {
        "args": ["marker-4711", {"email": "marker-4711"}, None, 5],
        "kwargs": [["marker-4711"], None, "marker-4711"],
        "embed": [["marker-4711"], "marker-4711"] if protocol == 2 else [],
        "body": ["abc", {"a": 1, "b": 2, "c": 3}, None, 7, [], [[MAIL], {}]] if protocol == 2 else [],
    }
    sent: list[object] = []
    for part, values in misshapen.items():
        for value in values:
            whole = {"args": [MAIL], "kwargs": {}, "embed": {}} | {part: value}
            triple = value if part == "body" else [whole[name] for name in ("args", "kwargs", "embed")]
            of_one = {"task": "mailworker.send_email", "id": f"{len(sent)}"} | whole
            sent.append(triple if protocol == 2 else of_one)
    with Celery("web", broker=app.conf.broker_url, set_as_current=False) as web, web.connection_for_write() as broker:
        producer = broker.Producer()
        for number, body in enumerate(sent):
            headers = {"task": "mailworker.send_email", "id": f"{number}", "argsrepr": "marker-4711"}
            named = headers if protocol == 2 else {}
            producer.publish(body, routing_key=QUEUE, serializer="json", headers=named)
    strays = kept(len(sent))
    found = [json.loads(stray.message.body) for stray in strays]
    assert sorted(found, key=json.dumps) == sorted(sent, key=json.dumps)
    assert {stray.message.reason.partition(" (")[0] for stray in strays} == {"an unreadable task message"}
    if protocol == 2:
        told = Counter(stray.message.reason.partition(" (its ")[2].partition(" ")[0] for stray in strays)
        # Of a body that is no collection Celery says so itself.
        assert told == {"args": 4, "kwargs": 3, "embed": 2, "body": 4, "": 2}
    assert f"{len(sent)} messages on our queues were not ours" in run("status")
    send_email.delay(Email.model_validate(MAIL)).get(timeout=20)
    assert "marker" not in post.logs() + run("stray", "list")
    assert worker.stop() == 0


def test_a_message_that_is_no_task_is_kept_whole(post):
    post.worker("-c", "1")
    with app.connection_for_write() as connection:
        connection.SimpleQueue("mail.default").put({"marker": 4711}, headers={"x": "y"})
    (stray,) = kept(1)
    assert (json.loads(stray.message.body), stray.message.headers["x"]) == ({"marker": 4711}, "y")
    assert stray.message.reason == "not a task message"
    assert "is for no task" in run("stray", "return", "--all", status=2)
    assert run("stray", "return", "--all", "--queue", "theirs") == "1 handed back\n"
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("theirs").get(timeout=10)
    assert (message.payload, message.headers["x"]) == ({"marker": 4711}, "y")


def test_wrong_words_are_told_and_nothing_is_handed_back(post):
    post.worker("-c", "1")
    publish("shop.charge", queue=QUEUE)
    (stray,) = kept(1)
    assert "there is no stray 0000" in run("stray", "return", stray.id, "0000", "--queue", "shop", status=2)
    assert "1 of these are no strays" in run("stray", "drop", "0000", status=1)
    for words in (("return",), ("drop",), ("return", stray.id, "--all")):
        assert "by their ids" in run("stray", *words, status=2)
    assert [one["id"] for one in listed()] == [stray.id]


def test_a_stray_waits_in_the_broker_for_a_ledger_that_is_away(post, environment, tmp_path):
    """The worker ends before the ledger is back: the broker has the message again."""
    with ValkeyServer(tmp_path / "broker") as broker:
        without_ledger(environment, broker)
        worker = post.worker("-c", "1")
        publish("shop.charge", "marker-4711", queue="mail.default")
        wait_until(lambda: "is not ours waits for the ledger" in worker.log.read_text(), "it waits")
        with broker.client() as client:
            assert client.llen("mail.default") == 0
            assert worker.stop() == 0
            assert client.llen("mail.default") == 1
        environment.setenv("MAILWORKER_REDIS__URL", post.server.url)
        app.forget_runtime()
        post.worker("-c", "1")
        kept(1)
        assert "marker" not in post.logs()


def test_remote_control_shows_nothing_of_a_message_that_is_a_mail(post, environment, tmp_path):
    """NF-SEC-01: one is being run, and waits for a ledger that is away; one waits for its time."""
    with ValkeyServer(tmp_path / "broker") as broker:
        without_ledger(environment, broker)
        post.worker("-c", "1", "--loglevel=DEBUG")
        inspect = app.control.inspect()
        publish("mailworker.send_email", MAIL | {"subject": "marker-now"}, queue=QUEUE)
        publish("mailworker.send_email", MAIL | {"subject": "marker-later"}, queue=QUEUE, countdown=3600)
        wait_until(lambda: any((inspect.scheduled() or {}).values()), "one waits for its time")
        wait_until(lambda: any((inspect.active() or {}).values()), "one is being run")
        told = [inspect.active(), inspect.scheduled(), inspect.reserved()]
        assert "marker" not in json.dumps(told) + post.logs()
        assert str(told).count("'args': '***'") >= 2


def without_ledger(environment: pytest.MonkeyPatch, broker: ValkeyServer) -> None:
    environment.setenv("MAILWORKER_BROKER__URL", f"redis+socket://{broker.socket}")
    environment.setenv("MAILWORKER_REDIS__TIMEOUT_SECONDS", "0.5")
    environment.setenv("MAILWORKER_REDIS__URL", "redis://127.0.0.1:1/0")
    app.conf.update(configuration())
    app._after_fork()
