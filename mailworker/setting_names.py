"""The names of settings: which there are, and the nearest to one that there is not.

Law: knows names alone. `models` gives each section's type: a model, a table of models by name (`dict[str, Model]`), or
the type of a setting that stands alone.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

Models = Mapping[str, Any]
_TABLE: Any = dict


def unknown_in_environment(models: Models, environ: Mapping[str, str], prefix: str, besides: str) -> Iterator[str]:
    """Tell of each variable with the prefix that is no setting, nor the name `besides`."""
    for name in sorted(environ):
        if name.upper().startswith(prefix) and name != besides:
            path = name.upper().removeprefix(prefix).lower().split("__")
            known = [prefix + "__".join(each).upper() for each in _paths(models, path)]
            if name.upper() not in known:
                # Who wrote a section and a name in it meant one.
                alike = [each for each in known if ("__" in each) == (len(path) > 1)]
                near = nearest(name.upper(), [*alike, besides])
                yield f"{name} is not a setting" + (f"; did you mean {near}?" if near else "")


def unknown_in_table(models: Models, table: Mapping[str, Any], source: str) -> Iterator[str]:
    """Tell of each name in a file's table that is no setting; `source` is where the file is."""
    for path in _leaves(table, ()):
        known = [".".join(each) for each in _paths(models, path)]
        if _is_section(models, path):
            yield f"{source}: {'.'.join(path)} is a section: write [{'.'.join(path)}], and its settings below"
        elif ".".join(path) not in known:
            near = nearest(".".join(path), known)
            yield f"{source}: {'.'.join(path)} is not a setting" + (f"; did you mean {near}?" if near else "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find what was probably meant."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), None)


def _leaves(table: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name)


def _is_section(models: Models, path: Sequence[str]) -> bool:
    """Whether a single value stands where settings should."""
    model = models.get(path[0])
    is_table = get_origin(model) is _TABLE
    return len(path) <= (2 if is_table else 1) and (is_table or hasattr(model, "model_fields"))


def _paths(models: Models, path: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every path there is; where a section is a table of names (relays, lanes), with the name that `path` gives."""
    for section, model in models.items():
        if get_origin(model) is _TABLE:
            name = path[1] if len(path) > 2 else "default"
            yield from ((section, name, leaf) for leaf in get_args(model)[1].model_fields)
        elif hasattr(model, "model_fields"):
            yield from ((section, leaf) for leaf in model.model_fields)
        else:
            yield (section,)
