import json
import shutil
import subprocess
import sys

import pytest

from bench import depth, queue
from bench.native import built
from bench.report import Section, table
from bench.sink import Sink
from bench.stand import ours


def bench(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "bench", "transport", *arguments], capture_output=True, text=True, check=False, **options
    )


def test_everything_is_measured_beside_the_standard_library(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    file = tmp_path / "figures.json"
    ran = bench("--quick", "--json", str(file))
    assert ran.returncode == 0, ran.stderr
    told = json.loads(file.read_text())
    near, far = told["sections"]["One connection"]["rows"], told["sections"]["100 ms away"]["rows"]
    assert near["smtplib"]["x smtplib"] == 1
    assert {"ours, lockstep", "ours, pipelined", "C, chunked"} <= near.keys()
    assert all(figure > 0 for figures in near.values() for figure in figures.values())
    assert {"smtplib", "ours, pipelined"} <= far.keys()
    assert "Reconnecting under TLS" in told["sections"]
    assert all(f"## {name}\n" in ran.stdout for name in told["sections"])


@pytest.mark.timeout(120)
def test_a_backlog_and_a_trickle_are_measured_to_the_last_mail(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    with built() as native, native.sink() as port, ours(1)(port, tmp_path) as running:
        sink = Sink(port, native.folder)
        backlog, trickle = queue.delivered(running, sink, 60), queue.offered(running, sink, 1)
        assert sink.counts().mails == 100
    assert backlog["mails/s"] > 0
    assert backlog["CPU s/1000"] > 0
    assert 0 < trickle["p50 ms"] <= trickle["p99 ms"]


def test_what_a_mail_costs_is_measured_at_two_depths():
    rows = depth.by_depth(60, 120).rows
    assert list(rows) == ["60 in line", "120 in line"]
    assert rows["60 in line"]["of that with few"] == 1
    assert all(row["CPU us/mail"] > 0 for row in rows.values())


def test_without_a_compiler_it_says_what_is_missing():
    ran = bench(env={"PATH": "", "CC": "no-such-compiler"})
    assert ran.returncode == 2
    assert ran.stderr == ("a C compiler is needed (cc, or what CC names); on Debian: apt install gcc libc6-dev\n")


def test_a_table_puts_figures_under_their_names():
    rows = {"one": {"a": 1.0, "b": 12_345.6}, "another": {"b": "?"}}
    assert table(Section("Name", "Told.", rows)).splitlines()[4:] == [
        "|         |   a |      b |",
        "| :------ | --: | -----: |",
        "| one     |   1 | 12,346 |",
        "| another |   - |      ? |",
    ]
