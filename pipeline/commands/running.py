"""One run over deliveries, put together from its parts: what `ingest` and its like have in common."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from pipeline.errors import PipelineError, StoreError
from pipeline.history import Run, RunState
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.report import Report
    from pipeline.sinks.interface import Sink


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a run is asked for beyond its settings: how it gives its account."""

    report: Path | None = None
    strict: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Pick the wishes from option values by name."""
        return cls(**{entry.name: values[entry.name] for entry in fields(cls) if entry.name in values})


def run(settings: Settings, wishes: Wishes, paths: Sequence[Path]) -> int:
    """Take in what lies at `paths`, or in the input folder; print the account and give the exit code."""
    from pipeline.aftercare import Aftercare  # noqa: PLC0415
    from pipeline.commands.closing import close  # noqa: PLC0415
    from pipeline.engines import make_engine  # noqa: PLC0415
    from pipeline.inbox import discover  # noqa: PLC0415
    from pipeline.ingest import Ingest  # noqa: PLC0415
    from pipeline.progress import Display  # noqa: PLC0415
    from pipeline.report import Report  # noqa: PLC0415
    from pipeline.sinks import open_sink  # noqa: PLC0415
    from pipeline.store import Store  # noqa: PLC0415
    from pipeline.work import Workbench  # noqa: PLC0415

    report = Report(Run("ingest", settings.sink), wishes.strict)
    aftercare = Aftercare(settings)
    aftercare.recover(paths or [settings.input])
    deliveries = list(discover(paths, settings.input))
    aftercare.expect(deliveries)
    bench = Workbench(settings.extracted, settings.static, settings.limits, settings.check)
    store = Store(settings.extracted, settings.static)
    engine = make_engine(settings.engine, bench, settings.workers)
    with (
        open_sink(settings) as sink,
        engine,
        noted(sink, report),
        Display(report, len(deliveries), sink.activity) as display,
    ):
        store.sweep()
        for result in Ingest(sink, engine, store, settings, display).run(deliveries):
            display.closed(result)
            try:
                aftercare.settle(result)
            except StoreError as error:
                display.warned(str(error))
    close(report, wishes.report)
    return report.exit_code


@contextlib.contextmanager
def noted(sink: Sink, report: Report) -> Iterator[None]:
    """Note a run in the history: its beginning, and its end however it ends."""
    sink.begin(report.run)
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        ending = report.ending(RunState.STOPPED if stopped else RunState.FAILED, 1, str(error))
        # What ended the run matters more than that its end cannot be noted; the history will say that it died.
        with contextlib.suppress(PipelineError):
            sink.end(report.run, ending)
        raise
    sink.end(report.run, report.ending(RunState.FINISHED, report.exit_code))


@contextlib.contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Let SIGTERM stop a run the way Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
