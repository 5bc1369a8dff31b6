"""Trouble around a run, with real processes: each is said clearly, nothing is lost, and the next run completes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.crash import make_archives
from bench.sample import encoded, picture
from pipeline.server import EmbeddedServer
from pipeline.temporary import is_temporary
from tests.workspace import ROOT, Ran, Workspace

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "images_zip_input" / "sample.zip"
KIB = 1 << 10


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own that can be filled up, made read-only and widened."""

    folder: Path

    def remount(self, options: str) -> None:
        """Change it while it is used."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)

    @property
    def free(self) -> int:
        """Bytes that are left."""
        return shutil.disk_usage(self.folder).free


@pytest.fixture
def small_disk(open_folder: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Give what makes a small disk; skip where that is not permitted."""
    with contextlib.ExitStack() as stack:

        def make(size: int) -> SmallDisk:
            folder = open_folder / "disk"
            folder.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "none", str(folder)]
            if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip("mounting a small disk is not permitted here")
            stack.callback(subprocess.check_call, ["umount", "-l", str(folder)])
            return SmallDisk(folder)

        yield make


@pytest.fixture
def loaded(workspace: Workspace) -> Workspace:
    """Give a workspace with archives of small files, which take much more room than they declare."""
    make_archives(workspace.input, archives=3, members=150)
    return workspace


def undisturbed(workspace: Workspace, tmp_path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Give the catalog and the files that a run in peace leaves, from a workspace beside this one."""
    peace = Workspace(tmp_path / "peace", workspace.url)
    shutil.copytree(workspace.input, peace.input, dirs_exist_ok=True)
    assert peace.ingest().code == 0
    catalog, files = peace.catalog(), peace.files()
    workspace.execute("TRUNCATE image_info, image_source, unstored_member, archive, archive_file CASCADE")
    return catalog, files


def move_to(workspace: Workspace, name: str, folder: Path) -> None:
    """Have one of the workspace's folders lie elsewhere."""
    setattr(workspace, name, folder / name)
    (folder / name).mkdir()


def words(ran: Ran) -> str:
    """Give all that a run said."""
    assert "Traceback" not in ran.err
    return ran.out + ran.err


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
        deadline = time.monotonic() + 60
        while not workspace.query("SELECT FROM run"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (disk.folder / "filler").write_bytes(bytes(20 << 20))
    _, err = process.communicate(timeout=120)
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


def test_a_read_only_store(workspace: Workspace, small_disk: Callable[[int], SmallDisk]) -> None:
    """Nothing is recorded of what cannot be stored; when the store may be written again, all is taken."""
    shutil.copy2(SAMPLE, workspace.input)
    disk = small_disk(16 << 20)
    move_to(workspace, "static", disk.folder)
    disk.remount("ro")
    ran = workspace.ingest("--reserve", "1")
    assert ran.code == 1
    assert "read-only" in words(ran)
    assert workspace.query("SELECT count(*) FROM image_info") == [(0,)]
    disk.remount("rw")
    assert workspace.ingest("--reserve", "1").verdict("sample.zip") == ("done", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_without_permission(workspace: Workspace) -> None:
    """An ordinary user who may not write to the store is told so."""
    shutil.copy2(SAMPLE, workspace.input)
    workspace.static.chmod(0o555)
    ran = workspace.ingest()
    workspace.static.chmod(0o755)
    assert (ran.code, "may not write there" in words(ran)) == (1, True)
    assert workspace.ingest().verdict("sample.zip") == ("done", "")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
@pytest.mark.parametrize("option", ["--extracted", "--static", "--quarantine"])
def test_a_place_that_holds_no_files(workspace: Workspace, option: str) -> None:
    """A file system that tells no size is not taken for a full disk; the run says which folder cannot be written."""
    shutil.copy(ROOT / "images_zip_input" / "sample.zip", workspace.input)
    ran = workspace.run("ingest", "--engine", "serial", option, "/proc/nothing")
    assert ran.code == 1
    assert "/proc/nothing cannot be written: No such file or directory" in ran.err
    assert "disk-space" not in ran.out + ran.err


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
        _, err = process.communicate(timeout=180)
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
            deadline = time.monotonic() + 90
            while process.poll() is None and _count(loaded) < rows:
                assert time.monotonic() < deadline
            (server.cluster.order_to_stop if hard else server.cluster.ask_to_stop)()
            while server.cluster.postmaster():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            with EmbeddedServer(open_folder / "data"):
                pass
        _, err = process.communicate(timeout=180)
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
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert workspace.query("SELECT state FROM archive") == [("done",)]
    finally:
        workspace.execute(f"DROP OWNED BY {role}")
        workspace.execute(f"DROP ROLE {role}")
