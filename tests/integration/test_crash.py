"""Whatever is killed, whenever: run again, and the catalog is that of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from bench.crash import campaign, make_archives
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

POINTS = int(os.environ.get("CRASH_POINTS", "5"))
"""One for each kind of victim; `python -m bench.crash` makes hundreds."""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with archives to interrupt on."""
    folder = tmp_path_factory.mktemp("archives")
    make_archives(folder, archives=6, members=150)
    return folder


def undisturbed(workspace: Workspace, archives: Path) -> tuple[object, dict[str, bytes], float]:
    """Run once in peace; give the catalog, the files and the time it took; leave the workspace empty again."""
    shutil.copytree(archives, workspace.input, dirs_exist_ok=True)
    started = time.monotonic()
    ran = workspace.ingest("--batch-size", "50")
    seconds = time.monotonic() - started
    assert ran.code == 0, ran.err
    catalog, files = workspace.catalog(), workspace.files()
    wipe(workspace)
    return catalog, files, seconds


def wipe(workspace: Workspace) -> None:
    """Forget everything that was ingested."""
    with psycopg.connect(workspace.url, autocommit=True) as connection:
        connection.execute(
            "TRUNCATE image_info, image_source, unstored_member, archive, archive_file CASCADE"
        )
    for folder in (workspace.extracted, workspace.static):
        shutil.rmtree(folder)
        folder.mkdir()


def test_killed_at_many_points(open_folder: Path) -> None:
    """Whatever is killed (the run, a worker, all of it, Postgres, both), the next run ends as an undisturbed one.

    Tables and files are compared, and `verify` finds nothing: no file missing, extra or torn, no balance open.
    """
    found = campaign(POINTS, lanes=1, seed=2, folder=open_folder)
    assert found.failures == []
    assert found.points.total() == POINTS
    assert found.met.total() >= POINTS // 2


def test_killed_again_and_again_still_finishes(workspace: Workspace, archives: Path) -> None:
    """Kill after kill without a wipe between, the work goes on where it stopped and comes to its end."""
    catalog, files, seconds = undisturbed(workspace, archives)
    for point in range(8):
        process = subprocess.Popen(
            workspace.command("ingest", "--batch-size", "20"),
            cwd=workspace.root,
            env=workspace.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds * (0.4 + 0.06 * point))
        process.kill()
        process.wait()
    assert workspace.ingest().code == 0
    assert workspace.catalog() == catalog
    assert workspace.files() == files


def test_torn_file_is_not_trusted(workspace: Workspace, archives: Path) -> None:
    """What an interrupted run recorded is taken again when its file no longer has the recorded digest."""
    catalog, files, _ = undisturbed(workspace, archives)
    assert workspace.ingest().code == 0
    with psycopg.connect(workspace.url, autocommit=True) as connection:
        connection.execute("UPDATE archive SET state = 'running'")
    victims = sorted(path for path in workspace.static.rglob("*.jpg"))[::17]
    for victim in victims:
        victim.write_bytes(b"torn")
    assert workspace.ingest().code == 0
    assert workspace.catalog() == catalog
    assert workspace.files() == files


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_politely(workspace: Workspace, archives: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM stop cleanly, say how to go on, and leave no process behind."""
    catalog, files, _ = undisturbed(workspace, archives)
    process = subprocess.Popen(
        workspace.command("ingest", "--batch-size", "20"),
        cwd=workspace.root,
        env=workspace.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not workspace.query("SELECT FROM image_source LIMIT 1"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    if process.returncode:
        assert process.returncode in {1, -signal.SIGINT}
        assert "run the same command again" in err
        assert "Traceback" not in err
    assert workspace.ingest().code == 0
    assert workspace.catalog() == catalog
    assert workspace.files() == files
