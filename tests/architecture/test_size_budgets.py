import ast
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("smtp_transport", "mailworker")

FILE_LINES = 400
FUNCTION_LINES = 50
PARAMETERS = 6
LUA_LINES = 60
VAGUE_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}


def sources(suffix: str) -> list[Path]:
    found = sorted(path for package in PACKAGES for path in (ROOT / package).rglob(f"*{suffix}"))
    assert found, f"no {suffix} file under {PACKAGES}"
    return found


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def too_long(source: str) -> list[str]:
    """Functions over the budget, from `def` to the last line, docstring included."""
    return [
        f"{f.lineno} {f.name}: {f.end_lineno - f.lineno + 1} lines"
        for f in functions(source)
        if f.end_lineno is not None and f.end_lineno - f.lineno >= FUNCTION_LINES
    ]


def too_wide(source: str) -> list[str]:
    """Functions that take too much; `self` and `cls` are not counted, keyword-only parameters are."""
    found = []
    for function in functions(source):
        arguments = function.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > PARAMETERS:
            found.append(f"{function.lineno} {function.name}: {count} parameters")
    return found


def in_all_sources(check: Callable[[str], list[str]]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{finding}"
        for path in sources(".py")
        for finding in check(path.read_text(encoding="utf-8"))
    ]


def test_a_file_can_be_read_in_one_sitting() -> None:
    over = {str(p.relative_to(ROOT)): line_count(p) for p in sources(".py") if line_count(p) > FILE_LINES}
    assert over == {}


def test_a_script_fits_on_one_screen() -> None:
    over = {str(p.relative_to(ROOT)): line_count(p) for p in sources(".lua") if line_count(p) > LUA_LINES}
    assert over == {}


def test_a_function_fits_on_one_screen() -> None:
    assert in_all_sources(too_long) == []


def test_a_function_takes_no_more_than_one_can_remember() -> None:
    assert in_all_sources(too_wide) == []


def test_a_module_is_named_after_what_it_is_for() -> None:
    assert [str(p.relative_to(ROOT)) for p in sources(".py") if p.stem in VAGUE_NAMES] == []


def test_the_budgets_see_what_is_over_them() -> None:
    exact = "def f(a, b, c, d, e, g):\n" + "    a\n" * (FUNCTION_LINES - 1)
    assert too_long(exact) == too_wide(exact) == []
    assert too_long(exact + "    a\n") == [f"1 f: {FUNCTION_LINES + 1} lines"]
    assert too_wide("class A:\n    def f(self, a, b, c, d, e, *, g, h): ...") == ["2 f: 7 parameters"]
    assert too_wide("class A:\n    async def f(cls, a, b, c, d, e, *, g): ...") == []
