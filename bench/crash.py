"""Kill runs at many points, run again, verify: `python -m bench.crash --points 500`.

Each point starts an ingest with several workers over the same archives, kills something with SIGKILL at its
moment, runs the ingest again, and then compares: `verify` must find nothing, the catalog's tables and every file
must be those of an undisturbed run, and every balance must close.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import click

from bench.lane import KINDS, Lane
from bench.sample import encoded, picture


@dataclass(slots=True)
class Campaign:
    """What a campaign found: points by what was killed, how many met a living run, and what went wrong."""

    points: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def note(self, kind: str, met: bool, trouble: list[str]) -> None:
        """Count one point."""
        self.points[kind] += 1
        self.met[kind] += met
        self.failures += trouble

    def as_dict(self) -> dict[str, object]:
        """Give the figures as a JSON document."""
        return {
            "points": dict(self.points),
            "met": dict(self.met),
            "failures": self.failures,
            "seconds": round(self.seconds, 1),
        }

    def lines(self) -> Iterator[str]:
        """Say it."""
        yield f"{'killed':<22}{'points':>8}{'run was alive':>16}"
        for kind, count in sorted(self.points.items()):
            yield f"{kind:<22}{count:>8}{self.met[kind]:>16}"
        yield f"{'all':<22}{self.points.total():>8}{self.met.total():>16}"
        yield f"{len(self.failures)} differences in {self.seconds:,.0f} s"
        yield from self.failures


def make_archives(folder: Path, archives: int, members: int) -> None:
    """Write archives that share some images, with damaged members and other files among them."""
    originals = [encoded(picture(seed, (48, 32)), "JPEG", quality=70) for seed in range(20)]
    for number in range(archives):
        with zipfile.ZipFile(folder / f"{number:02}.zip", "w") as archive:
            for index in range(members):
                data = originals[(number * 7 + index) % len(originals)]
                data = data if index % 5 == 0 else data + f"{number}/{index}".encode()
                data = data[: len(data) // 2] if index % 11 == 3 else data
                archive.writestr(f"folder {index % 4}/{index:04}.jpg", data)
            archive.writestr("notes.txt", b"no picture")


def campaign(points: int, lanes: int, seed: int, folder: Path) -> Campaign:
    """Run a campaign in some lanes side by side, each with its own folders and Postgres."""
    originals = folder / "archives"
    originals.mkdir()
    make_archives(originals, archives=4, members=80)
    found = Campaign()
    started = time.monotonic()
    with ThreadPoolExecutor(lanes) as pool:
        shares = [list(range(number, points, lanes)) for number in range(lanes)]
        done = [
            pool.submit(_run_lane, folder / f"lane{number}", originals, share, points, seed, found)
            for number, share in enumerate(shares)
        ]
        for future in done:
            future.result()
    found.seconds = time.monotonic() - started
    return found


def _run_lane(  # noqa: PLR0913, PLR0917 - a lane's share of the campaign
    folder: Path, archives: Path, share: list[int], points: int, seed: int, found: Campaign
) -> None:
    with Lane(folder, archives) as lane:
        undisturbed = lane.undisturbed()
        for point in share:
            rng = random.Random(seed * 1_000_003 + point)  # noqa: S311 - a campaign must be repeatable
            kind = KINDS[point % len(KINDS)]
            moment = (point + rng.random()) / points
            met, trouble = lane.point(kind, moment, undisturbed, rng)
            found.note(kind, met, [f"point {point} ({kind} at {moment:.3f}): {text}" for text in trouble])
            for text in trouble:
                click.echo(f"point {point} ({kind} at {moment:.3f}): {text}", err=True)
            if sum(found.points.values()) % 25 == 0:
                click.echo(
                    f"{sum(found.points.values())} points, {len(found.failures)} differences", err=True
                )


@click.command()
@click.option("--points", type=click.IntRange(1), default=500, show_default=True)
@click.option("--lanes", type=click.IntRange(1), default=2, show_default=True, help="Runs side by side.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), default=None, help="Write the figures here.")
def main(points: int, lanes: int, seed: int, path: Path | None) -> None:
    """Kill runs at many points, run again, and compare with an undisturbed run."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-crash-"))
    folder.chmod(0o755)
    try:
        found = campaign(points, lanes, seed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for line in found.lines():
        click.echo(line)
    if path:
        path.write_text(json.dumps(found.as_dict(), indent=2) + "\n", "utf-8")
    sys.exit(1 if found.failures else 0)


if __name__ == "__main__":
    main()
