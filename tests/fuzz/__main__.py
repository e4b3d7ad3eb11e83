"""Fuzz one target for a while: `python -m tests.fuzz headers --seconds 600`.

With atheris the search follows the code that is reached; without it hypothesis makes inputs until the time is over.
What breaks a promise is written down by either, and belongs into `seeds/` once it is understood.
"""

import argparse
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

SEEDS = Path(__file__).parent / "seeds"


def with_atheris(name: str, seconds: int, corpus: Path) -> None:
    import atheris  # noqa: PLC0415 - only some machines have it

    with atheris.instrument_imports(include=["smtp_transport"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented while it is imported
    corpus.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", "-max_len=4096", f"-artifact_prefix={corpus}-"]
    arguments = [sys.argv[0], *limits, str(corpus), str(SEEDS / name)]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


def with_hypothesis(name: str, seconds: int) -> None:
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - see with_atheris

    until = time.monotonic() + seconds
    seeds = [path.read_bytes() for path in sorted((SEEDS / name).iterdir())]
    pieces = st.lists(st.sampled_from(seeds) | st.binary(max_size=40)).map(b"".join)
    calm = settings(max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    search = settings(calm, phases=[Phase.generate, Phase.shrink])(given(pieces)(TARGETS[name]))
    while time.monotonic() < until:
        search()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=sorted(path.name for path in SEEDS.iterdir()))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"))
    options = parser.parse_args()
    try:
        import atheris  # noqa: F401, PLC0415 - only some machines have it
    except ImportError:
        with_hypothesis(options.target, options.seconds)
    else:
        with_atheris(options.target, options.seconds, options.corpus / options.target)


if __name__ == "__main__":
    main()
