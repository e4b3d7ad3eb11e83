"""`mailworker demo`."""

from pathlib import Path
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from mailworker.cli.output import FAILED, print_json, print_pairs
from mailworker.dev.demo import Outcome, Plan, Show, run_demo

_MOST_FAULTS = 20


@click.command("demo")
@click.option("--mails", type=click.IntRange(3, 100_000), default=200, show_default=True, help="How many mails.")
@click.option("--workers", type=click.IntRange(1, 32), default=2, show_default=True, help="How many worker processes.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed makes other mails.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".mailworker/demo"),
    show_default=True,
    help="Where runs are kept, each in its own folder; the five newest stay.",
)
def command(mails: int, workers: int, seed: int, as_json: bool, data: Path) -> None:  # noqa: FBT001 - click's options
    """Send varied mails through the whole road on this machine, and prove that all arrived.

    Starts an embedded server, a mailbox and Celery workers, sends the mails with `send_email.delay`, stops everything
    again, and compares the mailbox with what was sent. One mail is refused for good and a few are put off at first.
    Exit status 0 only if the mailbox holds exactly what it should. No mail leaves the machine.
    """
    with _Shown(Console(stderr=as_json)) as shown:
        outcome = run_demo(Plan(mails, workers, data, seed), shown.show)
    if as_json:
        _print_json(outcome)
    else:
        _print_table(outcome)
    for fault in outcome.faults[:_MOST_FAULTS]:
        click.echo(fault, err=True)
    if len(outcome.faults) > _MOST_FAULTS:
        click.echo(f"and {len(outcome.faults) - _MOST_FAULTS} faults more", err=True)
    if outcome.faults:
        raise click.exceptions.Exit(FAILED)


class _Shown:
    """Progress: bars on a terminal, one line a step elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def show(self) -> Show:
        """What the demo tells its steps to."""
        return self._bar if self._console.is_terminal else self._line

    def _bar(self, step: str, done: int, total: int) -> None:
        if not total:
            self._progress.console.print(step, style="dim")
        elif step in self._tasks:
            self._progress.update(self._tasks[step], completed=done)
        else:
            self._tasks[step] = self._progress.add_task(step, completed=done, total=total)

    def _line(self, step: str, done: int, total: int) -> None:
        if done == total:
            click.echo(f"{step} {done}" if total else step, err=self._console.stderr)


def _numbers(outcome: Outcome) -> list[tuple[str, object]]:
    return [
        ("mails accepted", outcome.accepted),
        ("delivered", outcome.delivered),
        ("retried", outcome.retried),
        ("failed (refused for good)", outcome.failed),
        ("p50 from accepted to delivered", f"{outcome.p50_ms:.0f} ms"),
        ("p99 from accepted to delivered, retries included", f"{outcome.p99_ms:.0f} ms"),
    ]


def _print_table(outcome: Outcome) -> None:
    console = Console()
    if console.is_terminal:
        table = Table(show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, value in _numbers(outcome):
            table.add_row(name, str(value))
        console.print(table)
    else:
        print_pairs(_numbers(outcome))
    verdict = f"{len(outcome.faults)} faults" if outcome.faults else "the mailbox holds exactly what it should"
    print_pairs([("verdict", verdict), ("mailbox", outcome.mailbox), ("logs", outcome.logs)])


def _print_json(outcome: Outcome) -> None:
    fields = {name: getattr(outcome, name) for name in Outcome.__slots__}
    print_json(fields | {"faults": list(outcome.faults)})
