"""`ingest`: take archives in."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click

from pipeline.commands.options import ByteSize, database_options, make_settings, option
from pipeline.settings import Limits, Settings

_DEFAULT, _LIMITS = Settings(), Limits()
_FOLDER = click.Path(path_type=Path, file_okay=False)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a run is asked for beyond its settings."""

    paths: tuple[Path, ...]
    plan: bool
    report: Path | None
    strict: bool


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[ARCHIVE|DIR]...")
@option(
    "--sink",
    "PIPELINE_SINK",
    type=click.Choice(["postgres"]),
    default=_DEFAULT.sink,
    help="Where records go.",
)
@database_options
@option(
    "--input", "PIPELINE_INPUT", type=_FOLDER, default=_DEFAULT.input, help="Folder zips are dropped into."
)
@option(
    "--extracted",
    "PIPELINE_EXTRACTED",
    type=_FOLDER,
    default=_DEFAULT.extracted,
    help="Folder images are extracted to.",
)
@option(
    "--static",
    "PIPELINE_STATIC",
    type=_FOLDER,
    default=_DEFAULT.static,
    help="Folder of the content-addressed store.",
)
@option(
    "--batch-size",
    "PIPELINE_BATCH_SIZE",
    type=click.IntRange(1, 100_000),
    default=_DEFAULT.batch_size,
    help="Records in a batch, at most.",
)
@option(
    "--batch-bytes",
    "PIPELINE_BATCH_BYTES",
    type=ByteSize(),
    default=_DEFAULT.batch_bytes,
    help="Bytes of images in a batch, at most.",
)
@option(
    "--workers",
    "PIPELINE_WORKERS",
    type=click.IntRange(0, 1024),
    default=_DEFAULT.workers,
    help="Worker processes; 0 means one per core.",
)
@option(
    "--engine",
    "PIPELINE_ENGINE",
    type=click.Choice(["serial", "processes"]),
    default=_DEFAULT.engine,
    help="What runs the work; serial is for debugging.",
)
@option(
    "--check",
    "PIPELINE_CHECK",
    type=click.Choice(["header", "decode"]),
    default=_DEFAULT.check,
    help="How hard to look at an image.",
)
@click.option("--plan", is_flag=True, help="Preflight only: judge archives and write nothing.")
@option(
    "--report",
    "PIPELINE_REPORT",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write the account of the run to this file, as JSON.",
)
@option("--strict", "PIPELINE_STRICT", is_flag=True, help="Exit with 1 if any member is rejected.")
@option(
    "--zip-encoding",
    "PIPELINE_ZIP_ENCODING",
    default=None,
    help="Encoding of names that are not marked as UTF-8.  [default: cp437]",
)
@option(
    "--max-member-bytes",
    "PIPELINE_MAX_MEMBER_BYTES",
    type=ByteSize(),
    default=_LIMITS.max_member_bytes,
    help="Largest member taken.",
)
@option(
    "--max-archive-bytes",
    "PIPELINE_MAX_ARCHIVE_BYTES",
    type=ByteSize(),
    default=_LIMITS.max_archive_bytes,
    help="Largest sum of members in an archive.",
)
@option(
    "--max-members",
    "PIPELINE_MAX_MEMBERS",
    type=click.IntRange(1),
    default=_LIMITS.max_members,
    help="Most members in an archive.",
)
@option(
    "--max-ratio",
    "PIPELINE_MAX_RATIO",
    type=click.FloatRange(1),
    default=_LIMITS.max_ratio,
    help="Most bytes out for each byte in.",
)
@option(
    "--max-pixels",
    "PIPELINE_MAX_PIXELS",
    type=click.IntRange(1),
    default=_LIMITS.max_pixels,
    help="Most pixels in an image.",
)
@option(
    "--timeout",
    "PIPELINE_TIMEOUT",
    type=click.FloatRange(0.001),
    default=_LIMITS.timeout,
    help="Seconds one image may take.",
)
@option(
    "--worker-memory",
    "PIPELINE_WORKER_MEMORY",
    type=ByteSize(),
    default=_LIMITS.worker_memory,
    help="Memory one worker may have.",
)
def ingest(**values: Any) -> int:
    """Take archives in: every zip in the input folder, or those named."""
    wishes = Wishes(values.pop("paths"), values.pop("plan"), values.pop("report"), values.pop("strict"))
    settings = make_settings(values)
    if not wishes.paths:
        settings.input.mkdir(parents=True, exist_ok=True)
    if wishes.plan:
        from pipeline.commands.plan import plan  # noqa: PLC0415 - starting is quick

        return plan(settings, wishes.paths, wishes.report)
    with _stopping_on_sigterm():
        return _ingest(settings, wishes)


def _ingest(settings: Settings, wishes: Wishes) -> int:
    from pipeline.commands.closing import close  # noqa: PLC0415
    from pipeline.engines import make_engine  # noqa: PLC0415
    from pipeline.inbox import discover  # noqa: PLC0415
    from pipeline.ingest import Ingest  # noqa: PLC0415
    from pipeline.progress import Display  # noqa: PLC0415
    from pipeline.report import Report  # noqa: PLC0415
    from pipeline.server import serving  # noqa: PLC0415
    from pipeline.sinks import open_sink  # noqa: PLC0415
    from pipeline.store import Store  # noqa: PLC0415
    from pipeline.work import Workbench  # noqa: PLC0415

    report = Report()
    deliveries = list(discover(wishes.paths, settings.input))
    bench = Workbench(settings.extracted, settings.static, settings.limits, settings.check)
    store = Store(settings.extracted, settings.static)
    engine = make_engine(settings.engine, bench, settings.workers)
    with (
        serving(settings.database_url, settings.data) as url,
        contextlib.closing(open_sink(settings.sink, url)) as sink,
        engine,
        Display(report, len(deliveries)) as display,
    ):
        store.sweep()
        for result in Ingest(sink, engine, store, settings, display).run(deliveries):
            display.closed(result)
    close(report, wishes.report)
    refused = wishes.strict and report.balance.rejected
    return 0 if report.delivered and not refused else 1


@contextlib.contextmanager
def _stopping_on_sigterm() -> Iterator[None]:
    """Let SIGTERM stop a run the way Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
