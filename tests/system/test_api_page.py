"""docs/api.md says what is so: its examples run, in their order, with a worker."""

import sys
from pathlib import Path

import pytest

from mailworker import app
from mailworker.signals import mail_accepted, mail_bounced
from tests.architecture.test_docs import blocks
from tests.system.conftest import wait_until

pytestmark = pytest.mark.system
PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def test_the_examples_run(post, environment, capsys):
    environment.setenv("SHOP_URL", post.server.url)
    sys.modules.pop("tests.system.shop", None)
    from tests.system import shop  # noqa: PLC0415 - it reads its URL when it is imported

    post.worker("-c", "2")
    *examples, test = blocks(PAGE, "python")
    given = {"__name__": "example", "mark_sent": shop.delivered, "mark_failed": shop.failed, "summary": shop.summed}
    try:
        for number, example in enumerate(examples):
            exec(compile(example, f"example {number}", "exec"), given)  # noqa: S102 - our own page
    finally:
        for signal, name in ((mail_bounced, "note"), (mail_accepted, "count")):
            signal.disconnect(given.get(name), sender="bulk" if name == "count" else None)
        shop.app.close()
    out = capsys.readouterr().out
    assert "300 300" in out
    assert "SUCCESS 250" in out
    assert given["tomorrow"].state == "REVOKED"
    with post.redis as client:
        wait_until(lambda: client.llen("shop") == 3, "the callbacks are published")
    app.forget_runtime()
    exec(compile(test, "test example", "exec"), given)  # noqa: S102 - our own page
    from mailworker.testing import outbox  # noqa: PLC0415 - as the page says

    with outbox() as box:
        given["test_an_order_is_confirmed"](box)
