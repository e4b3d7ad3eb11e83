"""The server's file, after there was no room for it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from mailworker.ledger.upkeep import Upkeep
from tests.chaos.installation import RedisServer, wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def rewrite(server: RedisServer, client: Redis) -> None:
    """As a server does by itself when its file has grown."""
    file = server.aof
    client.bgrewriteaof()
    wait_until(lambda: server.aof != file and not client.info("persistence")["aof_rewrite_in_progress"], "a new file")


def fill_disk(server: RedisServer, client: Redis) -> None:
    """No room in the middle of a command, then room again."""
    server.limit_files(server.aof.stat().st_size + 20)
    wait_until(lambda: not writes(client), "the server refuses")
    server.limit_files(-1)
    wait_until(lambda: writes(client), "the server has found the room")


def writes(client: Redis) -> bool:
    with contextlib.suppress(ResponseError):
        return bool(client.set("many", "x" * 100))
    return False


def test_a_file_that_had_no_room_is_written_anew_once_and_can_be_read(server: RedisServer) -> None:
    with server.client() as client:
        rewrite(server, client)
        client.set("before", "1")
        fill_disk(server, client)
        client.set("after", "1")
        file, upkeep = server.aof, Upkeep(client, "mw")
        assert upkeep.rewrite()
        wait_until(lambda: server.aof != file and not client.info("persistence")["aof_rewrite_in_progress"], "done")
        assert not upkeep.rewrite()
        server.kill()
        # Without the rewrite this would be the end: "Bad file format reading the append only file".
        server.start()
        assert client.mget("before", "after") == [b"1", b"1"]


def test_a_second_shortage_is_noticed_too(server: RedisServer) -> None:
    with server.client() as client:
        for _ in range(2):
            fill_disk(server, client)
            wait_until(Upkeep(client, "mw").rewrite, "one that is under way ends, and another begins")


def test_a_server_that_has_always_had_room_is_left_alone(server: RedisServer) -> None:
    with server.client() as client:
        assert not Upkeep(client, "mw").rewrite()
        assert client.keys() == []


def test_a_server_that_takes_no_questions_of_several_parts_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Redis()

    def info(*sections: str) -> None:
        raise ResponseError("syntax error")

    monkeypatch.setattr(client, "info", info)
    assert not Upkeep(client, "mw").rewrite()


def test_what_upkeep_is_for_is_still_so(server: RedisServer) -> None:
    """The day this fails, upkeep may go: the server closes the gap by itself."""
    with server.client() as client:
        rewrite(server, client)
        fill_disk(server, client)
        client.set("after", "1")
        server.kill()
        with pytest.raises(TimeoutError):
            server.start(seconds=2.0)
