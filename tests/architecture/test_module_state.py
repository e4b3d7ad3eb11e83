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
    collections.ChainMap,
    collections.Counter,
    collections.OrderedDict,
    collections.defaultdict,
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


CHANGING = {"clear", "pop", "popitem", "setdefault", "update", "__setitem__", "__delitem__"}


def modules() -> Iterator[ModuleType]:
    for package in (smtp_transport, mailworker):
        yield package
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not info.name.endswith(".__main__"):  # importing it runs it
                yield importlib.import_module(info.name)


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in ("smtp_transport", "mailworker"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def state_of(name: str, namespace: dict[str, object]) -> list[str]:
    """Name what in a namespace can change; dunder names belong to Python, and a dict in capitals is a table."""
    return [
        f"{name}.{key}: {type(value).__name__}"
        for key, value in namespace.items()
        if isinstance(value, MUTABLE) or (type(value) is dict and not key.isupper())
        if not (key.startswith("__") and key.endswith("__"))
    ]


def writes_to_tables(tree: ast.Module) -> list[str]:
    """Find what changes a table: `TABLE[x] = …`, `del TABLE[x]`, `TABLE |= …`, `TABLE.update(…)` and their like."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                found.append((node.lineno, name))
            case ast.AugAssign(target=ast.Name(id=name)):
                found.append((node.lineno, name))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)) if attribute in CHANGING:
                found.append((node.lineno, name))
    return [f"{line} {name}" for line, name in found if name.isupper()]


def test_no_module_holds_anything_that_can_change() -> None:
    assert [finding for module in modules() for finding in state_of(module.__name__, vars(module))] == []


def test_no_table_is_written_to() -> None:
    assert [(name, writes) for name, tree in sources() if (writes := writes_to_tables(tree))] == []


def test_no_function_rebinds_a_name_of_its_module() -> None:
    nodes = [(name, node) for name, tree in sources() for node in ast.walk(tree)]
    assert [(name, node.lineno) for name, node in nodes if isinstance(node, ast.Global)] == []


def test_the_check_sees_what_can_change() -> None:
    namespace: dict[str, object] = {"cache": {}, "lock": threading.Lock(), "__all__": ["a"], "TABLE": (1,), "_MAP": {}}
    assert state_of("m", namespace) == ["m.cache: dict", "m.lock: lock"]
    assert writes_to_tables(ast.parse("a = TABLE[1]\nTABLE[1] = 2\n_MAP.pop(1)\ndel T[0]")) == [
        "2 TABLE",
        "3 _MAP",
        "4 T",
    ]
