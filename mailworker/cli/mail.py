"""`mailworker mail`: look at mails, and decide about those that wait for a person."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

import click

from mailworker.cli.output import SettingsFault, moment, print_json, print_pairs, print_table
from mailworker.report import MailReport

# A script keeps everybody else waiting.
_PORTION = 500
_LISTED = ("unreadable", "dead", "in_doubt", "quarantined", "partial", "expired", "cancelled")


@click.group("mail")
def command() -> None:
    """Look at mails, and decide about those that wait for a person."""


@command.command("list")
@click.option("--lane", default="default", show_default=True)
@click.option("--state", type=click.Choice(_LISTED), default="dead", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(lane: str, state: str, limit: int, as_json: bool) -> None:  # noqa: FBT001 - click's
    """List the mails that ended in a state, or are unreadable: they wait for a key or a newer version. Newest first."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick

    app.runtime.settings.lane(lane)
    ids = app.runtime.ledger.parked(lane, state, limit)
    if as_json:
        print_json({"lane": lane, "state": state, "mails": ids})
    else:
        for mail_id in ids:
            click.echo(mail_id)


@command.command("requeue")
@click.argument("mail_ids", nargs=-1)
@click.option("--lane", default="default", show_default=True, help="With --state: which lane's mails.")
@click.option("--state", type=click.Choice(_LISTED[1:]), help="All mails of this state, instead of ids.")
def requeue(mail_ids: tuple[str, ...], lane: str, state: str | None) -> None:
    """Give ended mails another go, to those of their recipients who have not got them."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick

    if bool(mail_ids) == bool(state):
        raise click.UsageError("give the ids of mails, or --state")
    if state:
        app.runtime.settings.lane(lane)
        # Those of this moment: a mail that dies again at once must not be tried again and again.
        mail_ids = app.runtime.ledger.parked(lane, state)
        portions = (mail_ids[first : first + _PORTION] for first in range(0, len(mail_ids), _PORTION))
        _tell("ready", (app.runtime.requeue(lane, portion) for portion in portions))
    else:
        _tell("ready", (app.runtime.requeue(_lane_of(mail_id), [mail_id]) for mail_id in mail_ids))


@command.command("cancel")
@click.argument("mail_ids", nargs=-1, required=True)
def cancel(mail_ids: tuple[str, ...]) -> None:
    """End mails that nobody is sending yet."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick

    _tell("cancelled", ((app.runtime.cancel(mail_id),) for mail_id in mail_ids if _lane_of(mail_id)))


@command.command("purge")
@click.argument("mail_ids", nargs=-1, required=True)
def purge(mail_ids: tuple[str, ...]) -> None:
    """Forget ended mails for good."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick

    _tell("purged", (app.runtime.ledger.purge(_lane_of(mail_id), [mail_id]) for mail_id in mail_ids))


def _tell(wanted: str, answers: Iterable[Sequence[str]]) -> None:
    """Count what became of the mails. Raises ClickException if it is not what was wanted for all of them."""
    counts = Counter(state for states in answers for state in states)
    click.echo(f"{counts.pop(wanted, 0)} {wanted}")
    if counts:
        others = ", ".join(f"{count} {state}" for state, count in counts.items())
        raise click.ClickException(f"not {wanted}: {others}")


def _lane_of(mail_id: str) -> str:
    from mailworker.keys import lane_of  # noqa: PLC0415 - help must be quick

    try:
        return lane_of(mail_id)
    except ValueError as error:
        raise SettingsFault(str(error)) from None


@command.command("show")
@click.argument("mail_id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(mail_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's option
    """Show what is known of a mail. Addresses are masked; subject and body are not shown at all."""
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick

    try:
        report = app.runtime.report(mail_id)
    except ValueError as error:
        raise SettingsFault(str(error)) from None
    if report is None:
        raise click.ClickException(f"the ledger knows no mail {mail_id} (any more)")
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        _print(report)


def _print(report: MailReport) -> None:
    rows: list[tuple[str, object]] = [
        ("mail", report.id),
        ("lane", report.lane),
        ("state", report.state),
        ("attempts", report.attempts),
        ("Message-ID", report.message_id),
        ("accepted", moment(report.accepted_ms)),
        ("ended", moment(report.ended_ms)),
    ]
    if report.due_ms is not None:
        rows.append(("due", moment(report.due_ms)))
    if report.expires_ms is not None:
        rows.append(("expires", moment(report.expires_ms)))
    if report.possible_duplicates:
        rows.append(("possible duplicates", report.possible_duplicates))
    if report.error:
        rows.append(("last error", report.error))
    print_pairs(rows)
    click.echo()
    head = ("recipient", "state", "code", "text")
    print_table(
        head,
        [
            (r.address, r.state, " ".join(str(c) for c in (r.code, r.enhanced) if c) or "-", r.text.replace("\n", " "))
            for r in report.recipients
        ],
    )
    if report.history:
        click.echo()
        for note in report.history:
            what = "  ".join(f"{name}={value}" for name, value in note.items() if name != "at")
            click.echo(f"{moment(note.get('at'))}  {what}")
