"""Run the benchmark: `make bench`, or `python -m bench --help`."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from bench.chart import chart
from bench.measure import Cost, RunFailed, adopt_orphans, measure
from bench.results import Line, Results
from bench.room import Room, open_room
from bench.shapes import SHAPES, Case, Inputs, cases

FAILED = "it failed; its words are above"


def run_once(room: Room, case: Case) -> Cost:
    """Measure one run of one contestant."""
    if case.keeps and case.like:
        return measure(case.start(case.like), case.like.environ, case.like.folder, room.postmaster)
    with room.desk(case.archives, case.like) as desk, case.beside(desk):
        return measure(case.start(desk), desk.environ, desk.folder, room.postmaster)


def contest(room: Room, contestants: list[Case], rounds: int) -> list[Line]:
    """Measure contestants in turns, so that a change of the machine's mood meets all of them."""
    lines = [Line(case.name, case.images, case.missing) for case in contestants]
    for number in range(rounds):
        pairs = list(zip(contestants, lines, strict=True))
        for case, line in pairs if number % 2 == 0 else reversed(pairs):
            if line.missing:
                continue
            try:
                cost = run_once(room, case)
            except RunFailed as failure:
                line.missing = FAILED
                click.echo(str(failure), err=True)
                continue
            line.runs.append(cost)
            click.echo(f"  round {number + 1}  {case.name:<36} {cost.seconds:8.2f} s", err=True)
    return lines


@click.command()
@click.option(
    "--photos", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Zip of JPEGs to use."
)
@click.option(
    "--scale", type=click.FloatRange(0.0001), default=1.0, show_default=True, help="Part of the full size."
)
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Runs of each contestant."
)
@click.option("--shape", "names", type=click.Choice(list(SHAPES)), multiple=True, help="Only these shapes.")
@click.option(
    "--database-url", envvar="DATABASE_URL", help="Postgres to measure on instead of an embedded one."
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path(".data/bench"), show_default=True
)
def main(  # noqa: PLR0913, PLR0917 - one for each option
    photos: Path | None,
    scale: float,
    rounds: int,
    names: tuple[str, ...],
    database_url: str | None,
    out: Path,
) -> int:
    """Measure the pipeline beside the floor, a plain script and command-line peers."""
    adopt_orphans()
    results = Results(scale, rounds, photos.name if photos else "drawn")
    with open_room(database_url) as room:
        for name in names or SHAPES:
            with ExitStack() as stack:
                click.echo(f"{name}: packing", err=True)
                inputs = Inputs(room, scale, photos.resolve() if photos else None, stack)
                for _, sentence, contestants in cases(inputs, [name]):
                    results.shapes[name] = (sentence, contest(room, contestants, rounds))
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results.as_dict(), indent=1) + "\n", "utf-8")
    (out / "chart.svg").write_text(chart(results), "utf-8")
    for line in results.text():
        click.echo(line)
    click.echo(f"\nWritten: {out / 'results.json'}, {out / 'chart.svg'}")
    return int(any(line.missing == FAILED for _, lines in results.shapes.values() for line in lines))


if __name__ == "__main__":
    sys.exit(main(standalone_mode=False))
