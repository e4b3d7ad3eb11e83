"""docs/testing.md says what is so: its examples are run as they stand, with the plugin and nothing else."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import smtp_transport
import smtp_transport.testing
from smtp_transport import Credentials, SmtpClient, SmtpConfig, SmtpError, TlsConfig
from smtp_transport.testing.plan import OCCASIONS
from tests.architecture.test_docs import blocks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
PLUGIN = "smtp_transport.testing.pytest_plugin"


def run_pytest(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", "--rootdir", folder, *arguments],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )


def test_the_examples_are_tests_that_pass(tmp_path):
    examples = blocks(PAGE, "python")
    assert len(examples) == 7
    for number, example in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(example)
    ran = run_pytest(tmp_path, "-W", "error")
    assert ran.returncode == 0, ran.stdout
    assert "8 passed" in ran.stdout


def test_every_name_of_the_page_is_there():
    named = set(re.findall(r"\b([A-Z][a-z]+[A-Za-z]*)\(", PAGE)) - set(re.findall(r"^class (\w+)", PAGE, re.MULTILINE))
    homes = (smtp_transport, smtp_transport.testing)
    assert [name for name in named if not any(hasattr(home, name) for home in homes) and name != "SMTP"] == []
    assert all(f"`{occasion}`" in PAGE for occasion in OCCASIONS)


def test_every_name_of_the_kit_is_on_the_page():
    assert [name for name in smtp_transport.testing.__all__ if not re.search(rf"\b{name}\b", PAGE)] == []


def test_the_kit_names_what_it_has():
    assert smtp_transport.testing.__all__ == sorted(set(smtp_transport.testing.__all__))
    assert set(smtp_transport.testing._HOME) == set(smtp_transport.testing.__all__) == set(dir(smtp_transport.testing))
    for name in smtp_transport.testing.__all__:
        assert getattr(smtp_transport.testing, name).__name__ == name
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = smtp_transport.testing.Nonsense


def test_pytest_finds_the_plugin_by_its_module_s_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"][PLUGIN] == PLUGIN


def test_the_plugin_loads_nothing_that_no_test_asks_for(tmp_path):
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\n\ndef test_nothing():\n"
        "    loaded = {name for name in sys.modules if name.startswith('smtp_transport')}\n"
        f"    assert loaded == {{'smtp_transport', 'smtp_transport.testing', '{PLUGIN}'}}\n"
        "    assert not {'pydantic', 'idna', 'cryptography'} & sys.modules.keys()\n"
    )
    ran = run_pytest(tmp_path)
    assert ran.returncode == 0, ran.stdout


def test_planned_faults_may_come_under_tls(smtp_faults, issued, ca_file):
    plan = smtp_transport.testing.FaultPlan().at("AUTH", 1, "454 4.7.0 not now")
    server = smtp_faults(plan, "STARTTLS", tls=issued("localhost"), after_tls=("AUTH PLAIN",), logins={"me": "secret"})
    config = SmtpConfig(
        host="localhost",
        port=server.port,
        credentials=Credentials.password("me", "secret"),
        tls_config=TlsConfig(ca_certs=ca_file),
    )
    with SmtpClient(config) as client:
        with pytest.raises(SmtpError) as refused:
            client.test_connection()
        assert refused.value.code == 454
        assert client.test_connection().authenticated_as == "me"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def test(smtp_mock):\n    smtp_mock.expect_send()\n", "expected 1, 0 came"),
        (
            "import smtp_transport.testing as t\ndef test(smtp_faults): smtp_faults(t.FaultPlan().at('DOT', 3, ''))",
            "never came: DOT 3",
        ),
    ],
)
def test_what_was_expected_and_never_came_fails_the_test(tmp_path, body, told):
    (tmp_path / "test_it.py").write_text(body)
    ran = run_pytest(tmp_path)
    assert ran.returncode == 1
    assert told in ran.stdout
