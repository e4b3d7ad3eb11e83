"""`mailworker status`."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from mailworker.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mailworker.ledger import LaneStats


@click.command("status")
@click.option("--lane", "only", help="This lane alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(only: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's option
    """Show what each lane holds: mails in line, waiting for their time, being sent, and given up."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick

    runtime = app.runtime
    if only is not None:
        runtime.settings.lane(only)
    lanes = {name: runtime.ledger.stats(name) for name in ([only] if only else sorted(runtime.settings.lanes))}
    if as_json:
        print_json({"lanes": {name: dataclasses.asdict(stats) for name, stats in lanes.items()}})
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
                "; ".join(_notes(stats)),
            )
            for name, stats in lanes.items()
        ],
    )


def _notes(stats: "LaneStats") -> Iterator[str]:
    if stats.paused_ms:
        yield f"paused {stats.paused_ms / 1000:.0f} s: {stats.pause_reason}"
    if stats.unreadable:
        yield f"{stats.unreadable} unreadable: they wait for a key or a newer version"
