import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from mailworker.dev.binary import OLDEST, ServerBinary, ValkeyError, claim_folder, find_binary, inspect_binary
from mailworker.dev.valkey import ValkeyServer

Alive = Callable[[int], bool]
Eventually = Callable[..., None]

NEW = ServerBinary(Path("/bin/new"), "valkey", (9, 1, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_the_embedded_server_answers_on_a_private_unix_socket_and_on_no_port(folder: Path) -> None:
    with ValkeyServer(folder) as server, server.client() as client, redis.Redis.from_url(server.url) as by_url:
        assert by_url.ping()
        settings = client.config_get("*")
        wanted = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "save": ""}
        assert wanted.items() <= settings.items()
        assert settings["maxmemory-policy"] == "noeviction"
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_second_start_on_the_same_folder_is_refused_and_names_the_process(folder: Path) -> None:
    with ValkeyServer(folder) as first, pytest.raises(ValkeyError, match=f"in use .* process {first.pid}"):
        ValkeyServer(folder).start()


def test_two_folders_hold_two_servers(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path / "a") as one, ValkeyServer(tmp_path / "b") as two:
        assert one.pid != two.pid


def test_a_clean_stop_leaves_no_process_and_all_data(folder: Path, alive: Alive) -> None:
    server = ValkeyServer(folder)
    server.start()
    pid = server.pid
    with server.client() as client:
        client.set("kept", "1")
    server.stop()
    assert not alive(pid)
    assert not (folder / "redis.sock").exists()
    with ValkeyServer(folder) as again, again.client() as client:
        assert client.get("kept") == b"1"


def test_stopping_twice_is_harmless_and_a_stopped_server_starts_again(folder: Path) -> None:
    server = ValkeyServer(folder)
    server.start()
    server.stop()
    server.stop()
    with server, server.client() as client:
        assert client.ping()


def test_a_killed_server_loses_nothing_that_was_written_and_frees_the_folder(folder: Path) -> None:
    server = ValkeyServer(folder)
    server.start()
    with server.client() as client:
        client.set("kept", "1")
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    with ValkeyServer(folder) as again, again.client() as client:
        assert client.get("kept") == b"1"


def test_the_server_ends_when_its_launcher_is_killed(folder: Path, alive: Alive, eventually: Eventually) -> None:
    script = f"""
import signal
from pathlib import Path
from mailworker.dev.valkey import ValkeyServer
server = ValkeyServer(Path({str(folder)!r}))
server.start()
print(server.pid, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as launcher:
        pid = int(launcher.stdout.readline())
        assert alive(pid)
        launcher.kill()
    eventually(lambda: not alive(pid))
    with ValkeyServer(folder) as again, again.client() as client:
        assert client.ping()


def test_a_path_too_long_for_a_socket_gets_a_short_private_folder_that_goes_with_the_server(tmp_path: Path) -> None:
    folder = tmp_path / ("very-long-name-" * 8)
    with ValkeyServer(folder) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        place = server.socket.parent
        assert place != folder
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert not place.exists()


def test_a_server_that_is_started_again_is_where_it_was(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path / ("long" * 30))
    server.start()
    url = server.url
    server.stop()
    server.start()
    assert server.url == url
    server.stop()
    assert not server.socket.parent.exists() or server.socket.parent == server.folder


def test_a_folder_name_with_blanks_quotes_and_letters_of_all_lands_works(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path / 'Ann\'s "mäil" ?#%20') as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()


def test_a_folder_written_by_a_newer_server_is_refused(folder: Path) -> None:
    folder.mkdir()
    claim_folder(folder, NEW)
    with pytest.raises(ValkeyError, match=r"written by valkey 9\.1\.2; valkey 8\.1\.8 might show it as empty"):
        claim_folder(folder, ServerBinary(Path("/bin/old"), "valkey", (8, 1, 8)))


def test_a_folder_written_by_the_other_family_is_refused(folder: Path) -> None:
    folder.mkdir()
    claim_folder(folder, NEW)
    with pytest.raises(ValkeyError, match=r"written by valkey .*; redis"):
        claim_folder(folder, ServerBinary(Path("/bin/redis"), "redis", (99, 0, 0)))


def test_a_newer_server_takes_a_folder_over_and_there_is_no_way_back(folder: Path) -> None:
    folder.mkdir()
    claim_folder(folder, ServerBinary(Path("/bin/old"), "valkey", (8, 1, 8)))
    claim_folder(folder, NEW)
    with pytest.raises(ValkeyError, match=r"9\.1\.2"):
        claim_folder(folder, ServerBinary(Path("/bin/old"), "valkey", (8, 1, 8)))


def test_another_patch_level_is_welcome(folder: Path) -> None:
    folder.mkdir()
    claim_folder(folder, NEW)
    claim_folder(folder, ServerBinary(Path("/bin/new"), "valkey", (9, 1, 0)))


@pytest.mark.parametrize("name", ["appendonly.aof", "dump.rdb", "appendonlydir"])
def test_data_of_an_unknown_server_are_not_touched(folder: Path, name: str) -> None:
    folder.mkdir()
    (folder / name).touch()
    with pytest.raises(ValkeyError, match=f"{name} of an unknown server"):
        ValkeyServer(folder).start()


def test_a_server_before_7_0_is_told_why_it_may_not_open_a_newer_layout(folder: Path) -> None:
    (folder / "appendonlydir").mkdir(parents=True)
    with pytest.raises(ValkeyError, match=r"from 7\.0 on"):
        claim_folder(folder, ServerBinary(Path("/bin/redis"), "redis", (6, 2, 14)))


@pytest.mark.parametrize("stamp", ["", "{", "[]", '{"family": 1}', '{"family": "valkey", "version": "x"}'])
def test_a_stamp_that_cannot_be_read_is_refused(folder: Path, stamp: str) -> None:
    folder.mkdir()
    (folder / "SERVER.json").write_text(stamp)
    with pytest.raises(ValkeyError, match="cannot be read"):
        claim_folder(folder, NEW)


def test_the_stamp_tells_family_and_version(folder: Path) -> None:
    with ValkeyServer(folder) as server:
        stamp = json.loads((folder / "SERVER.json").read_text())
        assert stamp == {"family": server.binary.family, "version": list(server.binary.version)}


def test_the_server_of_the_wheel_is_found_before_any_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "valkey-server"
    other.write_text("#!/bin/sh\necho Valkey server v=6.2.0 sha=0\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find_binary().path != other
    assert find_binary(other).version == (*OLDEST, 0)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("echo Redis server v=6.0.16 sha=0", "Redis 6.2 or any Valkey is needed"),
        ("echo GNU bash", "neither valkey-server nor redis-server"),
        ("exit 3", "does not run"),
    ],
)
def test_a_program_that_cannot_serve_is_refused_with_the_reason(tmp_path: Path, told: str, reason: str) -> None:
    program = tmp_path / "server"
    program.write_text(f"#!/bin/sh\n{told}\n")
    program.chmod(0o755)
    with pytest.raises(ValkeyError, match=reason):
        inspect_binary(program)


def test_a_server_that_cannot_start_is_an_error_with_its_own_last_words(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text(
        '#!/bin/sh\ncase "$1" in --version) echo Valkey server v=9.9.9;; *) echo oh dear; exit 7;; esac\n'
    )
    program.chmod(0o755)
    with pytest.raises(ValkeyError, match=r"(?s)exit status 7.*oh dear"):
        ValkeyServer(folder, binary=program).start()
