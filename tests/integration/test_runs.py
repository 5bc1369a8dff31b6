"""The history of runs: each with its balance, those that died recognised."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import psycopg
import pytest

from pipeline.history import Ending, Run, RunState
from pipeline.records import Balance
from pipeline.sinks.postgres import PostgresSink
from tests.integration.delivery import Delivery
from tests.workspace import BLOCKED, SAMPLE, Ran, Workspace


def history(workspace: Workspace) -> list[dict[str, Any]]:
    """Give the history as the command line tells it."""
    document: list[dict[str, Any]] = json.loads(workspace.run("runs", "--format", "json").out)
    return document


def told_seconds(workspace: Workspace, ran: Ran) -> set[float]:
    """Give how long a run took, by everything that says so; one figure when all agree."""
    last = history(workspace)[0]
    finished, started = (datetime.fromisoformat(last[name]) for name in ("finished", "started"))
    log = json.loads(ran.err.splitlines()[-1])["seconds"]
    metrics = (workspace.root / "run.prom").read_text("utf-8")
    (gauge,) = re.findall(r"^image_pipeline_run_duration_seconds ([\d.]+)$", metrics, re.MULTILINE)
    told = {ran.report["seconds"], (finished - started).total_seconds(), log, float(gauge)}
    assert f"Took {ran.report['seconds']:,.1f} s" in ran.out
    assert f"  {ran.report['seconds']:,.1f} s  " in workspace.run("runs").out.splitlines()[0]
    return told


def wait_for(workspace: Workspace, query: str, expected: int) -> None:
    """Wait until a count in the database is as expected."""
    deadline = time.monotonic() + 300
    while workspace.query(query) != [(expected,)]:
        assert time.monotonic() < deadline, f"{query} never gave {expected}"
        time.sleep(0.02)


@pytest.mark.slow
def test_every_run_is_noted(workspace: Workspace) -> None:
    """Runs are listed newest first, with exit code, archives by verdict and balance, in every form."""
    shutil.copy2(SAMPLE, workspace.input)
    first = workspace.ingest()
    (workspace.input / "broken.zip").write_bytes(b"no zip")
    second = workspace.ingest()
    newest, oldest = history(workspace)
    assert (oldest["run"], newest["run"]) == (first.report["run"], second.report["run"])
    assert (oldest["state"], oldest["exit_code"], oldest["command"]) == ("finished", 0, "ingest")
    assert oldest["balance"] == first.report["balance"]
    assert oldest["archives"] == {"done": 1, "known": 0, "rejected": 0, "failed": 0, "waiting": 0}
    assert (newest["exit_code"], newest["archives"]["known"], newest["archives"]["rejected"]) == (1, 1, 1)
    rows = list(csv.DictReader(io.StringIO(workspace.run("runs", "--format", "csv").out)))
    assert [row["archives_done"] for row in rows] == ["0", "1"]
    assert "12 members = 8 stored" in workspace.run("runs").out


@pytest.mark.slow
@pytest.mark.parametrize("sink", ["postgres", "api"])
def test_everything_says_how_long_a_run_took(delivery: Delivery, sink: str) -> None:
    """Account, report, log, metrics and history have one figure, also if the run waited before the history had it."""
    workspace = delivery.workspace
    shutil.copy2(SAMPLE, workspace.input)
    metrics = ("--metrics-file", str(workspace.root / "run.prom"))
    url = delivery.apis.start().url if sink == "api" else ""
    assert workspace.run("db", "migrate").code == 0
    with ThreadPoolExecutor() as pool, psycopg.connect(workspace.url) as holdup:
        holdup.execute("LOCK TABLE run")
        running = (
            pool.submit(delivery.through, url, *metrics) if url else pool.submit(workspace.ingest, *metrics)
        )
        wait_for(workspace, BLOCKED, 1)
        time.sleep(1)
        holdup.commit()
        ran = running.result(300)
    assert ran.code == 0, ran.err
    (seconds,) = told_seconds(workspace, ran)
    assert seconds >= 1


def test_no_run_yet(workspace: Workspace) -> None:
    """An empty history is no error."""
    assert workspace.run("runs").code == 0
    assert history(workspace) == []


def start(workspace: Workspace) -> subprocess.Popen[bytes]:
    """Start a run whose output nobody reads."""
    return subprocess.Popen(
        workspace.command("ingest"),
        cwd=workspace.root,
        env=workspace.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_a_killed_run_is_recognised(workspace: Workspace) -> None:
    """A run is `running` while it lives, and `died` when it was killed; one that only pauses is left alone."""
    shutil.copy2(SAMPLE, workspace.input)
    with psycopg.connect(workspace.url) as holdup:
        holdup.execute("LOCK TABLE archive, archive_file")
        paused, killed = start(workspace), start(workspace)
        wait_for(workspace, "SELECT count(*) FROM run WHERE state = 'running'", 2)
        paused.send_signal(signal.SIGSTOP)
        killed.send_signal(signal.SIGSTOP)
    killed.kill()
    killed.wait()
    deadline = time.monotonic() + 300
    while (states := {run["pid"]: run["state"] for run in history(workspace)})[killed.pid] != "died":
        assert time.monotonic() < deadline
    assert states[paused.pid] == "running"
    paused.send_signal(signal.SIGCONT)
    assert paused.wait(300) == 0
    assert {run["pid"]: run["state"] for run in history(workspace)}[paused.pid] == "finished"


@pytest.mark.slow
def test_a_stopped_run_is_noted(workspace: Workspace) -> None:
    """A run that SIGTERM stopped is `stopped`, with what it had got done."""
    shutil.copy2(SAMPLE, workspace.input)
    with psycopg.connect(workspace.url) as holdup:
        holdup.execute("LOCK TABLE image_info")
        process = start(workspace)
        wait_for(workspace, BLOCKED, 1)
        process.terminate()
    assert process.wait(300) == 1
    assert [(run["state"], run["exit_code"]) for run in history(workspace)] == [("stopped", 1)]


def test_a_run_that_was_taken_for_dead_comes_back(database_url: str) -> None:
    """A run whose connection broke for a moment is `running` again once it has another; its last words are kept."""
    run, other = Run("ingest", "postgres"), Run("ingest", "postgres")
    sink, witness = PostgresSink(database_url), PostgresSink(database_url)
    with (
        contextlib.closing(sink),
        contextlib.closing(witness),
        psycopg.connect(database_url, autocommit=True) as eyes,
    ):
        sink.begin(run)
        ended = eyes.execute(
            """SELECT pg_terminate_backend(l.pid, 180000) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE locktype = 'advisory' AND granted AND datname = current_database()"""
        ).fetchall()
        assert ended == [(True,)]
        witness.begin(other)
        state = "SELECT state, message FROM run WHERE id = %s"
        assert eyes.execute(state, (run.id,)).fetchone() == ("died", "")
        assert sink.known([]) == set()
        assert eyes.execute(state, (run.id,)).fetchone() == ("running", "")
        sink.end(run, Ending(RunState.FAILED, 1, {}, Balance(), "odd \udcff\0 name"))
        assert eyes.execute(state, (run.id,)).fetchone() == ("failed", "odd \\udcff\\0 name")
