"""The short form of `make fuzz`: the seeds, and inputs near them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

SEEDS = Path(__file__).parent / "seeds"
FILES = sorted(SEEDS.glob("*/*"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_mattered_keeps_its_promise(path: Path) -> None:
    """NF-SEC-04."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_no_octets_break_a_promise(name: str) -> None:
    """NF-SEC-04."""
    seeds = [path.read_bytes() for path in FILES if path.parent.name == name]
    near = st.builds(
        lambda seed, start, end, put: seed[:start] + put + seed[end:],
        st.sampled_from(seeds),
        st.integers(0, 60),
        st.integers(0, 60),
        st.binary(max_size=8) | st.sampled_from([b"\r\n", b"\n.\r\n", b"=?", b'"', "ü".encode(), b"\x1e"]),
    )
    given(near | st.binary(max_size=120))(TARGETS[name])()
