import pytest

from tests.resilience.clocks import Clock


@pytest.fixture
def clock():
    return Clock()
