"""A process that forks must find nothing in a module that one side can change under the other."""

import ast
import collections
import importlib
import pkgutil
import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import mailworker
import smtp_transport

ROOT = Path(__file__).parents[2]

MUTABLE = (
    bytearray,
    dict,  # with it defaultdict, OrderedDict and Counter; a table is a MappingProxyType
    list,  # a table is a tuple
    set,  # a table is a frozenset
    collections.deque,
    queue.Queue,
    queue.SimpleQueue,
    socket.socket,
    threading.Event,
    threading.Condition,
    threading.local,
    threading.Thread,
    type(threading.Lock()),
    type(threading.RLock()),
)


def modules() -> Iterator[ModuleType]:
    for package in (smtp_transport, mailworker):
        yield package
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not info.name.endswith(".__main__"):  # importing it runs it
                yield importlib.import_module(info.name)


def state_of(name: str, namespace: dict[str, object]) -> list[str]:
    """Name what in a namespace can change; dunder names belong to Python, and `__all__` to its readers."""
    return [
        f"{name}.{key}: {type(value).__name__}"
        for key, value in namespace.items()
        if isinstance(value, MUTABLE) and not (key.startswith("__") and key.endswith("__"))
    ]


def test_no_module_holds_anything_that_can_change() -> None:
    assert [finding for module in modules() for finding in state_of(module.__name__, vars(module))] == []


def test_no_function_rebinds_a_name_of_its_module() -> None:
    rebinding = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in ("smtp_transport", "mailworker")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Global)
    ]
    assert rebinding == []


def test_the_check_sees_what_can_change() -> None:
    namespace: dict[str, object] = {"cache": {}, "lock": threading.Lock(), "__all__": ["a"], "TABLE": (1,)}
    assert state_of("m", namespace) == ["m.cache: dict", "m.lock: lock"]
