"""One run over deliveries, put together from its parts: what `ingest` and its like have in common."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import click

from pipeline.errors import STOPPED, PipelineError, SettingsError, StoreError
from pipeline.history import Ending, Run
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.brake import Brake
    from pipeline.engines.interface import Engine
    from pipeline.inbox import Delivery
    from pipeline.journal import Journal
    from pipeline.progress import Display
    from pipeline.report import Report
    from pipeline.sinks.interface import Sink
    from pipeline.store import Store


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a run is asked for beyond its settings: how it gives its account."""

    report: Path | None = None
    metrics_file: Path | None = None
    strict: bool = False
    log_format: str = "auto"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Pick the wishes from option values by name."""
        return cls(**{entry.name: values[entry.name] for entry in fields(cls) if entry.name in values})

    @property
    def json(self) -> bool:
        """Whether the log is for programs: JSON lines, unless people watch."""
        return self.log_format == "json" or (self.log_format == "auto" and not sys.stderr.isatty())


@dataclass(frozen=True, slots=True)
class Order:
    """One run to be made; it takes no more work once `asked` to stop. `named` files were asked for one by one."""

    settings: Settings
    wishes: Wishes
    deliveries: Sequence[Delivery]
    command: str = "ingest"
    named: frozenset[Path] = frozenset()
    asked: Callable[[], bool] = bool


def find(settings: Settings, paths: Sequence[Path]) -> list[Delivery]:
    """Find the deliveries at paths, or in the input folder."""
    from pipeline.aftercare import recover  # noqa: PLC0415
    from pipeline.inbox import discover  # noqa: PLC0415

    try:
        recover(settings, paths or [settings.input])
        return list(discover(paths, settings.input))
    except OSError as error:
        raise StoreError(f"{error.filename} cannot be read: {error.strerror}.") from error


def run(order: Order) -> Report:
    """Take in the deliveries, print the account and give it."""
    engine = _engine(order)
    from pipeline import news  # noqa: PLC0415 - what takes a while has begun; the rest is imported meanwhile
    from pipeline.aftercare import Aftercare  # noqa: PLC0415
    from pipeline.commands.closing import close  # noqa: PLC0415
    from pipeline.ingest import Ingest  # noqa: PLC0415
    from pipeline.report import Report  # noqa: PLC0415
    from pipeline.sinks import open_sink  # noqa: PLC0415
    from pipeline.store import Store  # noqa: PLC0415

    settings = order.settings
    report = Report(Run(order.command, settings.sink), order.wishes.strict, order.named)
    store = Store(settings.extracted, settings.shelf, settings.quarantine)
    brake, aftercare = _brake(order, report, store), Aftercare(settings, order.deliveries)
    with (
        _told(order.wishes, report),
        engine,
        open_sink(settings) as sink,
        _noted(sink, report),
        _teller(order, report, sink) as teller,
    ):
        store.sweep()
        for result in Ingest(sink, engine, store, settings, teller, brake).run(order.deliveries):
            teller.closed(result)
            with _warning(teller):
                report.settled[aftercare.settle(result)] += 1
        report.stopped = brake.reason
        for write in _accounts(order.wishes, report, report.ending()):
            with _warning(teller):
                write()
    store.sweep()
    news.seen(settings.data)
    close(report)
    return report


def _engine(order: Order) -> Engine:
    """Make the engine; have it begin to start when there seems to be something for it to do."""
    from pipeline.engines import make_engine  # noqa: PLC0415
    from pipeline.news import likely  # noqa: PLC0415
    from pipeline.workbench import Workbench  # noqa: PLC0415

    settings = order.settings
    bench = Workbench(
        settings.extracted,
        settings.shelf,
        settings.limits,
        settings.check,
        quarantine=settings.quarantine,
    )
    engine = make_engine(settings.engine, bench, settings.workers)
    if likely(settings.data, order.deliveries):
        engine.prepare()
    return engine


def _brake(order: Order, report: Report, store: Store) -> Brake:
    from pipeline.brake import Brake  # noqa: PLC0415
    from pipeline.files import free_bytes  # noqa: PLC0415

    settings = order.settings
    embedded = settings.sink == "postgres" and not settings.database_url

    def free() -> int:
        return min(store.free_bytes(), free_bytes(settings.data)) if embedded else store.free_bytes()

    return Brake(settings, lambda: report.errors, free, order.asked)


def _teller(order: Order, report: Report, sink: Sink) -> Display | Journal:
    from pipeline.journal import Journal  # noqa: PLC0415
    from pipeline.progress import Display  # noqa: PLC0415

    if order.wishes.json:
        return Journal(report)
    return Display(report, len(order.deliveries), sink.activity)


def _accounts(wishes: Wishes, report: Report, ending: Ending) -> Iterator[Callable[[], None]]:
    """Give what writes the files that a run was asked for."""
    if path := wishes.metrics_file:
        from pipeline.metrics import write_metrics  # noqa: PLC0415

        yield lambda: write_metrics(path, report, ending)
    if wishes.report:
        yield partial(report.write, wishes.report)


@contextlib.contextmanager
def _warning(teller: Display | Journal) -> Iterator[None]:
    """Make trouble with a file a warning: what is delivered is delivered."""
    try:
        yield
    except StoreError as error:
        teller.warned(str(error))


@contextlib.contextmanager
def _told(wishes: Wishes, report: Report) -> Iterator[None]:
    """Tell a run's beginning and end to programs; a run that fails still leaves its account."""
    from pipeline.journal import Journal  # noqa: PLC0415

    journal = Journal(report) if wishes.json else None
    if journal:
        journal.began()
    ending = None
    try:
        yield
    except BaseException as error:
        ending = report.ending(error)
        for write in _accounts(wishes, report, ending):
            with contextlib.suppress(StoreError):
                write()
        raise
    finally:
        if journal:
            journal.ended(ending or report.ending())


@contextlib.contextmanager
def _noted(sink: Sink, report: Report) -> Iterator[None]:
    """Note a run in the history: its beginning, and its end however it ends."""
    sink.begin(report.run)
    try:
        yield
    except BaseException as error:
        # What ended the run matters more than that its end cannot be noted; the history will say that it died.
        with contextlib.suppress(PipelineError):
            sink.end(report.run, report.ending(error))
        raise
    sink.end(report.run, report.ending())


@contextlib.contextmanager
def spoken(wishes: Wishes) -> Iterator[None]:
    """Say what ended the program in the log when that is for programs, and exit."""
    try:
        yield
    except (PipelineError, KeyboardInterrupt) as error:
        if not wishes.json:
            raise
        complain(wishes, str(error) or STOPPED)
        raise SystemExit(2 if isinstance(error, SettingsError) else 1) from error


def complain(wishes: Wishes, message: str) -> None:
    """Say an error in the way the log has."""
    from pipeline.journal import say  # noqa: PLC0415

    if wishes.json:
        say("error", "error", {"message": message})
    else:
        click.echo(f"Error: {message}", err=True)


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
