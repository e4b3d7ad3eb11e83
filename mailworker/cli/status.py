"""`mailworker status`."""

import dataclasses
import datetime as dt
from collections.abc import Iterator, Sequence

import click

from mailworker.cli.lane import told_pause
from mailworker.cli.output import print_json, print_table
from mailworker.cli.relay import fail_if_unreadable, print_relays
from mailworker.health import Seen, faults_of_life
from mailworker.ledger import LaneStats, Roll


@click.command("status")
@click.option("--lane", "only", help="This lane alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(only: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's option
    """Show what each lane holds (in line, waiting for their time, being sent, given up), how relays are, who works."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick
    from mailworker.steering import Steering  # noqa: PLC0415 - the same

    runtime = app.runtime
    if only is not None:
        runtime.settings.lane(only)
    lanes = {name: runtime.ledger.stats(name) for name in ([only] if only else sorted(runtime.settings.lanes))}
    relays = [] if only is not None else Steering(runtime).relays()
    strays = runtime.strays.count()
    workers = Roll(runtime.redis, runtime.settings.redis.prefix).read()
    if only is not None:
        workers = tuple(seen for seen in workers if only in seen.sign.lanes)
    if as_json:
        told = [dataclasses.asdict(seen) | {"alive": seen.is_alive} for seen in workers]
        all_relays = {relay.name: dataclasses.asdict(relay) for relay in relays}
        all_lanes = {name: dataclasses.asdict(stats) for name, stats in lanes.items()}
        print_json({"lanes": all_lanes, "relays": all_relays, "workers": told, "strays": strays})
        fail_if_unreadable(relays)
        return
    print_table(
        ("lane", "ready", "oldest", "due", "sending", "sent", "dead", "in doubt", "quarantined", "note"),
        [
            (
                name,
                stats.ready,
                "-" if stats.oldest_ready_age_ms is None else f"{stats.oldest_ready_age_ms / 1000:.1f} s",
                stats.due,
                stats.claims,
                stats.counts.get("delivered", 0),
                stats.dead,
                stats.in_doubt,
                stats.quarantined,
                "; ".join(_notes(stats, runtime.settings.lanes[name].zone)),
            )
            for name, stats in lanes.items()
        ],
    )
    if relays:
        click.echo()
        print_relays(relays)
    click.echo()
    _print_workers(workers)
    if strays:
        click.echo(f"\n{strays} messages on our queues were not ours: mailworker stray list")
    fail_if_unreadable(relays)


def _print_workers(workers: Sequence[Seen]) -> None:
    if not workers:
        click.echo("no worker")
        return
    print_table(
        ("worker", "pool", "busy", "of", "last drain", "lanes", "note"),
        [
            (
                seen.name,
                seen.sign.pool,
                seen.sign.active,
                seen.sign.processes,
                _ago(seen.sign.drained_seconds, seen.age_seconds),
                ",".join(seen.sign.lanes),
                "; ".join(faults_of_life(seen)),
            )
            for seen in workers
        ],
    )


def _ago(seconds: float | None, age: float) -> str:
    return "-" if seconds is None else f"{seconds + age:.0f} s ago"


def _notes(stats: LaneStats, zone: dt.tzinfo) -> Iterator[str]:
    if stats.paused_ms:
        yield f"paused {told_pause(stats, zone)}: {stats.pause_reason}"
    if stats.unreadable:
        yield f"{stats.unreadable} unreadable: they wait for a key or a newer version"
