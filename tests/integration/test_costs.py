"""What work costs, counted and not timed, so that a regression shows on any machine."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from bench.photographs import numbered, thumbnail
from pipeline.archives import ZipArchive
from pipeline.records import Archive, Entry, FileIdentity, State
from pipeline.settings import Limits
from pipeline.slices import FEWEST, slices
from pipeline.store import UNNAMED
from tests.conftest import sibling
from tests.workspace import ROOT, Workspace

COUNTING = """
import collections, json, sys
from pathlib import Path
from pipeline.archives import ZipArchive
from pipeline.records import Slice
from pipeline.settings import Limits
from pipeline.store import Store
from pipeline.work import work
from pipeline.workbench import Workbench

archive, root = Path(sys.argv[1]), Path(sys.argv[2])
bench = Workbench(root / "extracted", root / "static", Limits())
with ZipArchive(archive, bench.limits) as zip_:
    members = tuple(zip_.members())
store = Store(bench.extracted, bench.static)
jobs = [Slice(1, str(archive), archive.stat().st_size, folder, members) for folder in ("warm", "in", "again")]
work(jobs[0]._replace(members=members[:1]), bench, store)
counts = collections.Counter()
sys.addaudithook(lambda event, _: counts.update([event]))
told = []
for job in jobs[1:]:
    counts.clear()
    assert all(outcome.image for outcome in work(job, bench, store))
    told.append({event: count for event, count in counts.items() if event == "open" or event.startswith("os.")})
print(json.dumps(told))
"""
IMPORTS = """
import sys
from pipeline.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
print(*sorted(sys.modules))
"""


def thumbnails(path: Path, count: int, first: int = 0) -> Path:
    """Write an archive of small distinct images."""
    data = thumbnail(1)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(f"shop/{number:05}.jpg", numbered(data, first + number))
    return path


@pytest.mark.skipif(not UNNAMED, reason="this system knows no files without a name")
def test_calls_for_each_image(tmp_path: Path) -> None:
    """A new image takes an open and two links, a duplicate an open and a link; one more where they take turns."""
    count = 50
    archive = thumbnails(tmp_path / "a.zip", count)
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, archive, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    fresh, again = json.loads(done.stdout)
    # Two folders of the store for an image at most; one for each slice's folder.
    assert fresh.pop("os.mkdir") <= 2 * count + 3
    # The archive is opened too, and its first image is known.
    assert fresh == {"open": count + 3, "os.link": 2 * count}
    assert again.pop("os.mkdir") <= 3
    assert again == {"open": count + 2, "os.link": count + 1}


def test_bytes_between_processes(tmp_path: Path) -> None:
    """A member crosses to a worker in less than 200 bytes, its name included."""
    path = thumbnails(tmp_path / "a.zip", FEWEST)
    with ZipArchive(path, Limits()) as zip_:
        file = FileIdentity("a.zip", path.stat().st_size, 0, 0)
        archive = Archive(path, file, zip_.digest, "a-0", zip_.count)
        entry = Entry(1, archive, State.NEW, "a-0")
        (one,) = slices(entry, zip_, iter(()))
    assert len(pickle.dumps(one)) < 200 * FEWEST


def committed(url: str) -> int:
    """Give how many transactions a database has committed, once those who worked on it have left."""
    asked = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(3600):
        with psycopg.connect(url) as connection:
            row = connection.execute(others).fetchone()
            if row == (0,):
                found = connection.execute(asked).fetchone()
                assert found
                return int(found[0])
        time.sleep(0.05)
    raise AssertionError("somebody stays connected")


def sessions(url: str) -> int:
    """Give how many connections a database has had, once all are closed; asked from another one."""
    name = urlsplit(url).path[1:]
    with psycopg.connect(sibling(url, "postgres"), autocommit=True) as connection:
        for _ in range(3600):
            left = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            if connection.execute(left, (name,)).fetchone() == (0,):
                row = connection.execute(
                    "SELECT sessions FROM pg_stat_database WHERE datname = %s", (name,)
                ).fetchone()
                assert row
                return int(row[0])
            time.sleep(0.05)
    raise AssertionError("somebody stays connected")


@pytest.mark.slow
def test_connections(workspace: Workspace) -> None:
    """A run with nothing new makes do with one connection, and one that takes archives in with two."""
    assert workspace.ingest().code == 0
    before = sessions(workspace.url)
    assert "Nothing" in workspace.ingest().out
    assert sessions(workspace.url) == before + 1
    thumbnails(workspace.input / "a.zip", 10)
    assert workspace.ingest().code == 0
    assert sessions(workspace.url) == before + 3


@pytest.mark.slow
def test_transactions(workspace: Workspace) -> None:
    """Transactions follow batches, not images or archives; known archives take a handful."""
    thumbnails(workspace.input / "a.zip", 1500)
    for number in range(20):
        thumbnails(workspace.input / f"b{number:02}.zip", 2, 5000 + 2 * number)
    before = committed(workspace.url)
    ran = workspace.ingest("--batch-size", "500")
    assert ran.code == 0, ran.err
    first = committed(workspace.url)
    assert first - before < 45
    assert "Nothing new" in workspace.ingest().out
    assert committed(workspace.url) - first < 20


def modules(workspace: Workspace) -> set[str]:
    """Give the modules that the main process of a run has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, "ingest"],
        cwd=workspace.root,
        env=workspace.environ | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_decoders_are_imported_by_workers_alone(workspace: Workspace) -> None:
    """The main process never waits for the decoders, which are loaded by the fork server meanwhile."""
    thumbnails(workspace.input / "a.zip", 2)
    imported = modules(workspace)
    assert {"pebble", "pipeline.engines.processes"} <= imported
    assert not {"PIL", "numpy", "simplejpeg"} & imported


def test_a_run_with_nothing_new_imports_no_decoder(workspace: Workspace) -> None:
    """The decoders, the process pool and the bars are not even imported when nothing is new."""
    thumbnails(workspace.input / "a.zip", 2)
    assert workspace.ingest().code == 0
    assert not {"PIL", "numpy", "simplejpeg", "pebble", "tqdm", "httpx", "multiprocessing"} & modules(
        workspace
    )
