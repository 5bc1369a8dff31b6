"""Runs that share an inbox, and a clock that jumps: each archive is done once, by one of them."""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from bench.crash import make_archives
from tests.integration.surroundings import undisturbed
from tests.workspace import ROOT, SAMPLE, Workspace

pytestmark = pytest.mark.slow


def test_two_runs_over_one_inbox(loaded: Workspace, tmp_path: Path) -> None:
    """Runs started together share the work: each archive is done by one of them, all of them are done and moved."""
    catalog, files = undisturbed(loaded, tmp_path)
    processes = [
        subprocess.Popen(
            loaded.command(
                "ingest", "--after", "move", "--batch-size", "20", "--report", tmp_path / f"{number}.json"
            ),
            cwd=loaded.root,
            env=loaded.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for process in processes:
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
    sums = "sum(archives_done)::int, sum(archives_failed)::int, sum(stored)::int"
    pids = [process.pid for process in processes]
    done = loaded.query(f"SELECT {sums} FROM run WHERE pid = ANY(%s)", pids)
    assert done == [(3, 0, len(catalog["image_info"]))]
    assert list(loaded.input.iterdir()) == []
    assert len(list((loaded.root / "processed").iterdir())) == 3
    assert (loaded.catalog(), loaded.files()) == (catalog, files)


def test_a_clock_that_is_set_back(workspace: Workspace) -> None:
    """A year back in time, what was taken is known, what is new is taken, and what is cut is judged."""
    shutil.copy2(SAMPLE, workspace.input)
    assert workspace.ingest().code == 0
    back = workspace.root / "back"
    back.mkdir()
    (back / "sitecustomize.py").write_text(
        textwrap.dedent("""
            import time
            now, nanoseconds = time.time, time.time_ns
            time.time = lambda: now() - 31_536_000
            time.time_ns = lambda: nanoseconds() - 31_536_000_000_000_000
        """)
    )
    make_archives(workspace.input, archives=1, members=20)
    (workspace.input / "cut.zip").write_bytes(SAMPLE.read_bytes()[:-100])
    done = subprocess.run(
        workspace.command("ingest", "--after", "move", "--settle", "5s", "--time-limit", "1h"),
        cwd=workspace.root,
        env={**workspace.environ, "PYTHONPATH": f"{back}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert sorted(path.name for path in (workspace.root / "processed").iterdir()) == ["00.zip", "sample.zip"]
    assert [path.name for path in (workspace.root / "failed").iterdir()] == ["cut.zip"]
