"""`mailworker worker`: run one, or ask how one is."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click
from redis import Redis

from mailworker.cli.durations import Duration
from mailworker.cli.output import FAILED, SettingsFault, print_json
from mailworker.doorway import breaker_policy
from mailworker.fleet import Breaker, BreakerState, FleetKeys
from mailworker.health import Seen, faults_of_life, faults_of_readiness, find
from mailworker.ledger import LedgerError, Roll, Server
from mailworker.mending import Mender
from mailworker.reach import connect
from mailworker.relay import smtp_config
from mailworker.runtime import ledger_over
from mailworker.settings import Settings, load_settings

_GREEN = ("gevent", "eventlet")


class _RunOrCheck(click.Group):
    """What is not the name of a command is an option for Celery."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("worker", cls=_RunOrCheck)
def command() -> None:
    """Run a Celery worker (`mailworker worker [CELERY_OPTIONS]`), or ask whether one moves mail (`check`)."""


@command.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("celery_options", nargs=-1, type=click.UNPROCESSED)
def run(celery_options: tuple[str, ...]) -> None:
    """Run a Celery worker with the settings of this project; the word `run` may be left out.

    The same as `celery -A mailworker worker --loglevel=INFO`, with the settings checked first. CELERY_OPTIONS go to
    `celery worker` as they are; `celery worker --help` lists them.
    """
    _refuse_green_pools(celery_options)
    settings = load_settings()
    _check_relays(settings)
    argv = [sys.executable, "-m", "celery", "-A", "mailworker", "worker", "--loglevel=INFO", *celery_options]
    try:
        os.execv(sys.executable, argv)  # noqa: S606 - our own interpreter; no shell reads the words
    except OSError as error:
        raise SettingsFault(f"cannot run {sys.executable}: {error.strerror}") from None


@command.command("check")
@click.option("--live", "only_live", is_flag=True, help="Only whether it should be restarted.")
@click.option("--ready", "is_ready", is_flag=True, help="Also whether it can move mail now (default).")
@click.option("-n", "--hostname", metavar="NAME", help="The worker's name, as `celery worker -n` takes it.")
@click.option("--timeout", type=Duration(least=0.1, most=60), default="5s", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(only_live: bool, is_ready: bool, hostname: str | None, timeout: float, as_json: bool) -> None:  # noqa: FBT001 - click's options
    """Ask the ledger whether a worker moves mail. Exit status 1: it does not. No broker is asked, no task sent.

    --live: its watch turns and its pool takes bells. If the ledger cannot be asked, nothing speaks against the worker,
    for restarting it would mend nothing. --ready: besides, the ledger answers, the settings are right, the broker takes
    bells, and no relay of its lanes refuses our credentials.
    """
    if only_live and is_ready:
        raise click.UsageError("give --live or --ready, not both")
    settings = load_settings()
    name = _full_name(hostname)
    with connect(settings.redis, timeout) as redis:
        try:
            seen = find(Roll(redis, settings.redis.prefix).read(), name)
            faults = _faults(seen, name, settings, redis, only_live=only_live)
        except LedgerError as error:
            click.echo(f"worker {name} cannot be judged: {error}", err=True)
            raise click.exceptions.Exit(0 if only_live else FAILED) from None
    if as_json:
        print_json({"worker": name, "faults": faults, "sign": asdict(seen.sign) if seen else None})
    for fault in faults:
        click.echo(f"worker {name}: {fault}", err=True)
    if faults:
        raise click.exceptions.Exit(FAILED)
    if not as_json:
        click.echo(f"worker {name} is {'alive' if only_live else 'ready'}")


def _faults(seen: Seen | None, name: str, settings: Settings, redis: Redis, *, only_live: bool) -> tuple[str, ...]:
    if seen is None:
        return (f"gave no sign of life; its name must be what `-n` or its host's name makes it, here {name}",)
    if only_live:
        return faults_of_life(seen)
    _check_relays(settings)
    ledger = ledger_over(redis, settings)
    stats = {lane: ledger.stats(lane) for lane in seen.sign.lanes}
    pauses = {lane: told.pause_reason for lane, told in stats.items() if told.paused_ms}
    return faults_of_readiness(seen, pauses | _open_breakers(seen.sign.lanes, settings, redis))


def _open_breakers(lanes: Sequence[str], settings: Settings, redis: Redis) -> dict[str, str]:
    """Tell of each lane whose relays are all left alone why the first of them is."""
    server, keys = Mender(Server(redis)), FleetKeys(settings.redis.prefix)
    told = {}
    for lane in set(lanes) & set(settings.lanes):
        reports = [
            Breaker(server.run, server.read, keys, route.relay, breaker_policy(settings.relays[route.relay])).report()
            for route in settings.lanes[lane].relay
        ]
        if all(report.state is not BreakerState.CLOSED for report in reports):
            told[lane] = reports[0].reason.partition(":")[0]
    return told


def _full_name(hostname: str | None) -> str:
    from celery.utils.nodenames import default_nodename, host_format  # noqa: PLC0415 - slow

    return str(host_format(default_nodename(hostname or "")))


def _check_relays(settings: Settings) -> None:
    for relay in settings.used_relays:
        smtp_config(relay, settings.relays[relay])


def _refuse_green_pools(options: tuple[str, ...]) -> None:
    pools = [word.rpartition("=")[2].removeprefix("-P") for word in options]
    if any(pool in _GREEN for pool in pools):
        from mailworker.celery import GREEN_POOL_REFUSED  # noqa: PLC0415 - slow

        raise SettingsFault(GREEN_POOL_REFUSED)
