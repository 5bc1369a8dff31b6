"""One run over deliveries, put together from its parts: what `ingest` and its like have in common."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any, Self

from pipeline.errors import StoreError
from pipeline.settings import Settings


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

    report = Report()
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
    refused = wishes.strict and report.balance.rejected
    return 0 if report.delivered and not refused else 1


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
