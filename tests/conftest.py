"""Fixtures that more than one room of tests needs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from mailworker.dev.valkey import ValkeyServer


def pytest_xdist_auto_num_workers() -> int:
    """Run one more process than there are cores, up to `--maxprocesses`: much of the time is waiting for servers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


@pytest.fixture(scope="session")
def valkey(tmp_path_factory) -> Iterator[ValkeyServer]:
    """A real server, its append-only file on, for the whole session of one test process."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """Whom clients of a test trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca, tmp_path_factory) -> Path:
    """Its certificate, as `ca_certs` names one."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path
