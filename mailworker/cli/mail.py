"""`mailworker mail`: look at mails."""

import dataclasses

import click

from mailworker.cli.output import SettingsFault, moment, print_json, print_pairs, print_table
from mailworker.report import MailReport


@click.group("mail")
def command() -> None:
    """Look at mails."""


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
