"""`mailworker stray`: messages on our queues that are not ours."""

from typing import TYPE_CHECKING

import click

from mailworker.cli.output import SettingsFault, moment, print_json, print_table

if TYPE_CHECKING:
    from mailworker.strays import Message

_UNREADABLE = "sealed with a key that is not here, or damaged"
_ALL = click.option("--all", "is_all", is_flag=True, help="All of them, instead of ids.")


@click.group("stray")
def command() -> None:
    """Look at messages on our queues that are not ours, and hand them back.

    Another app's task on one of our queues is not run and not lost: it is kept, sealed, until you say what becomes of
    it. So is a message for mailworker.send_email that cannot be a mail.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(as_json: bool) -> None:  # noqa: FBT001 - click's
    """List them, the oldest first: since when, where each was met, for which task it is, why it was not taken."""
    from mailworker import foreign  # noqa: PLC0415 - help must be quick

    rows = [(stray.id, stray.kept_ms, *_told(stray.message), stray.bytes) for stray in foreign.strays()]
    if as_json:
        names = ("id", "kept_ms", "queue", "task", "reason", "bytes")
        print_json({"strays": [dict(zip(names, row, strict=True)) for row in rows]})
    elif rows:
        head = ("stray", "since", "queue", "task", "why", "bytes")
        print_table(head, [(stray_id, moment(ms), *told) for stray_id, ms, *told in rows])


@command.command("return")
@click.argument("ids", nargs=-1)
@_ALL
@click.option("--queue", metavar="NAME", help="Where to; by default where it was met, if it is for our own task.")
def hand_back(ids: tuple[str, ...], queue: str | None, is_all: bool) -> None:  # noqa: FBT001 - click's
    """Publish them on the queue where they belong, and keep them no longer."""
    from mailworker import foreign  # noqa: PLC0415 - help must be quick

    click.echo(f"{foreign.hand_back(_chosen(ids, is_all=is_all), queue)} handed back")


@command.command("drop")
@click.argument("ids", nargs=-1)
@_ALL
def drop(ids: tuple[str, ...], is_all: bool) -> None:  # noqa: FBT001 - click's
    """Forget them for good."""
    from mailworker import foreign  # noqa: PLC0415 - help must be quick

    chosen = set(_chosen(ids, is_all=is_all))
    dropped = foreign.drop(sorted(chosen))
    click.echo(f"{dropped} dropped")
    if ids and dropped < len(chosen):
        raise click.ClickException(f"{len(chosen) - dropped} of these are no strays")


def _told(message: "Message | None") -> tuple[str, str, str]:
    return (message.queue, message.task or "-", message.reason) if message else ("?", "?", _UNREADABLE)


def _chosen(ids: tuple[str, ...], *, is_all: bool) -> list[str]:
    from mailworker import foreign  # noqa: PLC0415 - help must be quick

    if bool(ids) == is_all:
        raise SettingsFault("name strays by their ids, or all of them with --all")
    return [stray.id for stray in foreign.strays()] if is_all else list(ids)
