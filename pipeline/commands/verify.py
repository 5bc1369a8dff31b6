"""`verify`: check the catalog against the files, like a file-system check, and repair."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import database_options, format_option, make_settings
from pipeline.commands.run_options import place_options
from pipeline.commands.running import stopping_on_sigterm
from pipeline.settings import Settings
from pipeline.words import counted, printable

if TYPE_CHECKING:
    from pipeline.verify import Finding, Tally, Verify
    from pipeline.verify.memory import Memory

WRONG_CATALOG = (
    "Most files of the store are not in this catalog. Is it the right database? Orphans are left alone."
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a check is asked for beyond its settings."""

    paths: tuple[Path, ...]
    repair: bool
    restart: bool
    form: str


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[ARCHIVE|DIR]...")
@click.option("--repair", is_flag=True, help="Put back what can be put back, and remove orphans.")
@click.option("--restart", is_flag=True, help="Begin anew instead of going on where a check was interrupted.")
@format_option("PIPELINE_VERIFY_FORMAT", "human", "json")
@click.option(
    "--workers", type=click.IntRange(0, 1024), default=0, help="Files hashed at once; 0 means two per core."
)
@database_options
@place_options
def verify(paths: tuple[Path, ...], repair: bool, restart: bool, form: str, **values: Any) -> int:
    """Check that every stored file is there and hashes to its record, and that every file has its row.

    With --repair, lost files come back from the extracted tree, from the store, or from their archive where
    it lies in the input folder or at one of PATHS. Exit code: 0 when everything is in order or was repaired,
    1 when a problem is left.
    """
    with stopping_on_sigterm():
        return _verify(make_settings(values), Wishes(paths, repair, restart, form))


def _verify(settings: Settings, wishes: Wishes) -> int:
    from pipeline.catalog.schema import migrate  # noqa: PLC0415 - starting is quick
    from pipeline.database import connect, translated  # noqa: PLC0415
    from pipeline.isolation import cores  # noqa: PLC0415
    from pipeline.server import serving  # noqa: PLC0415
    from pipeline.verify import Hashers, Memory, Places, Verify  # noqa: PLC0415

    asides = (settings.input, settings.processed_folder, settings.failed_folder)
    places = Places(settings.extracted, settings.static, (*wishes.paths, *asides))
    with serving(settings.database_url, settings.data) as url:
        migrate(url)
        with (
            connect(url, autocommit=True) as connection,
            translated(),
            Hashers(settings.workers or 2 * cores()) as hashers,
        ):
            check = Verify(connection, places, hashers, repair=wishes.repair)
            with Memory(settings.data, check.identity()) as memory:
                return _check(check, memory, wishes)


def _check(check: Verify, memory: Memory, wishes: Wishes) -> int:
    from tqdm import tqdm  # noqa: PLC0415

    if wishes.restart:
        memory.forget()
    cursor, tally = memory.recall()
    if cursor.stage:
        click.echo(
            f"Going on where a check stopped, after {counted(tally.checked, 'file')} and "
            f"{counted(tally.problems, 'problem')}; --restart begins anew.",
            err=True,
        )
    if wishes.repair and not check.trusted:
        click.echo(WRONG_CATALOG, err=True)
    bar = tqdm(
        total=check.total(), initial=tally.checked, desc="files", unit="file", disable=None, leave=False
    )
    show = _json if wishes.form == "json" else _human
    with bar, show(tally) as tell, memory.keeping(cursor, tally):
        for step in check.run(cursor):
            with bar.external_write_mode():
                for finding in step.findings:
                    tell(finding)
            tally.add(step)
            bar.update(step.checked)
            memory.note(step.cursor, tally)
    return 1 if tally.problems else 0


@contextlib.contextmanager
def _human(tally: Tally) -> Iterator[Callable[[Finding], None]]:
    """Tell findings in lines, and the sum at the end."""

    def tell(finding: Finding) -> None:
        path = finding.path.removeprefix(str(Path.cwd()) + "/")
        detail = f"  ({printable(finding.detail)})" if finding.detail else ""
        click.echo(f"{finding.outlook:<8}  {finding.kind:<17}  {printable(path)}{detail}")

    yield tell
    checked = f"Checked {counted(tally.checked, 'file')}"
    repaired = f", {tally.repaired:,} repaired" if tally.repaired else ""
    if tally.problems:
        click.echo(f"{checked}: {counted(tally.problems, 'problem')} left{repaired}.")
    else:
        click.echo(f"{checked}: everything is in order{repaired}.")


@contextlib.contextmanager
def _json(tally: Tally) -> Iterator[Callable[[Finding], None]]:
    """Tell findings as one JSON document, also when the check is interrupted."""
    from pipeline.verify import SENTENCES  # noqa: PLC0415

    count, complete = 0, False

    def tell(finding: Finding) -> None:
        nonlocal count
        told = {
            "kind": finding.kind,
            "path": finding.path,
            "outlook": finding.outlook,
            "sentence": SENTENCES[finding.kind],
            "detail": finding.detail,
        }
        click.echo(("," if count else "") + "\n  " + json.dumps(told), nl=False)
        count += 1

    click.echo('{"findings": [', nl=False)
    try:
        yield tell
        complete = True
    finally:
        sums = json.dumps({**asdict(tally), "complete": complete})
        click.echo(f"{chr(10) if count else ''}], {sums[1:]}")
