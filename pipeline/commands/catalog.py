"""`status` and `rejects`: what the catalog says of archives, and of what is not stored."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import database_options, format_option
from pipeline.words import cell, counted, printable

if TYPE_CHECKING:
    from pipeline.catalog.queries import ArchiveRow, UnstoredRow


@click.command()
@database_options
def status(database_url: str | None, data: Path) -> None:
    """List the archives seen so far, with their balances."""
    from pipeline.catalog.queries import archives, count_images  # noqa: PLC0415
    from pipeline.catalog.schema import migrate  # noqa: PLC0415
    from pipeline.database import connect, translated  # noqa: PLC0415
    from pipeline.progress import balance_line  # noqa: PLC0415
    from pipeline.records import Balance  # noqa: PLC0415
    from pipeline.server import serving  # noqa: PLC0415

    with serving(database_url, data) as url:
        migrate(url)
        with connect(url) as connection, translated():
            total, count = Balance(), 0
            for row in archives(connection):
                count += 1
                total += row.balance
                click.echo(_archive_line(row))
            images = count_images(connection)
    click.echo(f"{counted(count, 'archive')}, {counted(images, 'image')}. {balance_line(total)}.")


def _archive_line(row: ArchiveRow) -> str:
    from pipeline.progress import balance_line  # noqa: PLC0415

    why = f"  ({row.reason}{': ' + printable(row.detail) if row.detail else ''})" if row.reason else ""
    return f"{row.state:<8}  {printable(row.name)}{why}  {balance_line(row.balance)}"


@click.command()
@database_options
@format_option("PIPELINE_FORMAT", "table", "csv", "json")
def rejects(database_url: str | None, data: Path, form: str) -> None:
    """List what is not stored, archives refused whole and members: archive, member, verdict, reason, detail.

    Archives come first; their member is empty. As CSV it is safe in terminals and spreadsheets: what does not print
    is spelled (\\n, \\x1b), a backslash is doubled, and what looks like a formula has an apostrophe in front. JSON
    has every name as it is.
    """
    from pipeline.catalog.queries import refused, unstored  # noqa: PLC0415
    from pipeline.catalog.schema import migrate  # noqa: PLC0415
    from pipeline.database import connect, translated  # noqa: PLC0415
    from pipeline.server import serving  # noqa: PLC0415

    with serving(database_url, data) as url:
        migrate(url)
        with connect(url) as connection, translated():
            {"table": _table, "csv": _csv, "json": _json}[form](refused(connection), unstored(connection))


def _table(archives: Iterator[UnstoredRow], members: Iterator[UnstoredRow]) -> None:
    counts: Counter[str] = Counter()
    for row in archives:
        counts[row.verdict] += 1
        _line(row, "whole archive" if row.verdict == "rejected" else "not finished")
    found = 0
    for found, row in enumerate(members, 1):  # noqa: B007 - the last count is wanted
        _line(row, printable(row.member))
    parts = [f"{counted(found, 'member')} not stored"] * bool(found)
    parts += [f"{counted(count, 'archive')} {verdict}" for verdict, count in counts.items()]
    click.echo(f"{', '.join(parts)}." if parts else "Every member is stored.", err=True)


def _line(row: UnstoredRow, what: str) -> None:
    line = f"{row.verdict:<8}  {row.reason:<18}  {printable(row.archive)}: {what}"
    click.echo(line + (f"  ({printable(row.detail)})" if row.detail else ""))


def _csv(archives: Iterator[UnstoredRow], members: Iterator[UnstoredRow]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(("archive", "member", "verdict", "reason", "detail"))
    writer.writerows([cell(text) for text in row] for row in chain(archives, members))


def _json(archives: Iterator[UnstoredRow], members: Iterator[UnstoredRow]) -> None:
    click.echo("[", nl=False)
    for number, row in enumerate(chain(archives, members)):
        click.echo(("," if number else "") + "\n" + json.dumps(row._asdict()), nl=False)
    click.echo("\n]")
