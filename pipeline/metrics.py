"""The account of a run for Prometheus, in the text format that node_exporter's textfile collector reads."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.history import Ending, RunState
from pipeline.records import ArchiveVerdict
from pipeline.report import Report
from pipeline.textfile import write_text

PREFIX = "image_pipeline_"
SUCCESS = f"{PREFIX}last_success_timestamp_seconds"


def write_metrics(path: Path, report: Report, ending: Ending) -> None:
    """Write the metrics of a run; raises `StoreError`. The time of the last success is kept from the old file."""
    now = time.time()
    good = ending.exit_code == 0 and ending.state is RunState.FINISHED
    success = now if good else _last_success(path)
    write_text(path, "".join(_lines(report, ending, now, success)), "The metrics file")


def _lines(report: Report, ending: Ending, now: float, success: float) -> Iterator[str]:
    balance, run = report.balance, report.run
    counts = dict.fromkeys(ArchiveVerdict, 0) | report.verdicts
    yield from _metric("run_info", "Which run this is.", {f'run="{run.id}",command="{run.command}"': 1})
    yield from _metric("last_run_timestamp_seconds", "When the last run ended.", {"": now})
    yield from _metric("last_success_timestamp_seconds", "When a run last exited with 0.", {"": success})
    yield from _metric("run_exit_code", "What the last run exited with.", {"": ending.exit_code})
    yield from _metric("run_duration_seconds", "How long the last run took.", {"": report.seconds})
    yield from _metric("run_bytes", "Bytes of images that the last run took in.", {"": report.bytes})
    yield from _metric(
        "run_archives",
        "Archives of the last run.",
        {f'verdict="{verdict}"': count for verdict, count in counts.items()},
    )
    members = {
        f'verdict="{verdict}"': getattr(balance, verdict)
        for verdict in ("stored", "duplicate", "rejected", "ignored", "failed")
    }
    yield from _metric("run_members", "Members of the archives of the last run.", members)
    reasons = {f'reason="{reason}"': count for reason, count in sorted(report.reasons.items())}
    yield from _metric("run_unstored_members", "Members not stored in the last run, by reason.", reasons)
    yield from _metric("run_warnings", "Warnings of the last run.", {"": len(report.warnings)})


def _metric(name: str, help_: str, values: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {help_}\n# TYPE {PREFIX}{name} gauge\n"
    for labels, value in values.items():
        yield f"{PREFIX}{name}{{{labels}}} {value}\n" if labels else f"{PREFIX}{name} {value}\n"


def _last_success(path: Path) -> float:
    try:
        found = re.search(rf"^{SUCCESS} ([\d.]+)$", path.read_text("utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        found = None
    return float(found.group(1)) if found else 0.0
