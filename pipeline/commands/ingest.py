"""`ingest`: take archives in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import make_settings, option
from pipeline.commands.run_options import run_options
from pipeline.commands.running import Order, Wishes, find, run, spoken, stopping_on_sigterm


@click.command()
@click.argument(
    "paths",
    nargs=-1,
    type=click.Path(path_type=Path, exists=True, readable=False),
    metavar="[ARCHIVE|DIR]...",
)
@option(
    "--plan",
    "PIPELINE_PLAN",
    is_flag=True,
    help="Judge archives from their directories alone, known ones like new ones, and write nothing.",
)
@run_options
def ingest(paths: tuple[Path, ...], plan: bool, **values: Any) -> int:
    """Take archives in: every zip in the input folder, or those named."""
    settings, wishes = make_settings(values), Wishes.of(values)
    if plan:
        from pipeline.commands.plan import plan as judge  # noqa: PLC0415 - starting is quick

        return judge(settings, paths, wishes.report)
    if not paths:
        settings.input.mkdir(parents=True, exist_ok=True)
    named = frozenset(path for path in paths if not path.is_dir())
    with stopping_on_sigterm(), spoken(wishes):
        return run(Order(settings, wishes, find(settings, paths), named=named)).exit_code
