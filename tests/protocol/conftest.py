"""Fixtures for conversations without a socket."""

from collections.abc import Callable, Iterator

import pytest

from tests.protocol.script import Played, Step, make_config


@pytest.fixture
def play() -> Iterator[Callable[..., Played]]:
    """Greet, say EHLO, and go on with these steps; at the end each script must have been played as it was written."""
    played: list[Played] = []

    def start(
        *steps: Step, offers: tuple[str, ...] = (), cut: int = 65_536, knows_chunks: bool = False, **fields: object
    ) -> Played:
        played.append(Played(offers, steps, make_config(**fields), cut))
        played[-1].connection.footing.knows_chunks = played[-1].connection._talk.takes_chunks = knows_chunks
        return played[-1]

    yield start
    for one in played:
        assert one.stream.done, f"not played: {one.stream._steps}, not expected: {one.stream._unmatched!r}"
