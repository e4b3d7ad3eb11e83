"""`mailworker keys`: the keys that seal mails, from the first to the next."""

import dataclasses
import datetime as dt
import secrets
from typing import TYPE_CHECKING

import click

from mailworker.cli.output import SettingsFault, print_json, print_table

if TYPE_CHECKING:
    from collections import Counter

    from mailworker.rotation import Census
    from mailworker.sealing import KeyRing

_NO_KEY = "(not sealed)"


@click.group("keys")
def command() -> None:
    """Make sealing keys, and replace an old one by a new one while mail flows."""


@command.command("new")
@click.option("--id", "key_id", help="Its name, by default made of the date; it stands in clear beside what it seals.")
def new(key_id: str | None) -> None:
    """Print a new key as MAILWORKER_SEALING__KEYS takes it. Keep it: mails sealed with it open with nothing else."""
    from mailworker.sealing import new_key  # noqa: PLC0415 - help must be quick

    name = key_id or f"{dt.datetime.now(dt.UTC):%Y%m%d}-{secrets.token_hex(2)}"
    try:
        click.echo(new_key(name))
    except ValueError as error:
        raise SettingsFault(f"--id: {error}") from None


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(as_json: bool) -> None:  # noqa: FBT001 - click's option
    """Count the mails that need each key. Exit status 1 if one is needed that is not configured."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick
    from mailworker.rotation import take_census  # noqa: PLC0415 - help must be quick

    census = take_census(app.runtime.ledger.seals, app.runtime.suppressions, app.runtime.strays)
    _tell(census, app.runtime.keys, as_json=as_json)


@command.command("reseal")
@click.option("--dry-run", is_flag=True, help="Change nothing; count only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reseal(dry_run: bool, as_json: bool) -> None:  # noqa: FBT001 - click's options
    """Put every mail under the first of the configured keys, while mail flows; then count as `check` does.

    Interrupted, it is just begun again. When no mail needs the old key any more, take it out of the settings.
    """
    from mailworker import rotation  # noqa: PLC0415 - help must be quick
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick

    keys, seals, suppressions = app.runtime.keys, app.runtime.ledger.seals, app.runtime.suppressions
    if not dry_run:

        def progress(seen: int, changed: int) -> None:
            click.echo(f"\r{seen} mails seen, {changed} put under key {keys.writer or _NO_KEY}", err=True, nl=False)

        failed = rotation.reseal(seals, app.runtime.ledger.files, keys, progress)
        click.echo("", err=True)
        failed += rotation.reseal_addresses(suppressions) + app.runtime.strays.reseal()
        if failed:
            what = "mails, files, suppressed addresses or strays"
            click.echo(f"{failed} {what} do not open with the keys configured here, and stay as they are", err=True)
    _tell(rotation.take_census(seals, suppressions, app.runtime.strays), keys, as_json=as_json)


def _tell(census: "Census", keys: "KeyRing", *, as_json: bool) -> None:
    """Print a line for each key. Raises ClickException if one is missing."""
    configured = keys.ids or ("",)
    needed = set[str]().union(*_counters(census).values())
    ids = [*configured, *sorted(needed - set(configured))]
    roles = {key_id: _role(key_id, keys, census) for key_id in ids}
    if as_json:
        print_json(
            {
                "keys": [
                    {"id": i}
                    | {name: counter[i] for name, counter in _counters(census).items()}
                    | {"is_configured": i in keys.ids}
                    for i in ids
                ],
                "writes": keys.writer or None,
            }
        )
    else:
        rows = [
            (key_id or _NO_KEY, *(counter[key_id] for counter in _counters(census).values()), roles[key_id])
            for key_id in ids
        ]
        print_table(("key", "open mails", "ended mails", "files", "suppressed", "strays", ""), rows)
    missing = [key_id for key_id in ids if key_id and key_id not in keys.ids]
    if missing:
        names = ", ".join(map(repr, missing))
        raise click.ClickException(f"mails need keys that are not in MAILWORKER_SEALING__KEYS: {names}")


def _role(key_id: str, keys: "KeyRing", census: "Census") -> str:
    if key_id == keys.writer:
        return "writes"
    if not key_id:
        return "readable by whoever reads Redis"
    if key_id not in keys.ids:
        return "MISSING"
    return "reads" if any(counter[key_id] for counter in _counters(census).values()) else "needed no more"


def _counters(census: "Census") -> dict[str, "Counter[str]"]:
    return {field.name: getattr(census, field.name) for field in dataclasses.fields(census)}
