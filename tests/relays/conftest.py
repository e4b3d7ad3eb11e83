"""A ledger of its own, a certificate authority, and the command line in this process."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailworker.celery import app
from mailworker.cli import main
from tests.wire.conftest import issued  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def rung(valkey, monkeypatch) -> list[str]:
    """The lanes whose bells were rung, in an empty ledger."""
    for name in [name for name in os.environ if name.startswith("MAILWORKER_")]:
        monkeypatch.delenv(name)
    lanes: list[str] = []
    monkeypatch.setenv("MAILWORKER_REDIS__URL", valkey.url)
    monkeypatch.setattr(app, "ring", lambda lane: lanes.append(lane) or True)
    with valkey.client() as client:
        client.flushall()
    app.forget_runtime()
    yield lanes
    app.forget_runtime()


@pytest.fixture
def configure(monkeypatch) -> Callable[..., None]:
    def names(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"MAILWORKER_{name}", value)
        app.forget_runtime()

    return names


def _invoked(words: tuple[str, ...], status: int) -> Result:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == status, result.output
    return result


def run(*words: str, status: int = 0) -> str:
    return _invoked(words, status).output


def told(*words: str, status: int = 0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_invoked((*words, "--json"), status).stdout)
    return answer
