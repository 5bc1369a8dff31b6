"""The command line; only it and `commands` echo, draw bars and exit."""

from __future__ import annotations

import io
import signal
import sys
from importlib import import_module
from typing import Final

import click

from pipeline.errors import STOPPED, PipelineError, SettingsError

COMMANDS: Final = {
    "ingest": "pipeline.commands.ingest:ingest",
    "watch": "pipeline.commands.watch:watch",
    "retry": "pipeline.commands.retry:retry",
    "status": "pipeline.commands.catalog:status",
    "rejects": "pipeline.commands.catalog:rejects",
    "runs": "pipeline.commands.runs:runs",
    "verify": "pipeline.commands.verify:verify",
    "schedule": "pipeline.commands.schedule:schedule",
    "db": "pipeline.commands.db:db",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for, so that starting is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order people meet them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
def cli() -> None:
    """Turn zips of images into a checked, de-duplicated catalog in Postgres.

    Exit codes: 0 everything was delivered (refused images are normal); 1 something could not be delivered,
    or an archive was refused whole; 2 wrong usage; 3 the time of --time-limit was up.
    """


def main() -> None:
    """Run the command line; errors meant for people come without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names hold every letter there is, terminals do not.
            stream.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(STOPPED, err=True)
        sys.exit(1)
    except SettingsError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except PipelineError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else "The output cannot be written: "
        click.echo(f"Error: {place}{error.strerror or error}.", err=True)
        sys.exit(1)
    # What is done is done: a signal that comes while the interpreter cleans up changes nothing any more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status if isinstance(status, int) else 0)
