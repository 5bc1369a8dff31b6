"""The sink that writes straight into Postgres, when Postgres crashes."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from pipeline.history import Run
from pipeline.records import Archive, Entry, FileIdentity, Image, Outcome, Record
from pipeline.server import EmbeddedServer
from pipeline.sinks.postgres import UNSETTLED, PostgresSink

pytestmark = pytest.mark.slow


def image(number: int) -> Image:
    """Give what inspection would say of an image."""
    return Image(bytes([number]) * 32, bytes(20), "png", 1, 1, 1, "L", 1, None, None, None, None)


def batch(entry: Entry, *numbers: int) -> list[Record]:
    """Give records of members that are all the same image."""
    return [
        Record(entry.id, Outcome(number, f"{number}.png", image(7)), f"{entry.folder}/a")
        for number in numbers
    ]


def crash(url: str) -> None:
    """Kill a process of Postgres, which then ends all others at once and starts again from what was written."""
    with psycopg.connect(url, autocommit=True) as connection:
        (victim,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with psycopg.connect(url):
                return
        except psycopg.Error:
            time.sleep(0.05)


@pytest.mark.parametrize("batches", [2, UNSETTLED + 2])
def test_a_crash_of_the_server_changes_no_verdict(open_folder: Path, batches: int) -> None:
    """Batches that a crash took back are delivered again before the next one, in their order."""
    server = EmbeddedServer(open_folder / "data")
    with server:
        server.keep()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
            connection.execute("SELECT pg_reload_conf()")
    try:
        with closing(PostgresSink(server.url)) as sink:
            sink.begin(Run("ingest", "postgres"))
            file = FileIdentity("a.zip", 1, 1, 1)
            (entry,) = sink.open([Archive(Path("a.zip"), file, bytes(32), "a-000000000000", batches + 1)])
            for number in range(batches):
                sink.write(batch(entry, number))
            crash(server.url)
            sink.write(batch(entry, batches))
            (closed,) = sink.finish([entry]).result()
        with psycopg.connect(server.url) as connection:
            rows = connection.execute("SELECT member_index, verdict FROM image_source ORDER BY id").fetchall()
    finally:
        server.release()
    assert rows == [(0, "stored"), *((number, "duplicate") for number in range(1, batches + 1))]
    assert closed.balance.closed
