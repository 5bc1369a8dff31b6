"""Watching the input folder with real processes: zips that grow, signals, kills, a database that goes away."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.workspace import BLOCKED, SAMPLE, Workspace

pytestmark = pytest.mark.slow

SETTLE = 2


@contextlib.contextmanager
def watching(workspace: Workspace, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Watch the input folder; what is left of the process at the end is killed."""
    log = (workspace.root / "log").open("w+")
    process = subprocess.Popen(
        workspace.command("watch", "--interval", "2", "--settle", str(SETTLE), *arguments),
        cwd=workspace.root,
        env=workspace.environ,
        stdout=subprocess.DEVNULL,
        stderr=log,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for a condition while a process lives."""
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "the watch ended"
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


def done(workspace: Workspace, name: str) -> Callable[[], bool]:
    """Tell whether an archive is done."""
    return lambda: (
        workspace.query("SELECT count(*) FROM archive WHERE name = %s AND state = 'done'", name) == [(1,)]
    )


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """Ask a watch to stop, and give its exit code."""
    process.send_signal(number)
    return process.wait(300)


def events(workspace: Workspace) -> list[dict[str, object]]:
    """Read the watch's log."""
    return [json.loads(line) for line in (workspace.root / "log").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("form", "said"), [("human", "images_zip_input for zips; Ctrl-C"), ("json", '"event": "watching"')]
)
def test_the_watch_says_what_it_does(workspace: Workspace, form: str, said: str) -> None:
    """Before anything comes, people and programs read what is watched; people also how to end it."""
    with watching(workspace, "--log-format", form) as process:
        wait_until(lambda: said in (workspace.root / "log").read_text("utf-8"), process)
        assert stop(process) == 0


def grown(data: bytes, path: Path) -> bool:
    """Write a file in pieces; tells whether none of them came so late that a watch may have judged the rest."""
    last, latest = time.monotonic(), 0.0
    for place in range(0, len(data), len(data) // 6):
        with path.open("ab") as file:
            file.write(data[place : place + len(data) // 6])
        latest, last = max(latest, time.monotonic() - last), time.monotonic()
        time.sleep(0.4)
    return latest < SETTLE / 2


def test_zips_are_taken_as_they_come(workspace: Workspace) -> None:
    """A zip that grows is taken when it is whole; a broken one and a hidden one do not end the watch."""
    data = SAMPLE.read_bytes()
    late: list[str] = []
    with watching(workspace, "--after", "move") as process:
        # On a machine that is too busy to write in time, that is tried again.
        while not grown(data, workspace.input / (name := f"growing-{len(late)}.zip")):
            (workspace.input / name).unlink(missing_ok=True)
            late.append(name)
        (workspace.input / ".hidden.zip").write_bytes(data)
        (workspace.input / "broken.zip").write_bytes(b"no zip at all")
        wait_until(done(workspace, name), process)
        wait_until((workspace.root / "processed" / name).exists, process)
        wait_until((workspace.root / "failed" / "broken.zip").exists, process)
        shutil.copy2(SAMPLE, workspace.input / "again.zip")
        wait_until((workspace.root / "processed" / "again.zip").exists, process)
        assert stop(process) == 0
    assert [path.name for path in workspace.input.iterdir()] == [".hidden.zip"]
    verdicts = {
        event["archive"]: event["verdict"]
        for event in events(workspace)
        if event["event"] == "archive" and event["archive"] not in late
    }
    assert verdicts == {name: "done", "broken.zip": "rejected", "again.zip": "known"}
    assert {row[0] for row in workspace.query("SELECT state FROM run")} == {"finished"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_batch(workspace: Workspace, number: signal.Signals) -> None:
    """What is at work is recorded, the exit code is 0, and the next run ends as an undisturbed one."""
    shutil.copy2(SAMPLE, workspace.input)
    with watching(workspace) as process:
        with psycopg.connect(workspace.url) as holdup:
            holdup.execute("LOCK TABLE image_info")
            wait_until(lambda: workspace.query(BLOCKED) == [(1,)], process)
            process.send_signal(number)
        assert process.wait(300) == 0
    assert workspace.query("SELECT state, stored FROM archive") == [("done", 8)]
    assert workspace.ingest().verdict("sample.zip") == ("known", "already-done")


def test_a_killed_watch_loses_nothing(workspace: Workspace) -> None:
    """After kill -9 in the middle of a batch, the next watch takes the archive and ends as undisturbed."""
    shutil.copy2(SAMPLE, workspace.input)
    with watching(workspace) as process, psycopg.connect(workspace.url) as holdup:
        holdup.execute("LOCK TABLE image_info")
        wait_until(lambda: workspace.query("SELECT count(*) FROM archive") == [(1,)], process)
        process.kill()
        process.wait()
    with watching(workspace, "--after", "delete") as process:
        wait_until(lambda: not any(workspace.input.iterdir()), process)
        assert stop(process) == 0
    states = workspace.query("SELECT state FROM run ORDER BY started")
    assert states == [("died",), ("finished",)]
    assert workspace.query("SELECT state, members, stored FROM archive") == [("done", 12, 8)]


def test_a_database_that_is_away_is_waited_for(workspace: Workspace) -> None:
    """A watch that cannot connect says so and tries again; when the database is back it takes what lies there."""
    name = urlsplit(workspace.url).path.removeprefix("/")
    admin = workspace.url.replace(f"/{name}?", "/postgres?")
    shutil.copy2(SAMPLE, workspace.input)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} RENAME TO {name}_away".encode())
        try:
            with watching(workspace) as process:
                wait_until(
                    lambda: (workspace.root / "log").read_text("utf-8").count("Trying again") > 1, process
                )
                connection.execute(f"ALTER DATABASE {name}_away RENAME TO {name}".encode())
                wait_until(done(workspace, "sample.zip"), process)
                assert stop(process) == 0
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.execute(f"ALTER DATABASE {name}_away RENAME TO {name}".encode())


def test_the_embedded_server_lives_as_long_as_the_watch(tmp_path: Path, open_folder: Path) -> None:
    """Between runs the server stays; it stops with the watch."""
    workspace = Workspace(tmp_path, "")
    data = open_folder / "data"
    with watching(workspace, "--data", data) as process:
        wait_until((data / "postgres" / "postmaster.pid").exists, process)
        shutil.copy2(SAMPLE, workspace.input)
        wait_until(lambda: "run-finished" in (workspace.root / "log").read_text("utf-8"), process)
        time.sleep(1)
        assert (data / "postgres" / "postmaster.pid").exists()
        assert stop(process) == 0
        assert not (data / "postgres" / "postmaster.pid").exists()
