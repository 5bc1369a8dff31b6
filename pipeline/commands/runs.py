"""`runs`: the history of runs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import database_options, format_option, option
from pipeline.words import cell, printable

if TYPE_CHECKING:
    from pipeline.catalog.runs import RunRow


@click.command()
@database_options
@format_option("PIPELINE_FORMAT", "table", "csv", "json")
@option("--limit", "PIPELINE_LIMIT", type=click.IntRange(1), default=20, help="Runs shown, at most.")
def runs(database_url: str | None, data: Path, form: str, limit: int) -> None:
    """List the last runs, the newest first, each with its balance; those that died are recognised."""
    from pipeline.catalog.runs import bury, recent  # noqa: PLC0415
    from pipeline.catalog.schema import migrate  # noqa: PLC0415
    from pipeline.database import connect, translated  # noqa: PLC0415
    from pipeline.server import serving  # noqa: PLC0415

    with serving(database_url, data) as url:
        migrate(url)
        with connect(url) as connection, translated():
            bury(connection)
            rows = list(recent(connection, limit))
    {"table": _table, "csv": _csv, "json": _json}[form](rows)


def _table(rows: Iterable[RunRow]) -> None:
    from pipeline.progress import balance_line  # noqa: PLC0415

    for row in rows:
        archives = ", ".join(f"{count:,} {verdict}" for verdict, count in row.archives.items() if count)
        code = "" if row.exit_code is None else f" exit {row.exit_code}"
        click.echo(
            f"{row.started:%Y-%m-%d %H:%M:%S%z}  {_seconds(row):>8}  {row.state + code:<15}  {row.command}"
            f"  {archives or 'no archives'}  {balance_line(row.balance)}"
        )
        if row.message:
            click.echo(f"    {printable(row.message)}")
    if not rows:
        click.echo("There was no run yet.", err=True)


def _seconds(row: RunRow) -> str:
    return f"{(row.finished - row.started).total_seconds():,.1f} s" if row.finished else ""


def _flat(row: RunRow) -> dict[str, object]:
    return {
        "run": str(row.id),
        "command": row.command,
        "sink": row.sink,
        "host": row.host,
        "pid": row.pid,
        "state": row.state,
        "started": row.started.isoformat(),
        "finished": row.finished.isoformat() if row.finished else None,
        "exit_code": row.exit_code,
        "message": row.message,
    }


def _csv(rows: Iterable[RunRow]) -> None:
    flat = [
        _flat(row)
        | {f"archives_{verdict}": count for verdict, count in row.archives.items()}
        | asdict(row.balance)
        for row in rows
    ]
    writer = csv.DictWriter(sys.stdout, list(flat[0]) if flat else ["run"])
    writer.writeheader()
    writer.writerows(
        {name: cell(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in flat
    )


def _json(rows: Iterable[RunRow]) -> None:
    document = [_flat(row) | {"archives": row.archives, "balance": asdict(row.balance)} for row in rows]
    click.echo(json.dumps(document, indent=2))
