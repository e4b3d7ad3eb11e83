"""`mailworker mail`: look at mails, and decide about those that wait for a person."""

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import click

from mailworker.cli.durations import Duration
from mailworker.cli.output import SettingsFault, moment, print_json, print_pairs, print_table
from mailworker.report import MailReport

_ENDED = ("dead", "in_doubt", "quarantined", "partial", "expired", "cancelled")
_WAITING = ("ready", "scheduled", "deferred")
_FOUND = ("unreadable", *_ENDED, *_WAITING, "sending")

_AGE = Duration(bare="h")
_FILTERS = (
    click.option("--lane", help="With --state: this lane alone; by default all, one after the other."),
    click.option("--code", metavar="CODE", help="Only where a server said so: 550, 5.1.1, or the beginning, 5.7."),
    click.option("--domain", metavar="NAME", help="Only where a recipient there has not got it."),
    click.option("--older-than", type=_AGE, help="Ended longer ago, e.g. 30m, 12h or 7d; a bare number: hours."),
    click.option("--younger-than", type=_AGE, help="Ended less long ago; written alike."),
)


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group("mail")
def command() -> None:
    """Look at mails, and decide about those that wait for a person."""


@command.command("list")
@click.option("--state", type=click.Choice(_FOUND), default="dead", show_default=True)
@_filtered
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(state: str, limit: int, as_json: bool, **filters: Any) -> None:  # noqa: FBT001 - click's
    """List the mails of a state, of each lane the newest first.

    Those that are unreadable wait for a key or a newer version.
    """
    ids = [report.id for report in islice(_found(state, filters), limit)]
    if as_json:
        print_json({"lane": filters["lane"], "state": state, "mails": ids})
    else:
        for mail_id in ids:
            click.echo(mail_id)


@command.command("requeue")
@click.argument("mail_ids", nargs=-1)
@click.option("--state", type=click.Choice(_ENDED), help="All mails of this state, instead of ids.")
@_filtered
def requeue(mail_ids: tuple[str, ...], state: str | None, **filters: Any) -> None:
    """Give ended mails another go, to those of their recipients who have not got them."""
    from mailworker import mails  # noqa: PLC0415 - help must be quick

    _tell("ready", mails.requeue(_chosen(mail_ids, state, filters)))


@command.command("cancel")
@click.argument("mail_ids", nargs=-1)
@click.option("--state", type=click.Choice(_WAITING), help="All mails of this state, instead of ids.")
@_filtered
def cancel(mail_ids: tuple[str, ...], state: str | None, **filters: Any) -> None:
    """End mails that nobody is sending yet."""
    from mailworker import mails  # noqa: PLC0415 - help must be quick

    _tell("cancelled", mails.cancel(_chosen(mail_ids, state, filters)))


@command.command("purge")
@click.argument("mail_ids", nargs=-1)
@click.option("--state", type=click.Choice(_ENDED), help="All mails of this state, instead of ids.")
@_filtered
def purge(mail_ids: tuple[str, ...], state: str | None, **filters: Any) -> None:
    """Forget ended mails for good."""
    from mailworker import mails  # noqa: PLC0415 - help must be quick

    _tell("purged", mails.purge(_chosen(mail_ids, state, filters)))


def _chosen(mail_ids: Sequence[str], state: str | None, filters: Mapping[str, Any]) -> "list[str | MailReport]":
    """Take the ids that were given, or find the mails. Raises UsageError for both or none."""
    if bool(mail_ids) == bool(state):
        raise click.UsageError("give the ids of mails, or --state")
    if state:
        return list(_found(state, filters))
    if any(value is not None for name, value in filters.items() if name != "lane"):
        raise click.UsageError("--code, --domain, --older-than and --younger-than go with --state")
    for mail_id in mail_ids:
        _lane_of(mail_id)
    return list(mail_ids)


def _found(state: str, filters: Mapping[str, Any]) -> "Iterator[MailReport]":
    from mailworker import mails  # noqa: PLC0415 - help must be quick

    older, younger = (
        None if seconds is None else dt.timedelta(seconds=seconds)
        for seconds in (filters["older_than"], filters["younger_than"])
    )
    told = {name: filters[name] for name in ("lane", "code", "domain")}
    return mails.find(state, older_than=older, younger_than=younger, **told)


def _tell(wanted: str, answers: Mapping[str, str]) -> None:
    """Count what became of the mails. Raises ClickException if it is not what was wanted for all of them."""
    counts = Counter(answers.values())
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
    if report.relay:
        rows.insert(4, ("relay", report.relay))
    if report.tenant:
        rows.insert(2, ("tenant", report.tenant))
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
