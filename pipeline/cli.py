"""The command line; only it and `commands` echo, draw bars and exit."""

from __future__ import annotations

import gc
import io
import os
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
        # The list of commands cuts what it shortens itself in the middle of the sentence.
        command.short_help = (command.help or "").partition("\n\n")[0]
        return command


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="image-pipeline", prog_name="image-pipeline")
def cli() -> None:
    """Turn zips of images into a checked, de-duplicated catalog in Postgres.

    Exit codes: 0 everything that was ready was delivered (refused images are normal); 1 something could not be
    delivered, or an archive was refused whole; 2 wrong usage; 3 nothing is wrong, but run again: the time of
    --time-limit was up, or an archive that was named waits.
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
        code = status if isinstance(status, int) else 0
    except BaseException as error:  # noqa: BLE001 - what is not for people goes on
        _settle_down()
        code = _told(error)
    _settle_down()
    sys.exit(code)


def _settle_down() -> None:
    """Let signals change nothing any more: what is done is done, and what is left is to say how it ended.

    Nor is memory looked through for garbage once more, which takes as long as a tenth of a run with nothing new.
    """
    gc.freeze()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _told(error: BaseException) -> int:
    """Say what ended a command, and give the exit code; errors that are not meant for people go on."""
    match error:
        case click.ClickException():
            error.show()
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            click.echo(STOPPED, err=True)
        case PipelineError():
            click.echo(f"Error: {error}", err=True)
        case OSError():
            place = f"{error.filename}: " if error.filename else "The output cannot be written: "
            click.echo(f"Error: {place}{error.strerror or error}.", err=True)
            # What is still buffered would fail once more at the very end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        case _:
            raise error
    return 2 if isinstance(error, SettingsError) else 1
