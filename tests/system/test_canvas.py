"""Mails as members of Celery's canvas: callbacks come when the mail has ended, from any worker, after any crash."""

import json
import sys

import pytest
from celery import chain, chord, group

from mailworker import Email, RefusedError, app, send_email
from mailworker.record import Claiming, Settlement
from tests.system.conftest import Worker, wait_until

pytestmark = pytest.mark.system


def email(to="ann@example.org", subject="Your order") -> Email:
    return Email(from_="shop@example.com", to=to, subject=subject, text_body="marker-body")


@pytest.fixture
def shop(post, environment):
    """The app as this process, a web process, has it."""
    environment.setenv("SHOP_URL", post.server.url)
    for name in [name for name in sys.modules if name == "tests.system.shop"]:
        del sys.modules[name]
    from tests.system import shop  # noqa: PLC0415 - it reads its URL when it is imported

    yield shop
    shop.app.close()


def diary(post) -> list[list]:
    with post.redis as client:
        return [json.loads(line) for line in client.lrange("shop:diary", 0, -1)]


def shop_worker(post) -> Worker:
    """A worker of the other app."""
    worker = Worker(post.folder / "shop.log", "-c", "1", "-n", "shop@%h", "-Q", "shop", app="tests.system.shop")
    post.workers.append(worker)
    wait_until(worker.is_ready, "the shop's worker is ready")
    return worker


def test_link_is_called_with_the_report_and_link_error_with_the_id(post, shop):
    shop_worker(post)
    post.worker("-c", "1")
    options = {"link": shop.delivered.s("order-1"), "link_error": shop.failed.s("order-1")}
    good = send_email.apply_async((email(),), **options)
    bad = send_email.apply_async((email(to="refuse@example.org"),), **options)
    wait_until(lambda: len(diary(post)) == 2, "both are told")
    assert sorted(diary(post)) == [["delivered", good.id, "sent", "order-1"], ["failed", bad.id, "order-1"]]
    with post.redis as client:
        wait_until(lambda: client.zcard("mw:{default}:untold") == 0, "nothing is untold")


def test_a_mail_that_is_cancelled_or_expires_is_told_by_the_watch(post, shop):
    shop_worker(post)
    cancelled = send_email.apply_async((email(),), countdown=3600, link_error=shop.failed.s("a"))
    expired = send_email.apply_async((email(),), countdown=0.1, expires=0.2, link_error=shop.failed.s("b"))
    cancelled.revoke()
    post.worker("-c", "1")
    wait_until(lambda: len(diary(post)) == 2, "both are told")
    assert sorted(diary(post)) == sorted([["failed", cancelled.id, "a"], ["failed", expired.id, "b"]])


def test_an_end_that_a_killed_worker_left_untold_is_told_by_another(post, shop):
    """The worker dies between settle and publish: as if it had settled and done nothing more."""
    result = send_email.apply_async((email(),), link=shop.delivered.s("order-1"))
    ledger = app.runtime.ledger
    (claim,) = ledger.claim("default", Claiming(1, 1 << 24, 60_000, 9), answering=True).mails
    ledger.settle("default", [Settlement(claim, "d")])
    shop_worker(post)
    post.worker("-c", "1")
    wait_until(lambda: diary(post), "the end is told")
    assert diary(post) == [["delivered", result.id, "sent", "order-1"]]


def test_every_end_is_told_when_workers_are_killed_between(post, shop):
    shop_worker(post)
    post.worker("-c", "2")
    results = send_email.many([email(subject=f"Number {n}") for n in range(60)], link=shop.delivered.s("x"))
    for told in (5, 30):
        wait_until(lambda told=told: len(diary(post)) > told, "some are told", seconds=80)
        post.workers[-1].kill_group()
        post.worker("-c", "2")
    wait_until(lambda: {line[1] for line in diary(post)} == {r.id for r in results}, "all are told", seconds=80)


def test_a_callback_told_twice_bears_the_same_task_id(post, shop):
    shop_worker(post)
    result = send_email.apply_async((email(),), link=shop.noted.si("hello"))
    ledger = app.runtime.ledger
    (claim,) = ledger.claim("default", Claiming(1, 1 << 24, 60_000, 9), answering=True).mails
    ledger.settle("default", [Settlement(claim, "d")])
    with post.redis as client:
        kept = client.hget(f"mw:{{default}}:m:{result.id}", "callbacks")
        post.worker("-c", "1")
        wait_until(lambda: len(diary(post)) == 1, "it is told")
        client.hset(f"mw:{{default}}:m:{result.id}", "callbacks", kept)
        client.zadd("mw:{default}:untold", {result.id: 0})
    wait_until(lambda: len(diary(post)) == 2, "it is told again")
    assert diary(post)[0] == diary(post)[1]


def test_a_chain_goes_on_when_the_mail_was_delivered_and_not_before(post, shop):
    shop_worker(post)
    first = chain(send_email.s(email()), shop.delivered.s("order-1"), shop.noted.s("done"))()
    assert first.parent.parent.id.startswith("default-")
    post.worker("-c", "1")
    wait_until(lambda: len(diary(post)) == 2, "the chain is done")
    assert [line[:3] for line in diary(post)] == [
        ["delivered", first.parent.parent.id, "sent"],
        ["noted", "order-1", "done"],
    ]
    assert first.get(timeout=20) == ["order-1", "done"]


