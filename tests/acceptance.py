"""Write docs/acceptance.md: which tests prove which promise of the specification.

A test says in its docstring what it proves: `F-MIME-05`, or `F-MIME-01..05` for all from one to the other. Run
`python -m tests.acceptance` (`make docs-table`) to write the page anew.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "acceptance.md"
PROVEN = ("F-CONN", "F-TLS", "F-AUTH", "F-SEND", "F-MIME", "NF-SEC")
"""Groups of which every promise must have a test."""

PROMISES: Mapping[str, str] = MappingProxyType(
    {
        "F-CONN-01": "Connects on port 25, 587 or 465",
        "F-CONN-02": "Says EHLO and reads the capabilities",
        "F-CONN-03": "Says HELO where EHLO is not known",
        "F-CONN-04": "Keeps connections in a pool of a chosen size",
        "F-CONN-05": "Checks that a kept connection is alive",
        "F-CONN-06": "Says QUIT before it closes",
        "F-TLS-01": "Upgrades by STARTTLS",
        "F-TLS-02": "Speaks TLS from the first byte",
        "F-TLS-03": "Checks certificates",
        "F-TLS-04": "Takes TLS 1.2 or newer",
        "F-TLS-05": "Trusts authorities of one's own",
        "F-AUTH-01": "AUTH PLAIN",
        "F-AUTH-02": "AUTH LOGIN",
        "F-AUTH-03": "AUTH CRAM-MD5",
        "F-AUTH-04": "AUTH XOAUTH2",
        "F-AUTH-05": "AUTH OAUTHBEARER",
        "F-AUTH-06": "Chooses the best mechanism by itself",
        "F-SEND-01": "Sends plain text",
        "F-SEND-02": "Sends HTML",
        "F-SEND-03": "Sends text and HTML as alternatives",
        "F-SEND-04": "Sends attachments",
        "F-SEND-05": "Sends inline images",
        "F-SEND-06": "Sends to several recipients",
        "F-SEND-07": "Lives with the refusal of some recipients",
        "F-SEND-08": "Sends a batch and gathers its errors",
        "F-MIME-01": "Writes headers as RFC 5322 wants them",
        "F-MIME-02": "Attachments in base64",
        "F-MIME-03": "Text in quoted-printable",
        "F-MIME-04": "Boundaries that no part contains",
        "F-MIME-05": "Headers beyond ASCII (RFC 2047)",
        "F-MIME-06": "Makes a Message-ID",
        "NF-PERF-01": "A cold connection is ready within 2 s (p99)",
        "NF-PERF-02": "A pooled connection is ready within 50 ms (p99)",
        "NF-PERF-03": "50 mails a second over 5 connections",
        "NF-PERF-04": "Carries attachments of 25 MB",
        "NF-REL-01": "Tries again what failed for a time",
        "NF-REL-02": "A circuit breaker spares a server that is down",
        "NF-REL-03": "Lives with connections that drop",
        "NF-REL-04": "Loses no mail when the network fails",
        "NF-SEC-01": "Logs no credentials",
        "NF-SEC-02": "Insists on TLS 1.2 or newer",
        "NF-SEC-03": "Checks certificates unless told otherwise",
        "NF-SEC-04": "Lets no header or command be injected",
        "NF-OBS-01": "Spans for distributed tracing",
        "NF-OBS-02": "Every metric is exported",
        "NF-OBS-03": "Structured logs",
        "NF-OBS-04": "Classifies errors",
    }
)
MEASURED = frozenset({"NF-PERF-01", "NF-PERF-02", "NF-PERF-03"})
"""Promises about speed: a test that watches the clock fails on a busy machine, so the benchmark reports them."""

_ID = re.compile(r"\b(N?F-[A-Z]+-)(\d\d)(?:\.\.(\d\d))?\b")


@dataclass(frozen=True, order=True)
class Proof:
    """A test, and where it stands."""

    path: str
    name: str


def named(text: str) -> Iterator[str]:
    """Give every id in a text, with those that a range stands for."""
    for group, first, last in _ID.findall(text):
        for number in range(int(first), int(last or first) + 1):
            yield f"{group}{number:02}"


def proofs_in(source: str, path: str) -> Iterator[tuple[str, Proof]]:
    """Give each id that a test of this source names, with the test."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for promise in named(ast.get_docstring(node) or ""):
                yield promise, Proof(path, node.name)


def proofs() -> Mapping[str, list[Proof]]:
    """Read all tests."""
    found: dict[str, set[Proof]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for promise, proof in proofs_in(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()):
            found[promise].add(proof)
    return {promise: sorted(tests) for promise, tests in sorted(found.items())}


def page() -> str:
    """Write the page."""
    found = proofs()
    lines = [
        "# Acceptance",
        "",
        "Which tests prove which promise. Generated from their docstrings by `make docs-table`; do not edit.",
        "",
        "| id | promise | proven by |",
        "|---|---|---|",
    ]
    for promise, telling in PROMISES.items():
        cells = [f"[{proof.name[5:].replace('_', ' ')}](../{proof.path})" for proof in found.get(promise, [])]
        if promise in MEASURED:
            cells.append("measured: [performance](performance.md)")
        lines.append(f"| {promise} | {telling} | {'<br>'.join(cells) or 'nothing yet'} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
