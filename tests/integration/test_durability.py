"""What is on the disk before an archive counts as done, in which order: what a power cut may not undo."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from bench.sample import encoded, picture
from pipeline import files
from pipeline.brake import Brake
from pipeline.catalog import ledger
from pipeline.engines.serial import SerialEngine
from pipeline.history import Run
from pipeline.inbox import discover
from pipeline.ingest import Ingest
from pipeline.progress import Display
from pipeline.report import Report
from pipeline.settings import Settings
from pipeline.sinks.postgres import PostgresSink
from pipeline.store import Store
from pipeline.workbench import Workbench

ARCHIVES = 5


class Event(NamedTuple):
    """Something that happened: a name was `made`, a flush `began` and is `flushed`, archives were `closed`."""

    what: str
    where: str
    durable: bool = True


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Record the real calls, in order; each is still made."""
    seen: list[Event] = []

    def noted(call: Callable[..., Any], what: str, position: int) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            answer = call(*arguments, **named)
            seen.append(Event(what, os.fspath(arguments[position])))
            return answer

        return wrapped

    def closing(connection: psycopg.Connection, ids: Sequence[int], *, close: bool = True) -> Any:
        balances = ledger_finish(connection, ids, close=close)
        (how,) = connection.execute("SHOW synchronous_commit").fetchone() or ("",)
        names = connection.execute("SELECT folder FROM archive WHERE id = ANY(%s)", (list(ids),)).fetchall()
        seen.extend(Event("closed", row[0], how == "on") for row in names)
        return balances

    ledger_finish = ledger.finish
    monkeypatch.setattr(ledger, "finish", closing)
    monkeypatch.setattr(os, "link", noted(os.link, "made", 1))
    monkeypatch.setattr(os, "replace", noted(os.replace, "made", 1))
    sync = noted(files.sync, "flushed", 0)

    def flushing(root: str) -> None:
        seen.append(Event("began", root))
        sync(root)

    monkeypatch.setattr(files, "sync", flushing)
    return seen


@pytest.fixture
def ingest(tmp_path: Path, database_url: str) -> Iterator[Callable[[], None]]:
    """Give a function that takes archives in with the real parts, all in this process."""
    inbox = tmp_path / "in"
    inbox.mkdir()
    for number in range(ARCHIVES):
        with zipfile.ZipFile(inbox / f"{number}.zip", "w") as archive:
            for index in range(7):
                archive.writestr(f"{index}.png", encoded(picture(number * 10 + index, (8, 8)), "PNG"))
            archive.writestr("again.png", encoded(picture(1, (8, 8)), "PNG"))
    settings = Settings(
        database_url=database_url,
        input=inbox,
        extracted=tmp_path / "extracted",
        static=tmp_path / "static",
        batch_size=5,
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE " + connection.info.dbname + " SET synchronous_commit = off")
    sink = PostgresSink(database_url)

    def run() -> None:
        store = Store(settings.extracted, settings.static)
        engine = SerialEngine(Workbench(settings.extracted, settings.static, settings.limits))
        with engine, Display(Report(Run("ingest", "postgres"))) as display:
            made = Ingest(sink, engine, store, settings, display, Brake(settings))
            assert [result.verdict for result in made.run(discover([], inbox))] == ["done"] * ARCHIVES

    yield run
    sink.close()


def unsafe(events: Sequence[Event], roots: Sequence[Path]) -> list[str]:
    """Name the archives that were closed before every name made for them was flushed, or not for good.

    A flush covers all that was made before it began, in both roots, once it has ended. One worker makes an image's
    name in the store right before the one below the archive's folder, which is looked for here.
    """
    found = []
    for place, event in enumerate(events):
        if event.what == "closed":
            folder = f"{roots[0]}/{event.where}/"
            last = max(at for at in range(place) if events[at].where.startswith(folder))
            done = {name.where for name in _covering(events[last:place])}
            if not event.durable or not {str(root) for root in roots} <= done:
                found.append(event.where)
    return found


def _covering(events: Sequence[Event]) -> Iterator[Event]:
    """Yield the ends of the flushes that began among these events."""
    begun = set()
    for event in events:
        if event.what == "began":
            begun.add(event.where)
        elif event.what == "flushed" and event.where in begun:
            yield event


def test_files_are_on_the_disk_before_an_archive_is_done(
    ingest: Callable[[], None], events: list[Event], tmp_path: Path
) -> None:
    """Nothing that was written is unflushed when an archive is closed, and its commit waits for the disk."""
    ingest()
    roots = [tmp_path / "extracted", tmp_path / "static"]
    closed = [event.where for event in events if event.what == "closed"]
    assert len(set(closed)) == ARCHIVES
    made = [event.where for event in events if event.what == "made"]
    for root in roots:
        assert len({name for name in made if name.startswith(f"{root}/")}) >= ARCHIVES * 7
    assert unsafe(events, roots) == []


def test_the_check_itself(
    ingest: Callable[[], None], events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the flush, or without the durable commit, the same check finds every archive unsafe."""
    monkeypatch.setattr(ledger, "_DURABLE", "SELECT 1")
    monkeypatch.setattr(Store, "flush", lambda self: None)
    ingest()
    roots = [tmp_path / "extracted", tmp_path / "static"]
    assert len(set(unsafe(events, roots))) == ARCHIVES
    flushed = [Event(what, str(root)) for root in roots for what in ("began", "flushed")]
    assert len(set(unsafe([part for event in events for part in (*flushed, event)], roots))) == ARCHIVES