def test_a_chain_of_mails_sends_the_second_when_the_first_was_delivered(post, shop):
    last = chain(send_email.s(email(subject="first")), send_email.s(email(subject="second")))()
    assert [last.report(), last.parent.report().state] == [None, "ready"]
    post.worker("-c", "1")
    last.parent.get(timeout=20)
    wait_until(last.report, "the second is accepted")
    assert last.get(timeout=20)["state"] == "sent"
    assert [b"first" in mail.content for mail in post.stored()] == [True, False]


def test_a_chain_ends_with_a_mail_that_fails_and_its_errback_is_called(post, shop):
    shop_worker(post)
    steps = chain(send_email.s(email(to="refuse@example.org")).on_error(shop.failed.s("a")), shop.delivered.s("never"))
    steps.on_error(shop.failed.s("b"))
    result = steps()
    post.worker("-c", "1")
    wait_until(lambda: len(diary(post)) == 2, "the errbacks are called")
    assert sorted(diary(post)) == [["failed", result.parent.id, "a"], ["failed", result.parent.id, "b"]]


def test_a_group_of_mails_starts_at_once_and_a_group_may_follow_a_mail(post, shop):
    shop_worker(post)
    post.worker("-c", "1")
    mails = group(send_email.s(email(subject=f"Number {n}")) for n in range(5))()
    assert [report["state"] for report in mails.get(timeout=30)] == ["sent"] * 5
    chain(send_email.s(email()), group(shop.delivered.s("a"), shop.delivered.s("b")))()
    wait_until(lambda: len(diary(post)) == 2, "both are called")
    assert sorted(line[3] for line in diary(post)) == ["a", "b"]


@pytest.mark.parametrize("form", ["chord", "chain"])
def test_a_chord_of_mails_calls_its_body_once_with_all_reports_in_order(post, shop, form):
    shop_worker(post)
    header = group(send_email.s(email(subject=f"Number {n}")) for n in range(7))
    result = chord(header)(shop.summed.s()) if form == "chord" else chain(header, shop.summed.s())()
    post.worker("-c", "2")
    wait_until(lambda: diary(post), "the body is called")
    assert diary(post) == [["summed", [mail.id for mail in result.parent.results]]]
    assert result.get(timeout=20) == 7


def test_a_chord_with_a_mail_that_fails_calls_the_errback_of_its_body(post, shop):
    shop_worker(post)
    post.worker("-c", "1")
    body = shop.summed.s().on_error(shop.failed.s("sorry"))
    result = chord([send_email.s(email()), send_email.s(email(to="refuse@example.org"))])(body)
    wait_until(lambda: diary(post), "the errback is called")
    assert diary(post) == [["failed", result.id, "sorry"]]


def test_what_could_not_be_kept_is_refused_where_it_is_said(post, shop, environment):
    mail = send_email.s(email())
    with pytest.raises(RefusedError, match="mails only in its header"):
        chord([mail, shop.noted.s()])(shop.summed.s())
    with pytest.raises(RefusedError, match="mails only in its header"):
        chord([shop.noted.s(), send_email.s(email())])(shop.summed.s())
    with pytest.raises(RefusedError, match="chord cannot follow"):
        chain(send_email.s(email()), group(shop.noted.s(), shop.noted.s()), shop.summed.s())()
    with pytest.raises(RefusedError, match="brings its own email"):
        chain(send_email.s(email()), send_email.s())()
    with pytest.raises(RefusedError, match="must be signatures"):
        send_email.apply_async((email(),), link="shop.noted")
    with pytest.raises(RefusedError, match="would travel"):
        chain(send_email.s(email()), shop.noted.s(), send_email.s(email()))()
    with pytest.raises(Exception, match="would travel"):
        chain(shop.noted.s(), send_email.s(email()))()
    with pytest.raises(RefusedError, match="FOREIGN_QUEUE"):
        send_email.apply_async((email(),), link=shop.noted.s().set(queue="mailworker"))


def test_what_a_signature_holds_is_never_shown(post, shop):
    """NF-SEC-01."""
    steps = chain(send_email.s(email(subject="marker-subject", to="marker@example.org")), shop.noted.s())
    assert "marker" not in repr(steps)
    with pytest.raises(Exception, match="would travel") as caught:
        chain(shop.noted.s(), steps.tasks[0])()
    assert "marker" not in str(caught.value)


def test_callbacks_are_sealed_as_mails_are(post, shop, environment):
    environment.setenv("MAILWORKER_SEALING__KEYS", "k1:" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")
    app.forget_runtime()
    result = send_email.apply_async((email(),), link=shop.noted.s("marker-4711"))
    with post.redis as client:
        assert b"marker" not in b"".join(client.hgetall(f"mw:{{default}}:m:{result.id}").values())
    shop_worker(post)
    post.worker("-c", "1")
    wait_until(lambda: diary(post), "it is told")
    assert diary(post)[0][2] == "marker-4711"


def test_callbacks_of_a_foreign_message_wait_for_the_end_of_its_mail(post, shop):
    shop_worker(post)
    data = {"from": "shop@example.com", "to": ["later@example.org"], "subject": "Hello", "text_body": "Hi."}
    link = shop.noted.s("foreign").set(queue="shop")
    shop.app.send_task("mailworker.send_email", [data], link=[link], queue="mailworker")
    post.worker("-c", "1")
    wait_until(lambda: diary(post), "it is told")
    (line,) = diary(post)
    assert (line[1]["state"], line[1]["attempts"], line[2]) == ("sent", 2, "foreign")
