"""What was measured: medians, ratios and goals, as text and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.measure import Cost

MIB = 1 << 20


class Goal(NamedTuple):
    """`case` is to reach `least` times the speed of `other` (or to take at most 1/`least` times as long)."""

    shape: str
    case: str
    other: str
    least: float


GOALS = (
    Goal("photos", "pipeline, decode", "floor, decode", 0.85),
    Goal("photos", "pipeline, decode", "plain script", 2.3),
    Goal("photos", "pipeline, header", "floor, header", 0.7),
    Goal("tiny", "pipeline, decode", "floor, decode", 0.5),
    Goal("tiny", "pipeline, decode", "plain script", 5.0),
    Goal("again", "pipeline, one known", "import click, psycopg", 1 / 2),
    Goal("again", "pipeline, one known, embedded", "import click, psycopg", 1 / 4),
    Goal("again", "pipeline, many known", "import click, psycopg", 1 / 2),
    Goal("again", "pipeline, many known, embedded", "import click, psycopg", 1 / 4),
    Goal("delivery", "pipeline, --sink api", "floor, both sides", 0.6),
    Goal("repeated", "pipeline, all duplicates", "pipeline, fresh", 1.0),
)


@dataclass(slots=True)
class Line:
    """All runs of one contestant on one shape."""

    name: str
    images: int
    missing: str = ""
    runs: list[Cost] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def cpu(self) -> float:
        """Median CPU time, the server's included."""
        return statistics.median(run.cpu + run.server_cpu for run in self.runs)

    def peak(self, role: str) -> int:
        """Give the highest peak of a role over all runs, in bytes."""
        return max((run.peaks.get(role, 0) for run in self.runs), default=0)


@dataclass(slots=True)
class Results:
    """Everything measured."""

    scale: float
    rounds: int
    photos: str
    shapes: dict[str, tuple[str, list[Line]]] = field(default_factory=dict)

    def ratio(self, shape: str, case: str, other: str) -> tuple[float, float] | None:
        """Give how many times faster a case is than another: by wall time (median over rounds), and by CPU."""
        lines = {line.name: line for line in self.shapes.get(shape, ("", []))[1]}
        if not (case in lines and other in lines and lines[case].runs and lines[other].runs):
            return None
        pairs = list(zip(lines[case].runs, lines[other].runs, strict=False))
        scale = lines[case].images / lines[other].images if shape == "growth" else 1.0
        wall = statistics.median(theirs.seconds / ours.seconds * scale for ours, theirs in pairs)
        return wall, lines[other].cpu / lines[case].cpu * scale if lines[case].cpu else 0.0

    def text(self) -> Iterator[str]:
        """Yield the lines of a report for people."""
        yield f"{machine()}; scale {self.scale:g}, {self.rounds} rounds, photographs: {self.photos}"
        for sentence, lines in self.shapes.values():
            yield f"\n{sentence}"
            yield f"  {'':<36}{'seconds':>9}{'CPU s':>9}{'images/s':>10}{'main MiB':>10}{'worker MiB':>12}"
            yield from (_row(line) for line in lines)
        yield "\nGoals (times the speed of the other; wall time, and CPU time of all processes):"
        for goal in GOALS:
            if found := self.ratio(*goal[:3]):
                mark = "met" if found[0] >= goal.least else "NOT MET"
                yield (
                    f"  {mark:<8}{goal.shape:>9}: {goal.case} / {goal.other}: "
                    f"{found[0]:.2f} (CPU {found[1]:.2f}), goal {goal.least:.2f}"
                )

    def as_dict(self) -> dict[str, object]:
        """Give the JSON document."""
        return {
            "machine": machine(),
            "scale": self.scale,
            "rounds": self.rounds,
            "photographs": self.photos,
            "shapes": {
                name: {
                    "title": sentence,
                    "contestants": [
                        {
                            "name": line.name,
                            "images": line.images,
                            "left_out": line.missing,
                            "median_seconds": line.seconds if line.runs else None,
                            "median_cpu_seconds": line.cpu if line.runs else None,
                            "runs": [asdict(run) for run in line.runs],
                        }
                        for line in lines
                    ],
                }
                for name, (sentence, lines) in self.shapes.items()
            },
            "goals": [
                {**goal._asdict(), "wall": found[0], "cpu": found[1], "met": found[0] >= goal.least}
                for goal in GOALS
                if (found := self.ratio(*goal[:3]))
            ],
        }


def _row(line: Line) -> str:
    if line.missing:
        return f"  {line.name:<36}  left out: {line.missing}"
    if not line.runs:
        return f"  {line.name:<36}  not run"
    peaks = "".join(
        f"{line.peak(role) / MIB:>{width}.0f}" if line.peak(role) else f"{'':>{width}}"
        for role, width in (("main", 10), ("worker", 12))
    )
    rate = f"{line.images / line.seconds:>10,.0f}" if line.images > 1 else f"{'':>10}"
    return f"  {line.name:<36}{line.seconds:>9.2f}{line.cpu:>9.2f}{rate}{peaks}"


def machine() -> str:
    """Describe the machine: cores, processor, memory, system and Python."""
    model = ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    except (OSError, ValueError):
        memory = 0
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{cores} cores {model or platform.machine()}, {memory} GiB, {system}, Python {platform.python_version()}"
