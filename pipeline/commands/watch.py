"""`watch`: take archives in as they come."""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import Duration, make_settings, option
from pipeline.commands.run_options import run_options
from pipeline.commands.running import Order, Wishes, complain, find, run, spoken
from pipeline.errors import PipelineError, SchemaTooNew, SettingsError
from pipeline.settings import Settings
from pipeline.words import printable

if TYPE_CHECKING:
    from pipeline.inbox import Delivery
    from pipeline.lookout import Lookout

SETTLE = 10.0


@click.command()
@option(
    "--interval",
    "PIPELINE_INTERVAL",
    type=Duration(),
    default="10s",
    help="Look at the folder this often at least, also where it reports no events.",
)
@run_options
def watch(interval: float, **values: Any) -> int:
    """Take archives in as they come into the input folder, until SIGTERM or Ctrl-C."""
    from pipeline.lookout import Lookout, wakeups  # noqa: PLC0415

    settle = values["settle"] = SETTLE if values["settle"] is None else values["settle"]
    settings, wishes = make_settings(values), Wishes.of(values)
    settings.input.mkdir(parents=True, exist_ok=True)
    stop = Event()
    lookout = Lookout(min(1.0, settle), again=interval)
    watcher = _Watcher(settings, wishes, lookout, stop)
    with _stopping(stop), spoken(wishes), _serving(settings):
        _announce(settings, wishes)
        for _ in wakeups(settings.input, interval, stop, lookout):
            watcher.look()
    return 0


@dataclass(frozen=True, slots=True)
class _Watcher:
    """Makes a run whenever something is ready; no archive, and no absence of the database, ends it."""

    settings: Settings
    wishes: Wishes
    lookout: Lookout
    stop: Event

    def look(self) -> None:
        try:
            ready = self.lookout.ready(find(self.settings, []))
        except PipelineError as error:
            self._complain(error)
            return
        if ready and not self.stop.is_set():
            self._take(ready)

    def _take(self, deliveries: list[Delivery]) -> None:
        try:
            report = run(Order(self.settings, self.wishes, deliveries, "watch", asked=self.stop.is_set))
        except (SettingsError, SchemaTooNew):
            raise
        except PipelineError as error:
            self._complain(error)
            self.lookout.heard(deliveries, [])
        except Exception:  # noqa: BLE001 - a bug that one archive brings out must not stop the others
            traceback.print_exc()
            self._isolate(deliveries)
        else:
            self.lookout.heard(deliveries, report.archives)

    def _isolate(self, deliveries: list[Delivery]) -> None:
        """Take deliveries one by one; the one that the program breaks on is left until its file changes."""
        if len(deliveries) == 1:
            complain(self.wishes, f"{deliveries[0].path} is left alone until it changes.")
            self.lookout.dismiss(deliveries[0])
            return
        for delivery in deliveries:
            if not self.stop.is_set():
                self._take([delivery])

    def _complain(self, error: PipelineError) -> None:
        complain(self.wishes, f"{error} Trying again.")


def _announce(settings: Settings, wishes: Wishes) -> None:
    """Say what is watched, and how to end it."""
    from pipeline.journal import say  # noqa: PLC0415

    if wishes.json:
        say("info", "watching", {"folder": str(settings.input.absolute())})
    else:
        folder = printable(str(settings.input))
        click.echo(f"Watching {folder} for zips; Ctrl-C stops after what is in hand.", err=True)


@contextlib.contextmanager
def _serving(settings: Settings) -> Iterator[None]:
    """Keep the embedded server for as long as the folder is watched, so that no run has to start it."""
    from pipeline.server import serving  # noqa: PLC0415

    if settings.sink != "postgres":
        yield
        return
    with serving(settings.database_url, settings.data):
        yield


@contextlib.contextmanager
def _stopping(stop: Event) -> Iterator[None]:
    """Let the first SIGTERM or Ctrl-C end the watch in good order, and the second at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
