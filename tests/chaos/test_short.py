"""The short form of `make chaos`: every kind of fault once, three runs side by side."""

import os

import pytest

from tests.chaos.faults import KINDS
from tests.chaos.preload import compiler
from tests.chaos.run import Plan, run

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

WORKERS = tuple(kind for kind in KINDS if kind.startswith(("parent-", "child-", "group-")))
SERVERS = tuple(kind for kind in KINDS if kind.startswith("redis-"))
# Without a compiler no clock can be stepped; in CI that is a failure.
IS_WHOLE = bool(compiler() or os.environ.get("CI"))
OTHERS = tuple(kind for kind in KINDS if kind not in WORKERS + SERVERS and (IS_WHOLE or kind != "clock-stepped"))


@pytest.mark.parametrize("kinds", [WORKERS, SERVERS, OTHERS], ids=["workers", "redis", "others"])
def test_faults_lose_no_mail_leave_none_open_and_every_double_was_flagged(tmp_path, kinds):
    """NF-REL-03..04."""
    outcome = run(Plan(mails=600, faults=len(kinds), seed="short", kinds=kinds, gap=0.7), tmp_path)
    assert [*outcome.report.violations, *outcome.troubles] == []
    assert outcome.report.mails >= 600
    assert {kind: row["faults"] for kind, row in outcome.report.by_kind.items()} == dict.fromkeys(kinds, 1)
