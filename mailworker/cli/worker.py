"""`mailworker worker`."""

import os
import sys

import click

from mailworker.cli.output import SettingsFault
from mailworker.relay import smtp_config
from mailworker.settings import load_settings


@click.command("worker", context_settings={"ignore_unknown_options": True})
@click.argument("celery_options", nargs=-1, type=click.UNPROCESSED)
def command(celery_options: tuple[str, ...]) -> None:
    """Run a Celery worker with the settings of this project.

    The same as `celery -A mailworker worker --loglevel=INFO`, with the settings checked first. CELERY_OPTIONS go to
    `celery worker` as they are; `celery worker --help` lists them.
    """
    settings = load_settings()
    for relay in settings.used_relays:
        smtp_config(relay, settings.relays[relay])
    argv = [sys.executable, "-m", "celery", "-A", "mailworker", "worker", "--loglevel=INFO", *celery_options]
    try:
        os.execv(sys.executable, argv)  # noqa: S606 - our own interpreter; no shell reads the words
    except OSError as error:
        raise SettingsFault(f"cannot run {sys.executable}: {error.strerror}") from None
