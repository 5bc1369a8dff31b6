"""A Postgres that restarts, crashes or has no connection to spare costs a run time and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from pipeline.server import EmbeddedServer
from tests.integration.surroundings import undisturbed
from tests.workspace import SAMPLE, Workspace

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("hard", [False, True], ids=["restarted", "crashed"])
def test_postgres_goes_away_in_mid_run(
    loaded: Workspace, open_folder: Path, tmp_path: Path, hard: bool
) -> None:
    """A server that is restarted, or crashes, while a run writes to it costs time and nothing else."""
    catalog, files = undisturbed(loaded, tmp_path)
    with EmbeddedServer(open_folder / "data") as server:
        loaded.url = server.url
        process = subprocess.Popen(
            loaded.command("ingest", "--batch-size", "10", "--engine", "serial"),
            cwd=loaded.root,
            env=loaded.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rows in (20, 150):
            deadline = time.monotonic() + 300
            while process.poll() is None and _count(loaded) < rows:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            (server.cluster.order_to_stop if hard else server.cluster.ask_to_stop)()
            while server.cluster.postmaster():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            with EmbeddedServer(open_folder / "data"):
                pass
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
        assert loaded.files() == files
        left = loaded.catalog()
    for table in ("image_info", "unstored_member"):
        assert left[table] == catalog[table]
    if hard:
        # A crash forgets the last commits. What is taken again comes after what went well, so that of two equal
        # images another may be the first.
        assert [row[:4] for row in left["image_source"]] == [row[:4] for row in catalog["image_source"]]
        assert sorted(row[3] for row in left["image_source"] if row[4] == "stored") == [
            row[0] for row in catalog["image_info"]
        ]
    else:
        assert left == catalog


def _count(workspace: Workspace) -> int:
    try:
        return int(workspace.query("SELECT count(*) FROM image_source")[0][0])
    except psycopg.Error:
        return 0


def test_postgres_out_of_connections(workspace: Workspace) -> None:
    """A server that has no connection to spare is waited for."""
    shutil.copy2(SAMPLE, workspace.input)
    role = f"limited_{os.getpid()}_{time.monotonic_ns()}"
    workspace.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 2")
    try:
        workspace.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        workspace.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
        limited = workspace.url.replace("postgres@", f"{role}@")
        with psycopg.connect(limited), psycopg.connect(limited):
            process = subprocess.Popen(
                workspace.command("ingest", "--database-url", limited),
                cwd=workspace.root,
                env=workspace.environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            time.sleep(3)
            assert process.poll() is None, process.communicate()[1]
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
        assert workspace.query("SELECT state FROM archive") == [("done",)]
    finally:
        workspace.execute(f"DROP OWNED BY {role}")
        workspace.execute(f"DROP ROLE {role}")
