"""A run that stops before its end leaves the rest waiting; the next one brings the undisturbed catalog."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import psycopg
import pytest

from bench.sample import encoded, picture
from tests.workspace import SAMPLE, Workspace

pytestmark = pytest.mark.slow

COUNTS = ("stored", "duplicate", "rejected", "ignored", "failed")


def make(path: Path, members: int, bad: int) -> None:
    """Write an archive of pictures, each `bad`th of them a text."""
    data = encoded(picture(1, (32, 24)), "JPEG")
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(members):
            content = b"text" if index % bad == 0 else data + str((path.name, index)).encode()
            archive.writestr(f"{index:04}.jpg", content)


@pytest.fixture
def undisturbed(workspace: Workspace, tmp_path: Path) -> Workspace:
    """Give a workspace with two archives in its input folder, and nothing done."""
    make(workspace.input / "a.zip", members=300, bad=70)
    make(workspace.input / "b.zip", members=100, bad=50)
    return workspace


def test_too_many_errors(undisturbed: Workspace) -> None:
    """The archive at work keeps what it has, the next waits untouched; both are finished by the next run."""
    ran = undisturbed.ingest("--max-errors", "0", "--engine", "serial", "--batch-size", "10")
    assert ran.code == 1
    assert ran.report["stopped"] == "max-errors"
    assert ran.verdict("a.zip") == ("waiting", "max-errors")
    assert ran.verdict("b.zip") == ("waiting", "max-errors")
    balance = ran.report["balance"]
    assert 0 < balance["members"] < 300
    assert balance["members"] == sum(balance[count] for count in COUNTS)
    assert undisturbed.query("SELECT count(*) FROM archive WHERE state = 'done'") == [(0,)]
    again = undisturbed.ingest()
    assert again.code == 0
    assert (again.verdict("a.zip"), again.verdict("b.zip")) == (("done", ""), ("done", ""))
    assert again.report["balance"]["members"] == 400
    assert again.report["balance"]["stored"] == 393
    assert undisturbed.query("SELECT count(*) FROM image_source") == [(393,)]


def test_time_is_up(undisturbed: Workspace) -> None:
    """A run whose time is up exits with 3, says so, and moves nothing."""
    ran = undisturbed.ingest("--time-limit", "1ms", "--after", "move")
    assert ran.code == 2, "there are no milliseconds"
    ran = undisturbed.ingest("--time-limit", "0.001", "--after", "move")
    assert ran.code == 3
    assert "next run goes on" in ran.out
    assert {archive["verdict"] for archive in ran.report["archives"]} == {"waiting"}
    assert len(list(undisturbed.input.iterdir())) == 2
    assert undisturbed.ingest("--time-limit", "1h30m", "--after", "move").code == 0
    assert list(undisturbed.input.iterdir()) == []


def test_a_stop_does_not_trust_what_was_not_looked_at(workspace: Workspace) -> None:
    """An interrupted archive whose rows are all there is not done before its files are checked."""
    shutil.copy2(SAMPLE, workspace.input)
    assert workspace.ingest().code == 0
    workspace.execute("UPDATE archive SET state = 'running'")
    victim = next(path for path in workspace.static.rglob("*.jpg"))
    victim.write_bytes(b"torn")
    assert workspace.ingest("--reserve", "1000000G").verdict("sample.zip")[0] in {"failed", "waiting"}
    assert workspace.query("SELECT count(*) FROM archive WHERE state = 'done'") == [(0,)]
    assert workspace.ingest().verdict("sample.zip") == ("done", "")
    assert victim.read_bytes() != b"torn"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up as Linux has them")
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.08])
def test_ctrl_c_while_the_workers_start(undisturbed: Workspace, delay: float) -> None:
    """Ctrl-C reaches every process of a terminal; those that are just starting do not complain of it."""
    with (
        # So that the run is not over before, however late this test is.
        psycopg.connect(undisturbed.url) as holdup,
        subprocess.Popen(
            undisturbed.command("ingest"),
            cwd=undisturbed.root,
            env=undisturbed.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        holdup.execute("LOCK TABLE image_info")
        assert process.stderr is not None
        main = psutil.Process(process.pid)
        while not any("forkserver" in word for child in main.children() for word in words(child)):
            assert process.poll() is None
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        holdup.rollback()
        told = process.stderr.read()
    # Python ends itself by the signal when that met code that it was just compiling, also if it was caught.
    assert process.returncode in {1, -signal.SIGINT}
    assert "Traceback" not in told
    assert "Nothing is lost" in told


def words(process: psutil.Process) -> list[str]:
    """Give the command line of a process that may be gone."""
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []
