"""`mailworker config`: the settings, checked or shown."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import click

from mailworker.cli.output import FAILED, SettingsFault, print_json
from mailworker.relay import faults_of_relays, warnings_of_relays
from mailworker.settings import PREFIX, Settings, SettingsError, load_settings

MASK = "**********"
_SHOWN = frozenset({"db", "virtual_host"})


@click.group("config")
def command() -> None:
    """Check the settings, or show them with secrets masked."""


@command.command("check")
@click.option("--role", type=click.Choice(["web", "worker"]), help="Whose settings these are (default: tell of both).")
@click.option("--connect", is_flag=True, help="Also ask the ledger whether it is there, and set up to keep mail.")
def check(role: str | None, connect: bool) -> None:  # noqa: FBT001 - click's option
    """Check the settings. Exit status 2 if they are wrong for the role, 1 if --connect finds a fault.

    A web process needs no relay, a worker does; without --role the settings have to be right for both.
    """
    settings = load_settings()
    faults = list(_faults_of_all(settings))
    of_workers = [] if role == "web" else list(faults_of_relays(settings.relays, settings.used_relays))
    if of_workers and not faults and role is None:
        of_workers = ["for a web process the settings are right (--role web); for a worker:", *of_workers]
    if faults or of_workers:
        raise SettingsFault("\n".join([*faults, *of_workers]))
    for warning in () if role == "web" else warnings_of_relays(settings.relays, settings.used_relays):
        click.echo(f"warning: {warning}", err=True)
    found = list(_ledger_faults()) if connect else []
    for fault in found:
        click.echo(fault, err=True)
    if found:
        raise click.exceptions.Exit(FAILED)
    whom = f" for a {role}" if role else ""
    click.echo(f"the settings are right{whom}: lanes {', '.join(sorted(settings.lanes))}")


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of variables.")
def show(as_json: bool) -> None:  # noqa: FBT001 - click's option
    """Show every setting in force, as environment variables. Secrets are masked."""
    settings = load_settings()
    plain = settings.model_dump(mode="json")
    plain["redis"]["url"] = masked_url(settings.redis.url.get_secret_value())
    if settings.broker.url is not None:
        plain["broker"]["url"] = masked_url(settings.broker.url.get_secret_value())
    if as_json:
        print_json(plain)
        return
    for name, value in _variables(plain, PREFIX.removesuffix("_")):
        click.echo(f"{name}={value if isinstance(value, str) else json.dumps(value)}")


def masked_url(url: str) -> str:
    """Where a URL leads, without what opens the door: user, password, and parameters other than the database."""
    try:
        parts = urlsplit(url)
        query = [(name, value if name in _SHOWN else MASK) for name, value in parse_qsl(parts.query)]
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return MASK
    netloc = f"{MASK}@{host}" if "@" in parts.netloc else host
    # Not urlunsplit: it writes unix:///path without the slashes of its empty host.
    return f"{parts.scheme}://{netloc}{parts.path}" + (f"?{urlencode(query, safe='*/')}" if query else "")


def _faults_of_all(settings: Settings) -> Iterator[str]:
    from mailworker.runtime import key_ring  # noqa: PLC0415 - help must be quick

    try:
        key_ring(settings)
    except SettingsError as error:
        yield str(error)


def _ledger_faults() -> Iterator[str]:
    """Whatever would let the ledger forget a mail that it has accepted."""
    from redis import RedisError  # noqa: PLC0415 - only with --connect

    from mailworker.celery import app  # noqa: PLC0415 - only with --connect

    try:
        client = app.runtime.redis
        client.ping()
    except RedisError as error:
        yield f"the ledger does not answer: {type(error).__name__}"
        return
    try:
        told: Mapping[str | None, str | None] = client.config_get("maxmemory-policy", "appendonly")
    except RedisError:
        # A hosted server may forbid the question; then its operator must know.
        return
    if told.get("maxmemory-policy") != "noeviction":
        yield "the ledger's maxmemory-policy is not noeviction: it may throw mails away when memory is short"
    if told.get("appendonly") != "yes":
        yield "the ledger's appendonly is off: a restart may lose mails that it has accepted"


def _variables(plain: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    separator = "_" if above == PREFIX.removesuffix("_") else "__"
    for name, value in plain.items():
        path = f"{above}{separator}{name.upper()}"
        if isinstance(value, Mapping):
            yield from _variables(value, path)
        elif value not in (None, []):
            yield path, ",".join(map(str, value)) if isinstance(value, list) else value
