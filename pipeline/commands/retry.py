"""`retry`: take again what was refused for a reason that may have changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import make_settings
from pipeline.commands.run_options import run_options
from pipeline.commands.running import Order, Wishes, find, run, spoken, stopping_on_sigterm
from pipeline.reasons import ARCHIVE_REASONS, MAY_CHANGE, MEMBER_REASONS, UNREFUSED
from pipeline.settings import Settings
from pipeline.words import counted, printable

if TYPE_CHECKING:
    from pipeline.inbox import Delivery
    from pipeline.sinks.interface import Sink


class Reason(click.Choice[str]):
    """The code of a refusal; what only says why an archive waits is told apart from what is no code."""

    def __init__(self) -> None:
        super().__init__(sorted({*MEMBER_REASONS, *ARCHIVE_REASONS} - UNREFUSED))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the code; fails on what is no refusal."""
        if value in UNREFUSED:
            self.fail(
                f"{value!r} is no refusal: such an archive is done, or waits for the next ingest", param, ctx
            )
        return super().convert(value, param, ctx)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[ARCHIVE|DIR]...")
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=Reason(),
    metavar="CODE",
    help="Take again what was refused for this reason, as rejects has it; may be given more than once.  "
    "[default: what new limits, new decoders or a repaired disk may change]",
)
@run_options
def retry(paths: tuple[Path, ...], reasons: tuple[str, ...], **values: Any) -> int:
    """Take again what failed, or was refused for a reason that may have changed.

    Archives are looked for in the input folder, in processed/ and failed/, and at PATHS. Give the options that
    have changed: retry --max-pixels 500000000.
    """
    settings, wishes = make_settings(values), Wishes.of(values)
    with stopping_on_sigterm(), spoken(wishes):
        return _retry(settings, wishes, paths, reasons or MAY_CHANGE)


def _retry(settings: Settings, wishes: Wishes, paths: Sequence[Path], reasons: Collection[str]) -> int:
    from pipeline.sinks import open_sink  # noqa: PLC0415 - starting is quick

    with open_sink(settings) as sink:
        deliveries = _reconsider(sink, list(_places(settings, paths)), reasons)
        if not deliveries:
            click.echo("Nothing to take again.", err=True)
            return 0
        return run(Order(settings, wishes, deliveries, "retry")).exit_code


def _places(settings: Settings, paths: Sequence[Path]) -> Iterator[Delivery]:
    for path in (*paths, settings.input, settings.processed_folder, settings.failed_folder):
        if path.exists():
            yield from find(settings, [path])


def _reconsider(sink: Sink, deliveries: list[Delivery], reasons: Collection[str]) -> list[Delivery]:
    """Open archives again that are still there; give their deliveries, each once."""
    from pipeline.retry import look_for  # noqa: PLC0415

    found = look_for(sink.refusals(reasons), deliveries)
    count = sink.reconsider(list(found.there), reasons)
    for candidate in found.gone:
        click.echo(
            f"{printable(candidate.name)} is not there any more; "
            "name where it is to take it again: retry PATH",
            err=True,
        )
    unique = {delivery.path: delivery for delivery in found.there.values()}
    if unique:
        members = f"{counted(count, 'member')} of " if count else ""
        click.echo(f"Taking {members}{counted(len(unique), 'archive')} again.", err=True)
    return list(unique.values())
