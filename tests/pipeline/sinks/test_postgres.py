"""The sink that writes straight into Postgres: who holds an archive, and when Postgres crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pipeline.catalog import claims
from pipeline.claimant import Patience, this_host, this_process
from pipeline.history import Run
from pipeline.records import Archive, Entry, FileIdentity, Image, Outcome, Record, State
from pipeline.server import EmbeddedServer
from pipeline.sinks.postgres import UNSETTLED, PostgresSink

FILE = FileIdentity("a.zip", 1, 1, 1)
ARCHIVE = Archive(Path("a.zip"), FILE, bytes(32), "a-000000000000", 1)


def image(number: int) -> Image:
    """Give what inspection would say of an image."""
    return Image(bytes([number]) * 32, bytes(20), "png", 1, 1, 1, "L", 1, None, None, None, None)


def batch(entry: Entry, *numbers: int) -> list[Record]:
    """Give records of members that are all the same image."""
    return [
        Record(entry.id, Outcome(number, f"{number}.png", image(7)), f"{entry.folder}/a")
        for number in numbers
    ]


def leased(url: str, host: str, process: str) -> None:
    """Have a run through the API hold the archive."""
    with closing(PostgresSink(url)) as sink:
        (entry,) = sink.open([ARCHIVE])
    claimant = claims.Claimant(uuid.uuid4(), host, process)
    with psycopg.connect(url) as connection:
        claims.renew(connection, claimant)
        claims.claim(connection, [entry.id], claimant.run)


def dead_process() -> str:
    """Give the name of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{process.pid}@1"


@pytest.mark.parametrize(
    ("lives", "here", "state"),
    [(False, True, State.RUNNING), (True, True, State.BUSY), (False, False, State.BUSY)],
)
def test_the_dead_do_not_hold(database_url: str, lives: bool, here: bool, state: State) -> None:
    """An archive that a run through the API held is free at once when that run is seen to be dead."""
    leased(database_url, this_host() if here else "elsewhere", this_process() if lives else dead_process())
    with closing(PostgresSink(database_url)) as sink:
        (entry,) = sink.open([ARCHIVE])
    assert entry.state is state


def test_a_claim_that_ends_in_a_moment(database_url: str) -> None:
    """What a killed run's last transaction still locks is waited for, and taken."""
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (claims.key(ARCHIVE.digest),))
        timer = threading.Timer(0.3, holder.rollback)
        with closing(PostgresSink(database_url)) as sink:
            sink._patience = Patience(300.0)
            timer.start()
            (entry,) = sink.open([ARCHIVE])
        timer.join()
    assert entry.state is State.NEW


def crash(url: str) -> None:
    """Kill a process of Postgres, which then ends all others at once and starts again from what was written."""
    with psycopg.connect(url, autocommit=True) as connection:
        (victim,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            with psycopg.connect(url):
                return
        except psycopg.Error:
            time.sleep(0.05)


@pytest.mark.slow
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
            (entry,) = sink.open([replace(ARCHIVE, members=batches + 1)])
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
