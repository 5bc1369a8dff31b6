"""The first run on the committed sample shows what the product does."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from tests.workspace import BLOCKED, SAMPLE, Workspace

BALANCE = {"members": 12, "stored": 8, "duplicate": 1, "rejected": 2, "ignored": 1, "failed": 0}


@pytest.fixture
def sampled(workspace: Workspace) -> Workspace:
    """Give a workspace with the sample in its input folder."""
    shutil.copy2(SAMPLE, workspace.input)
    return workspace


@pytest.mark.parametrize("engine", ["processes", "serial"])
@pytest.mark.parametrize("check", ["decode", "header"])
def test_the_sample_is_taken(sampled: Workspace, engine: str, check: str) -> None:
    """Every kind of picture is stored; the duplicate, the cut one and the text get their verdicts."""
    ran = sampled.ingest("--engine", engine, "--check", check)
    assert ran.code == 0, ran.err
    if check == "decode":
        assert ran.report["balance"] == BALANCE
        assert ran.report["reasons"] == {"truncated": 1, "not-an-image": 1, "litter": 1}
    assert ran.verdict("sample.zip") == ("done", "")
    types = {row[0] for row in sampled.query("SELECT type FROM image_info")}
    assert types == {"jpeg", "png", "webp", "gif", "tiff", "bmp", "avif"}


def test_files_are_what_the_catalog_says(sampled: Workspace) -> None:
    """Every stored file hashes to its record and is one with the extracted file."""
    sampled.ingest()
    rows = sampled.query("SELECT sha256, sha1, byte_size, local_url FROM image_info")
    assert len(rows) == 8
    for sha256, sha1, size, url in rows:
        path = sampled.root / url.lstrip("/")
        data = path.read_bytes()
        assert (hashlib.sha256(data).digest(), hashlib.sha1(data).digest(), len(data)) == (sha256, sha1, size)
        assert path.stat().st_nlink >= 2
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    extracted = [path for path in sampled.extracted.rglob("*") if path.is_file()]
    assert len(extracted) == 9


def test_details_are_recorded(sampled: Workspace) -> None:
    """Dimensions, orientation, capture time and frames are in the catalog."""
    sampled.ingest()
    query = """SELECT width, height, orientation, captured_at::text, captured_offset FROM image_info
               JOIN image_source s ON s.image_id = image_info.id WHERE member_name = %s"""
    assert sampled.query(query, "holiday/harbour.jpg") == [(320, 240, 6, "2026-05-17 09:30:00", "+02:00")]
    assert sampled.query("SELECT frames FROM image_info WHERE type = 'gif'") == [(3,)]


def test_again_is_nothing_new(sampled: Workspace) -> None:
    """A second run says that there is nothing new and changes nothing."""
    sampled.ingest()
    before, files = sampled.catalog(), sampled.files()
    ran = sampled.ingest()
    assert ran.code == 0
    assert "Nothing new" in ran.out
    assert ran.verdict("sample.zip") == ("known", "already-done")
    assert (sampled.catalog(), sampled.files()) == (before, files)


@pytest.mark.slow
def test_known_by_content_not_by_name(sampled: Workspace) -> None:
    """A copy under another name and time is known."""
    sampled.ingest()
    shutil.copy(sampled.input / "sample.zip", sampled.input / "other.zip")
    assert sampled.ingest().verdict("other.zip") == ("known", "already-done")
    assert sampled.query("SELECT count(*) FROM archive") == [(1,)]


@pytest.mark.slow
def test_two_copies_in_one_run(sampled: Workspace) -> None:
    """Of two copies dropped together one is taken and the other known."""
    shutil.copy(sampled.input / "sample.zip", sampled.input / "other.zip")
    ran = sampled.ingest()
    assert sorted(a["verdict"] for a in ran.report["archives"]) == ["done", "known"]
    assert ran.report["balance"] == BALANCE


def test_plan_writes_nothing(sampled: Workspace) -> None:
    """A plan judges the archive from the zip alone, known or not, as its help says, and leaves no trace."""
    ran = sampled.ingest("--plan")
    assert ran.code == 0
    assert "12 members" in ran.out
    assert sampled.files() == {}
    assert sampled.query("SELECT count(*) FROM archive") == [(0,)]
    assert "known ones like new ones" in " ".join(sampled.run("ingest", "--help").out.split())
    sampled.ingest()
    assert sampled.ingest("--plan").out == ran.out


@pytest.mark.slow
def test_strict_makes_rejections_an_error(sampled: Workspace) -> None:
    """With --strict a rejected image makes the exit code 1."""
    assert sampled.ingest("--strict").code == 1


@pytest.mark.slow
def test_status_and_rejects(sampled: Workspace) -> None:
    """What was not taken, archives refused whole too, is listed as a table, as CSV and as JSON."""
    (sampled.input / "broken.zip").write_bytes(b"no zip")
    (sampled.input / "dangling.zip").symlink_to("nowhere")
    sampled.ingest()
    status = sampled.run("status")
    assert (status.code, "sample.zip" in status.out) == (0, True)
    table = sampled.run("rejects")
    assert "shop/cut.jpg" in table.out
    assert "rejected  not-a-zip           broken.zip: whole archive  (it has only 6 bytes)" in table.out
    assert "failed    vanished            dangling.zip: not finished" in table.out
    assert table.err == "3 members not stored, 1 archive rejected, 1 archive failed.\n"
    rows = list(csv.DictReader(io.StringIO(sampled.run("rejects", "--format", "csv").out)))
    assert [row["reason"] for row in rows] == ["not-a-zip", "vanished", "truncated", "not-an-image", "litter"]
    assert [(row["archive"], row["member"]) for row in rows[:2]] == [("broken.zip", ""), ("dangling.zip", "")]
    assert json.loads(sampled.run("rejects", "--format", "json").out) == rows
    assert list(rows[0]) == ["archive", "member", "verdict", "reason", "detail"]


def test_nothing_to_do(workspace: Workspace) -> None:
    """An empty input folder is no error."""
    ran = workspace.ingest()
    assert (ran.code, "Nothing to do" in ran.out) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-size", "0"],
        ["--check", "maybe"],
        ["nowhere.zip"],
        ["--max-member-bytes", "much"],
        ["--frobnicate"],
    ],
)
def test_wrong_usage_exits_with_2(workspace: Workspace, arguments: list[str]) -> None:
    """Wrong usage is told apart from failure."""
    assert workspace.run("ingest", *arguments).code == 2


@pytest.mark.slow
def test_bad_archives_leave_the_good_ones(sampled: Workspace) -> None:
    """Whatever lies beside it, the good archive is done; each bad one has its own verdict."""
    whole = (sampled.input / "sample.zip").read_bytes()
    (sampled.input / "empty.zip").write_bytes(b"")
    (sampled.input / "text.zip").write_bytes(b"not a zip at all\n" * 50)
    (sampled.input / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (sampled.input / "half.zip.part").write_bytes(whole[:1000])
    os.mkfifo(sampled.input / "pipe.zip")
    (sampled.input / "dangling.zip").symlink_to(Path("nowhere"))
    with (sampled.input / "open.zip").open("wb") as writer:
        writer.write(whole[:5000])
        writer.flush()
        ran = sampled.ingest()
    verdicts = {name: ran.verdict(name) for name in ("empty.zip", "text.zip", "cut.zip")}
    assert {verdict for verdict, _ in verdicts.values()} == {"rejected"}, verdicts
    assert verdicts["empty.zip"] == ("rejected", "empty-file")
    assert verdicts["text.zip"] == ("rejected", "not-a-zip")
    assert ran.verdict("half.zip.part") == ("waiting", "still-written")
    assert ran.verdict("open.zip") == ("waiting", "still-written")
    assert ran.verdict("pipe.zip")[0] in {"failed", "rejected"}
    assert ran.verdict("dangling.zip")[0] == "failed"
    assert ran.verdict("sample.zip") == ("done", "")
    assert ran.code == 1


@pytest.mark.slow
def test_a_zip_that_becomes_whole_meanwhile_waits(workspace: Workspace) -> None:
    """What changed between being found and being opened, or grows while it is looked at, is left for the next run."""
    data = SAMPLE.read_bytes()
    growing, grown = workspace.input / "growing.zip", workspace.input / "grown.zip"
    for path in (growing, grown):
        path.write_bytes(data[:-500])
    with psycopg.connect(workspace.url) as holdup:
        holdup.execute("LOCK TABLE archive, archive_file")
        process = subprocess.Popen(
            workspace.command("ingest", "--after", "move"),
            cwd=workspace.root,
            env=workspace.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while workspace.query(BLOCKED) != [(1,)]:
            assert process.poll() is None
            time.sleep(0.02)
        growing.write_bytes(data[:-400])
        grown.write_bytes(data)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, "2 waiting" in out) == (0, True), err
    ran = workspace.ingest("--after", "move")
    assert (ran.verdict("growing.zip")[0], ran.verdict("grown.zip")[0]) == ("rejected", "done")


@pytest.mark.parametrize("named", [False, True])
def test_what_waits_is_told(workspace: Workspace, named: bool) -> None:
    """A run that took nothing says when to come again; one that was to take that very file says so by its code."""
    path = workspace.input / "half.zip.part"
    path.write_bytes(SAMPLE.read_bytes()[:1000])
    ran = workspace.ingest(*[path] * named)
    assert "Waiting:  1 archive (still-written). The file is still being written; run again" in ran.out
    assert ran.code == 3 * named
    assert workspace.query("SELECT exit_code FROM run") == [(3 * named,)]
