import json
import shutil
import subprocess
import sys

import pytest

from bench.report import Section, table


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
