"""The fixture `mail_outbox`, found by pytest in every installation; it loads nothing until a test asks for it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mailworker.testing import Outbox


@pytest.fixture
def mail_outbox() -> "Iterator[Outbox]":
    """Give an outbox that takes every mail of the test: no Redis is asked, nothing is sent."""
    from mailworker.testing import outbox  # noqa: PLC0415 - pytest must start quickly

    with outbox() as box:
        yield box
