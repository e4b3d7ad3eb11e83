"""`mailworker lane`: pause and resume lanes, for all workers at once."""

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

import click

from mailworker.cli.durations import Duration
from mailworker.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mailworker.ledger import LaneStats

# A pause that is longer has no end; one that is shorter is better told in seconds.
_NO_END_MS, _SOON_MS = 365 * 86_400_000, 600_000


@click.group("lane")
def command() -> None:
    """Pause and resume lanes, for all workers at once."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(as_json: bool) -> None:  # noqa: FBT001 - click's option
    """List the lanes, with their relays and pauses."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick
    from mailworker.policy.routes import Route  # noqa: PLC0415 - the same
    from mailworker.steering import Steering  # noqa: PLC0415 - the same

    lanes = Steering(app.runtime).lanes()
    relays = {name: Route.write_all(app.runtime.settings.lanes[name].relay) for name in lanes}
    if as_json:
        print_json({name: dataclasses.asdict(stats) | {"relay": relays[name]} for name, stats in lanes.items()})
        return
    head = ("lane", "relay", "ready", "due", "sending", "paused", "why")
    zones = {name: app.runtime.settings.lanes[name].zone for name in lanes}
    rows = [
        (name, relays[name], stats.ready, stats.due, stats.claims, told_pause(stats, zones[name]), stats.pause_reason)
        if stats.paused_ms
        else (name, relays[name], stats.ready, stats.due, stats.claims, "-", "")
        for name, stats in lanes.items()
    ]
    print_table(head, rows)


@command.command("pause")
@click.argument("lane")
@click.option(
    "--for",
    "seconds",
    type=Duration(is_zero_refused=True),
    help="For so long, e.g. 30m, 2h or 1d; else until it is resumed.",
)
@click.option("--reason", default="by hand", show_default=True, help="Why; shown wherever the pause is.")
def pause(lane: str, seconds: float | None, reason: str) -> None:
    """Leave a lane alone. What is on the wire ends first, a second later nothing more goes; mails stay in line."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick
    from mailworker.steering import Steering  # noqa: PLC0415 - the same

    Steering(app.runtime).pause(lane, seconds, reason)
    click.echo(f"lane {lane} is paused " + (f"for {seconds:g} s" if seconds else "until it is resumed"))


@command.command("resume")
@click.argument("lane")
def resume(lane: str) -> None:
    """Let a lane go on at once."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick
    from mailworker.steering import Steering  # noqa: PLC0415 - the same

    was_paused = Steering(app.runtime).resume(lane)
    click.echo(f"lane {lane} goes on" if was_paused else f"lane {lane} was not paused")


def told_pause(stats: "LaneStats", zone: dt.tzinfo) -> str:
    """Say until when a lane is left alone, by the clock of its time zone; or when it is looked at, if nobody knows."""
    ms = stats.pause_ends_ms
    if ms is None or ms > _NO_END_MS:
        if stats.is_paused_by_hand and stats.paused_ms > _NO_END_MS:
            return "until resumed"
        return f"for now, looked at again in {stats.paused_ms / 1000:.0f} s"
    if ms < _SOON_MS:
        return f"for {ms / 1000:.0f} s"
    now = dt.datetime.now(zone)
    end = now + dt.timedelta(milliseconds=ms)
    day = "" if end.date() == now.date() else f"{end:%Y-%m-%d} "
    return f"until {day}{end:%H:%M} {zone}"
