"""smtp_transport is installed alone, as a distribution of its own, with what that asks for and nothing else."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "smtp_transport"
PLUGIN = "smtp_transport.testing.pytest_plugin"

USE = """
import importlib, importlib.util, json, pkgutil
import smtp_transport
read = [found.name for found in pkgutil.walk_packages(smtp_transport.__path__, "smtp_transport.")]
for name in read:
    if name != "smtp_transport.testing.pytest_plugin":  # pytest loads it, and brings itself
        importlib.import_module(name)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from smtp_transport import DkimSigner, Email, SmtpClient, SmtpConfig
from smtp_transport.testing import FaultServer, behaved
email = Email(from_="me@example.com", to="you@bücher.example", subject="Grüße", text_body="Hi!")
signer = DkimSigner("example.com", "2026a", Ed25519PrivateKey.generate())
with FaultServer(behaved("PIPELINING", "8BITMIME")) as server:
    with SmtpClient(SmtpConfig(host=server.host, port=server.port, tls="none"), signer=signer) as client:
        sent = client.send(email)
    content = server.conversations[0].contents[0].decode()
others = [name for name in ("celery", "kombu", "redis", "mailworker", "pytest") if importlib.util.find_spec(name)]
print(json.dumps([smtp_transport.__file__, sent.accepted, content, read, others]))
"""


def build(folder: Path, target: str, into: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (built,) = into.iterdir()
    return built


def project_of(folder: Path) -> dict[str, Any]:
    return dict(tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def needed(requirements: list[str]) -> set[str]:
    """All that these requirements bring, by name: what is installed here says what it wants in turn."""
    names: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        asked = waiting.pop()
        applies = asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras))
        if applies and canonicalize_name(asked.name) not in names:
            names.add(canonicalize_name(asked.name))
            waiting += map(Requirement, importlib.metadata.requires(asked.name) or ())
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source archive, as those do who pack it for a system."""
    folder = tmp_path_factory.mktemp("alone")
    archive = build(SOURCE, "sdist", folder / "sdist")
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    return build(folder / archive.name.removesuffix(".tar.gz"), "wheel", folder / "wheel")


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment of the wheel and what it asks for, copied from here: no index is asked. Gives its Python."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (packages,) = (folder / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (own,) = importlib.metadata.distributions(name="smtp-transport", path=[str(packages)])
    for name in needed(own.requires or []):
        for file in importlib.metadata.files(name) or ():
            if file.parts[0] != "..":  # a command that it brings
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), packages / file)
    return python


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tree = {path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    own = {SOURCE / name for name in ("LICENSE", "README.md", "pyproject.toml")}
    assert inside == {str(path.relative_to(ROOT)) for path in tree - own}
    assert "smtp_transport/py.typed" in inside


def test_what_it_asks_for_is_all_that_it_needs(bare: Path) -> None:
    check = [Path(sys.executable).with_name("uv"), "pip", "check", "--no-cache", "--offline", "--python", bare]
    checked = subprocess.run(check, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_it_sends_and_signs_without_celery_redis_or_mailworker(bare: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [bare, "-W", "error", "-c", USE],
        cwd=tmp_path,
        env={"PATH": os.defpath},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    file, accepted, content, read, others = json.loads(ran.stdout)
    assert file.startswith(str(bare.parents[1]))
    assert accepted == ["you@xn--bcher-kva.example"]
    assert content.startswith("DKIM-Signature: ")
    assert len(read) > 100
    assert others == []


def test_both_wheels_hold_the_same_client(wheel: Path, tmp_path: Path) -> None:
    """Whichever pip installs last, what is imported is the same."""
    held = []
    for built in (wheel, build(ROOT, "wheel", tmp_path)):
        with zipfile.ZipFile(built) as archive:
            client = [name for name in archive.namelist() if name.startswith("smtp_transport/")]
            held.append({name: archive.read(name) for name in client})
    assert held[0] == held[1]


def test_both_distributions_say_the_same() -> None:
    alone, whole = project_of(SOURCE), project_of(ROOT)
    for field in ("version", "requires-python", "license"):
        assert alone[field] == whole[field]
    assert set(alone["dependencies"]) <= set(whole["dependencies"])
    assert alone["optional-dependencies"]["dkim"] == whole["optional-dependencies"]["dkim"]
    plugins = whole["entry-points"]["pytest11"]
    assert alone["entry-points"] == {"pytest11": {PLUGIN: plugins[PLUGIN]}}
    assert (SOURCE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_its_own_page_shows_what_the_page_of_the_client_shows() -> None:
    page = (SOURCE / "README.md").read_text(encoding="utf-8")
    full = (ROOT / "docs" / "transport.md").read_text(encoding="utf-8")
    shown = page.split("```python\n")[1].split("```")[0]
    assert f"```python\n{shown}```" in full
    for line in page.splitlines():
        assert not line.startswith("    pip install") or line.split("  ")[2] in full
