"""The command line, one module a noun.

Exit status: 0 done; 1 it failed; 2 the command or the settings are wrong; 128 + N stopped by signal N (130: Ctrl-C).
Law: what a person did wrong is one clear line on standard error, never a traceback. A command's module is imported when
the command runs, so that help is quick; what a machine may read goes to standard output alone.
"""

from importlib import import_module

import click

from mailworker.cli.output import explained

_COMMANDS = {
    "config": "Check the settings, or show them with secrets masked.",
    "demo": "Send varied mails through the whole road on this machine, and prove that all arrived.",
    "dev": "Run an embedded server, a mailbox, a worker and Flower until Ctrl-C.",
    "keys": "Make sealing keys, and replace an old one by a new one.",
    "lane": "Pause and resume lanes, for all workers at once.",
    "mail": "Look at mails.",
    "relay": "Check a relay, and open, close or hold it, for all workers at once.",
    "send": "Send an email.",
    "status": "Show what each lane holds.",
    "stray": "Look at messages on our queues that are not ours, and hand them back.",
    "suppress": "Say which addresses are not to be tried again.",
    "worker": "Run a Celery worker with the settings of this project, or check one.",
}


class _Commands(click.Group):
    """Knows its commands by name; loads one when it is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"mailworker.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run a command, and say in one line what a person did wrong."""
        with explained():
            return super().invoke(ctx)


_EPILOG = "Exit status: 0 done; 1 it failed; 2 the command or the settings are wrong; 128+N stopped by signal N."


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(package_name="mailworker", prog_name="mailworker")
def main() -> None:
    """mailworker: an outgoing-mail queue that survives kill -9."""
