"""`mailworker send`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mailworker.cli.durations import Duration
from mailworker.cli.output import FAILED, print_json

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("send")
@click.option("--from", "from_", required=True, metavar="ADDRESS", help='"Name <local@domain>" or "local@domain".')
@click.option("--to", multiple=True, metavar="ADDRESS", help="May be repeated, as --cc, --bcc and --attach.")
@click.option("--cc", multiple=True, metavar="ADDRESS")
@click.option("--bcc", multiple=True, metavar="ADDRESS")
@click.option("--subject", default="", metavar="TEXT")
@click.option("--text", "text_body", metavar="TEXT", help="The body; or --text-file.")
@click.option("--text-file", type=click.File(encoding="utf-8"), help="Read the body from a file; - is standard input.")
@click.option("--html", "html_body", metavar="HTML")
@click.option("--attach", multiple=True, type=_FILE)
@click.option("--lane", metavar="NAME")
@click.option("--priority", type=click.IntRange(0, 9), help="0 is sent first, 9 last.")
@click.option("--countdown", type=Duration(), help="Not before, e.g. 30s, 5m, 2h or 1d from now.")
@click.option("--key", "idempotency_key", metavar="KEY", help="The same key makes one mail, however often it is sent.")
@click.option("--wait", type=Duration(), help="Wait until it has ended, so long at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(**given: Any) -> None:
    """Send an email: print the id of the mail once the ledger has accepted it.

    With --wait, exit status 1 tells that it did not reach all its recipients in time.
    """
    wait: float | None = given.pop("wait")
    as_json: bool = given.pop("as_json")
    sent = _send(given, wait)
    if as_json:
        print_json({"id": sent.id, "state": sent.state})
    else:
        click.echo(sent.id if wait is None else f"{sent.id}  {sent.state}")
    if wait is not None and sent.state != "sent":
        raise click.exceptions.Exit(FAILED)


@dataclass(frozen=True, slots=True)
class _Sent:
    id: str
    state: str


def _send(given: dict[str, Any], wait: float | None) -> _Sent:
    from mailworker.celery import app  # noqa: PLC0415 - help must be quick
    from mailworker.tasks import send_email  # noqa: PLC0415 - the same
    from smtp_transport.message import Attachment, Email  # noqa: PLC0415 - the same

    options = {name: given.pop(name) for name in ("lane", "priority", "countdown", "idempotency_key")}
    text_file = given.pop("text_file")
    if text_file is not None and given["text_body"] is not None:
        raise click.UsageError("give --text or --text-file, not both")
    if text_file is not None:
        given["text_body"] = text_file.read()
    files = tuple(Attachment.from_file(path) for path in given.pop("attach"))
    result = send_email.apply_async((Email(**given, attachments=files),), **options)
    if wait is not None:
        app.runtime.ledger.wait_ended(result.id, wait)
    record = app.runtime.ledger.read(result.id)
    return _Sent(result.id, "unknown" if record is None else str(record.state))
