"""`mailworker suppress`: the addresses that are not tried again."""

import csv
import dataclasses
import datetime as dt
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

import click

from mailworker.cli.durations import Duration
from mailworker.cli.output import moment, print_json, print_table
from smtp_transport.observation import masked_address

if TYPE_CHECKING:
    from mailworker.suppression import Suppression

_COLUMNS = ("address", "lane", "reason", "since", "until")
_EVERYWHERE = "(all)"
_MOST_FAULTS = 20
_LANE = click.option("--lane", help="This lane alone; by default all.")
_EXPIRES = click.option(
    "--expires",
    type=Duration(bare="d", is_zero_refused=True),
    help="For so long, e.g. 12h or 90d; a bare number: days. By default for good.",
)


@click.group("suppress")
def command() -> None:
    """Say which addresses are not to be tried again, in one lane or in all.

    Those of whom a server said that nobody is there get on the list of their lane by themselves.
    """


@command.command("add")
@click.argument("addresses", nargs=-1, required=True)
@_LANE
@click.option("--reason", default="by hand", show_default=True)
@_EXPIRES
def add(addresses: tuple[str, ...], lane: str | None, reason: str, expires: float | None) -> None:
    """Do not try these addresses again."""
    from mailworker import suppress  # noqa: PLC0415 - help must be quick

    added = suppress.add(addresses, lane=lane, reason=reason, expires=expires)
    click.echo(f"{added} suppressed")


@command.command("remove")
@click.argument("addresses", nargs=-1, required=True)
@_LANE
def remove(addresses: tuple[str, ...], lane: str | None) -> None:
    """Let these addresses be tried again."""
    from mailworker import suppress  # noqa: PLC0415 - help must be quick

    removed = suppress.remove(addresses, lane=lane)
    if not removed:
        raise click.ClickException("none of them is on the list")
    click.echo(f"{removed} removed")


@command.command("list")
@_LANE
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(lane: str | None, limit: int, as_json: bool) -> None:  # noqa: FBT001 - click's option
    """List addresses, masked, in no order."""
    from mailworker import suppress  # noqa: PLC0415 - help must be quick

    _print(list(islice(suppress.entries(lane), limit)), as_json=as_json)


@command.command("show")
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(address: str, as_json: bool) -> None:  # noqa: FBT001 - click's option
    """Show on which lists an address is, and why. Exit status 1 if on none."""
    from mailworker import suppress  # noqa: PLC0415 - help must be quick

    found = suppress.find(address)
    if not found:
        raise click.ClickException("this address is not suppressed")
    _print(found, as_json=as_json)


@command.command("export")
@_LANE
def export(lane: str | None) -> None:
    """Print the list as CSV, addresses whole, as `import` reads it."""
    from mailworker import suppress  # noqa: PLC0415 - help must be quick

    sealed = done = 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in suppress.entries(lane):
        if not entry.address:
            sealed += 1
            continue
        times = (_written(ms) for ms in (entry.since_ms, entry.until_ms))
        writer.writerow((entry.address, entry.lane or "", entry.reason, *times))
        done += 1
        if done % 1000 == 0:
            click.echo(f"\r{done} addresses", err=True, nl=False)
    click.echo(f"\r{done} addresses", err=True)
    if sealed:
        raise click.ClickException(f"{sealed} addresses are sealed with keys that are not configured here")


@command.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@click.option("--lane", help="For rows that name none; by default such rows are for all lanes.")
@click.option("--reason", default="imported", show_default=True, help="For rows that give none.")
@_EXPIRES
def import_(file: TextIO, lane: str | None, reason: str, expires: float | None) -> None:
    """Read CSV (`-`: standard input): addresses alone, or with columns named in the first line, as `export` prints it.

    Rows that cannot be read are told with their numbers, and the others are put on the list.
    """
    from mailworker import suppress  # noqa: PLC0415 - help must be quick
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick

    if lane is not None:
        app.runtime.check_lane(lane)
    faults: list[str] = []
    until = None if expires is None else int((dt.datetime.now(dt.UTC).timestamp() + expires) * 1000)
    rows = _rows(file, {"lane": lane or "", "reason": reason}, until, faults)
    try:
        done = suppress.load(rows, lambda count: click.echo(f"\r{count} addresses", err=True, nl=False))
    except (UnicodeDecodeError, csv.Error) as error:
        click.echo("", err=True)
        raise click.ClickException(
            "the file is no CSV in UTF-8: save it so, and import it again (what could be read was imported)"
        ) from error
    click.echo("", err=True)
    click.echo(f"{done} suppressed")
    if faults:
        more = f"\n... and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise click.ClickException("not read:\n" + "\n".join(faults[:_MOST_FAULTS]) + more)


def _rows(
    file: Iterable[str], default: Mapping[str, str], until_ms: int | None, faults: list[str]
) -> "Iterator[Suppression]":
    """Read entries; what is wrong with a row goes to `faults`."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick
    from mailworker.suppress import checked  # noqa: PLC0415 - help must be quick
    from mailworker.suppression import Suppression  # noqa: PLC0415 - help must be quick

    reader = csv.reader(file)
    columns: list[str] = []
    now = dt.datetime.now(dt.UTC)
    for cells in reader:
        if not columns:
            named = [cell.strip().lower() for cell in cells]
            columns = named if "address" in named else ["address", "reason"]
            if "address" in named:
                continue
        if not any(cell.strip() for cell in cells):
            continue
        row = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()}
        try:
            address = checked(row.get("address", ""))
            lane = row.get("lane", default["lane"]) or None
            if lane is not None:
                app.runtime.check_lane(lane)
            since, until = (_ms(row[name]) if name in row else None for name in ("since", "until"))
        except ValueError as error:
            faults.append(f"line {reader.line_num}: {error}")
            continue
        since_ms = since if since is not None else int(now.timestamp() * 1000)
        yield Suppression(
            address, row.get("reason", default["reason"]), since_ms, until if until is not None else until_ms, lane
        )


def _ms(text: str) -> int:
    """Read a time; one without a zone is UTC. Raises ValueError."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a time is written as 2026-11-21 or 2026-11-21T08:00:00+00:00") from None
    return max(0, int((time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp() * 1000))


def _written(ms: int | None) -> str:
    return "" if ms is None else dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(timespec="seconds")


def _print(entries: "list[Suppression]", *, as_json: bool) -> None:
    if as_json:
        told: list[dict[str, Any]] = [
            dataclasses.asdict(entry) | {"address": masked_address(entry.address)} for entry in entries
        ]
        print_json({"suppressed": told})
        return
    print_table(
        ("address", "lane", "reason", "since", "until"),
        [
            (
                masked_address(entry.address),
                entry.lane or _EVERYWHERE,
                entry.reason,
                moment(entry.since_ms)[:19],
                "-" if entry.until_ms is None else moment(entry.until_ms)[:19],
            )
            for entry in entries
        ],
    )
