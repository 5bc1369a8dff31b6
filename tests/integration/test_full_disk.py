"""A disk that fills up under a run, wherever: it is said clearly, nothing is lost, and the next run completes."""

from __future__ import annotations

import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from bench.crash import make_archives
from bench.sample import encoded, picture
from pipeline.server import EmbeddedServer
from pipeline.temporary import is_temporary
from tests.integration.surroundings import SmallDisk, move_to, undisturbed, words
from tests.workspace import SAMPLE, Workspace

pytestmark = pytest.mark.slow

KIB = 1 << 10


@pytest.mark.parametrize("name", ["extracted", "static"])
def test_a_full_disk(
    loaded: Workspace, name: str, small_disk: Callable[[int], SmallDisk], tmp_path: Path
) -> None:
    """When a tree's disk is full the run says so; with more room the next one ends as undisturbed."""
    disk = small_disk(900 * KIB)
    catalog, _ = undisturbed(loaded, tmp_path)
    move_to(loaded, name, disk.folder)
    ran = loaded.ingest("--reserve", "1", "--batch-size", "20")
    assert ran.code == 1
    assert "disk" in words(ran)
    assert len(loaded.query("SELECT FROM image_info")) < len(catalog["image_info"])
    for path in loaded.static.rglob("*.jpg"):
        assert len(path.read_bytes()) > 0
    disk.remount("size=64m")
    assert loaded.ingest("--reserve", "1").code == 0
    assert loaded.catalog() == catalog
    assert not any(map(is_temporary, loaded.files()))


def test_a_file_that_may_not_grow(workspace: Workspace) -> None:
    """Where no disk can be filled, a limit on the size of files makes the same writes fail: whole or scratch."""
    big = encoded(picture(3, (400, 300)), "BMP")
    with zipfile.ZipFile(workspace.input / "a.zip", "w") as archive:
        archive.writestr("small.jpg", encoded(picture(1, (40, 30)), "JPEG"))
        archive.writestr("large.bmp", big)
    ran = subprocess.run(
        ["sh", "-c", 'ulimit -f 200 && exec "$@"', "sh", *workspace.command("ingest")],
        cwd=workspace.root,
        env=workspace.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "cannot be written" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert workspace.ingest().verdict("a.zip") == ("done", "")
    assert not any(map(is_temporary, workspace.files()))
    assert sum(1 for data in workspace.files().values() if data == big) == 2


def test_a_full_disk_under_a_member_that_is_streamed(
    workspace: Workspace, small_disk: Callable[[int], SmallDisk]
) -> None:
    """A member too large for memory goes through a scratch file; none is left when the disk is full."""
    side = 3400
    bitmap = encoded(picture(5, (64, 48)), "BMP")
    from PIL import Image as Picture  # noqa: PLC0415 - only this test draws so large

    Picture.new("RGB", (side, side), (9, 99, 199)).save(workspace.root / "large.bmp")
    with zipfile.ZipFile(workspace.input / "a.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.write(workspace.root / "large.bmp", "large.bmp")
        archive.writestr("small.bmp", bitmap)
    (workspace.root / "large.bmp").unlink()
    disk = small_disk(40 << 20)
    move_to(workspace, "extracted", disk.folder)
    (disk.folder / "filler").write_bytes(bytes(1))
    with psycopg.connect(workspace.url) as holdup:
        holdup.execute("LOCK TABLE archive, archive_file")
        process = subprocess.Popen(
            workspace.command("ingest", "--reserve", "1"),
            cwd=workspace.root,
            env=workspace.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 300
        while not workspace.query("SELECT FROM run"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (disk.folder / "filler").write_bytes(bytes(20 << 20))
    _, err = process.communicate(timeout=500)
    assert process.returncode == 1
    assert "disk" in err
    assert "Traceback" not in err
    assert [path.name for path in workspace.extracted.iterdir() if path.is_file()] == []
    (disk.folder / "filler").unlink()
    assert workspace.ingest("--reserve", "1").verdict("a.zip") == ("done", "")


def test_a_full_disk_under_the_accounts(workspace: Workspace, small_disk: Callable[[int], SmallDisk]) -> None:
    """A report, metrics or move that finds no room is a warning; the old files stay whole, the zip where it is."""
    shutil.copy2(SAMPLE, workspace.input)
    disk = small_disk(16 * KIB)
    report, metrics = disk.folder / "report.json", disk.folder / "images.prom"
    report.write_text("old")
    metrics.write_text("old")
    (disk.folder / "filler").write_bytes(bytes(disk.free))
    options = ("--after", "move", "--processed", disk.folder / "processed", "--metrics-file", metrics)
    ran = workspace.run("ingest", "--report", report, *options)
    assert ran.code == 1
    assert words(ran).count("No space left") == 3
    assert (report.read_text(), metrics.read_text()) == ("old", "old")
    assert workspace.query("SELECT state FROM archive") == [("done",)]
    assert (workspace.input / "sample.zip").exists()
    assert sorted(path.name for path in disk.folder.iterdir() if path.is_file()) == [
        "filler", "images.prom", "report.json",
    ]  # fmt: skip
    disk.remount("size=1m")
    assert workspace.run("ingest", "--report", report, *options).code == 0
    assert (disk.folder / "processed" / "sample.zip").read_bytes() == SAMPLE.read_bytes()
    assert not (workspace.input / "sample.zip").exists()


def test_a_full_disk_under_temporary_files(
    workspace: Workspace, small_disk: Callable[[int], SmallDisk]
) -> None:
    """Without room for what the workers share, a run says so instead of dying of a signal."""
    shutil.copy2(SAMPLE, workspace.input)
    disk = small_disk(64 * KIB)
    (disk.folder / "filler").write_bytes(bytes(disk.free - 8 * KIB))
    ran = subprocess.run(
        workspace.command("ingest"),
        cwd=workspace.root,
        env={**workspace.environ, "TMPDIR": str(disk.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, "TMPDIR" in ran.stderr, "Traceback" in ran.stderr) == (1, True, False)
    assert workspace.ingest().verdict("sample.zip") == ("done", "")


def test_a_full_disk_under_postgres(tmp_path: Path, small_disk: Callable[[int], SmallDisk]) -> None:
    """A server without room says so, from its first start to its last row; with room the next run completes."""
    workspace = Workspace(tmp_path, "")
    make_archives(workspace.input, archives=2, members=150)
    disk = small_disk(8 << 20)
    data = disk.folder / "data"
    first = workspace.ingest("--data", data)
    assert first.code == 1
    assert "No space left" in words(first) or "disk" in words(first)
    disk.remount("size=300m")
    assert workspace.run("db", "migrate", "--data", data).code == 0
    with EmbeddedServer(data) as server:
        make_archives(workspace.input, archives=6, members=150)
        (disk.folder / "filler").write_bytes(bytes(disk.free))
        workspace.url = server.url
        second = workspace.ingest()
    assert second.code == 1
    assert "disk space" in words(second)
    workspace.url = ""
    (disk.folder / "filler").unlink()
    third = workspace.ingest("--data", data, "--reserve", "1")
    assert third.code == 0, third.err
    assert {archive["verdict"] for archive in third.report["archives"]} <= {"done", "known"}
