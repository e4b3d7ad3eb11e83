"""Fixtures that more than one room of tests needs."""

from collections.abc import Iterator

import pytest

from mailworker.dev.valkey import ValkeyServer


@pytest.fixture(scope="session")
def valkey(tmp_path_factory) -> Iterator[ValkeyServer]:
    """A real server, its append-only file on, for the whole session of one test process."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server
