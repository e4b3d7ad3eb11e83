"""`mailworker dev`."""

import shlex
from importlib.util import find_spec
from pathlib import Path

import click

from mailworker.cli.output import print_pairs
from mailworker.dev.serve import Places, serve
from mailworker.settings import load_settings


@click.command("dev")
@click.option("--flower/--no-flower", default=True, help="With Celery's dashboard (default) or without.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".mailworker/dev"),
    show_default=True,
    help="Where the ledger, the mails and the logs are kept; they stay.",
)
def command(flower: bool, data: Path) -> None:  # noqa: FBT001 - click's option
    """Run an embedded server, a mailbox, a worker and Flower until Ctrl-C.

    Every mail ends up in the mailbox: none leaves the machine. Your own lanes, limits and sealing keys hold here too.
    """
    if flower and find_spec("flower") is None:
        raise ModuleNotFoundError("No module named 'flower'", name="flower")
    serve(data, load_settings(), with_flower=flower, tell=_tell)


def _tell(places: Places) -> None:
    host, port = places.smtp
    rows: list[tuple[str, object]] = [
        ("mails", places.mails),
        ("mailbox", f"{host}:{port} (SMTP; …+refuse@ is refused, …+later@ is put off at first)"),
        ("ledger", places.server),
        ("logs", places.logs),
    ]
    if places.socket.parent != places.server:
        rows.append(("socket", f"{places.socket} (the path of the data folder is too long for one)"))
    if places.flower:
        url, login = places.flower
        rows.append(("Flower", f"{url} (login {login})"))
    print_pairs(rows)
    click.echo("\nFor a web app, in its shell:\n")
    for name, value in places.exports.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo("\nCtrl-C stops everything.")
