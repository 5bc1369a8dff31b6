"""`verify`: what is missing, damaged, left over or unbalanced is found, and repaired where that is possible."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.sample import encoded, picture
from pipeline.catalog.changes import alone, delete_image
from pipeline.database import connect
from pipeline.removal import ASIDE, remove_image
from pipeline.temporary import temporary_name
from pipeline.verify import Cursor, Hashers, Memory, Places, Tally, Verify
from tests.workspace import SAMPLE, Workspace

pytestmark = pytest.mark.slow

SHARED = encoded(picture(1, (40, 30)), "PNG")


@pytest.fixture
def taken(workspace: Workspace) -> Workspace:
    """Give a workspace in which two archives, one image in common, were taken in."""
    shutil.copy(SAMPLE, workspace.input / "a.zip")
    with zipfile.ZipFile(workspace.input / "a.zip", "a") as archive:
        archive.writestr("same/name.png", SHARED)
        archive.writestr("SAME/NAME.png", SHARED + b"other")
    with zipfile.ZipFile(workspace.input / "b.zip", "w") as archive:
        archive.writestr("a/b.png", SHARED)
        archive.writestr("a-b.png", SHARED + b"b")
    assert workspace.ingest("--engine", "serial").code == 0
    return workspace


def verify(workspace: Workspace, *arguments: str | Path) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
    """Check; give the exit code, the findings as (outlook, kind), and the whole document."""
    ran = workspace.run("verify", "--data", workspace.root / "data", "--format", "json", *arguments)
    assert "Traceback" not in ran.err, ran.err
    document = json.loads(ran.out)
    return ran.code, sorted((f["outlook"], f["kind"]) for f in document["findings"]), document


def stored(workspace: Workspace, name: str = "same/name.png") -> Path:
    """Give the store's file of a member's image."""
    ((url,),) = workspace.query(
        "SELECT i.local_url FROM image_info i JOIN image_source s ON s.image_id = i.id"
        " WHERE s.member_name = %s LIMIT 1",
        name,
    )
    return workspace.root / str(url).lstrip("/")


def extracted(workspace: Workspace, name: str) -> Path:
    """Give an extracted file by the end of its path."""
    (path,) = [path for path in workspace.extracted.rglob("*") if str(path).endswith(name)]
    return path


def test_nothing_wrong(taken: Workspace) -> None:
    """A catalog that is in order is found so, and nothing is touched."""
    before = taken.files()
    code, findings, document = verify(taken)
    assert (code, findings) == (0, [])
    assert document["complete"] is True
    images = taken.query("SELECT count(*) FROM image_info")[0][0]
    sources = taken.query("SELECT count(*) FROM image_source")[0][0]
    assert document["checked"] == images + sources
    ran = taken.run("verify", "--repair")
    assert (ran.code, ran.out) == (0, f"Checked {images + sources} files: everything is in order.\n")
    assert taken.files() == before


def torn(path: Path) -> None:
    """Spoil a file without changing its name."""
    path.write_bytes(b"torn")


def test_a_file_comes_back(taken: Workspace) -> None:
    """What is missing or damaged on one side comes from the other, and from the archive when both are bad."""
    before = taken.files()
    ways: tuple[Callable[[Path], None], ...] = (Path.unlink, torn)
    for where, spoil in itertools.product(("store", "extracted", "both"), ways):
        shelf, places = stored(taken), [extracted(taken, "same/name~14.png"), extracted(taken, "a/b.png")]
        victims = {"store": [shelf], "extracted": places, "both": [shelf, *places]}[where]
        for path in victims if where != "both" else []:
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data)
        for path in victims:
            spoil(path)
        code, findings, _ = verify(taken)
        assert code == 1, where
        assert {outlook for outlook, _ in findings} == {"found"}, where
        sides = {kind.partition("-")[0] for _, kind in findings}
        assert sides >= ({where} if where != "both" else {"store"}), where
        code, findings, document = verify(taken, "--repair")
        assert code == 0, document
        assert {outlook for outlook, _ in findings} == {"repaired"}, where
        assert taken.files() == before, where
    assert verify(taken)[:2] == (0, [])


def test_everything_lost_comes_back_from_the_archives(taken: Workspace) -> None:
    """When both trees are gone, everything is extracted again from where the archives were moved to."""
    before = taken.files()
    for name in ("processed", "failed"):
        (taken.root / name).mkdir()
    (taken.input / "a.zip").rename(taken.root / "processed" / "renamed.zip")
    (taken.input / "b.zip").rename(taken.root / "failed" / "b.zip")
    for folder in (taken.extracted, taken.static):
        shutil.rmtree(folder)
    code, findings, document = verify(taken, "--repair")
    assert code == 0, document
    assert {outlook for outlook, _ in findings} == {"repaired"}
    assert taken.files() == before


def test_what_is_lost_is_said(taken: Workspace) -> None:
    """An image without any copy left is lost until its archive is named; the message says which."""
    (taken.input / "a.zip").rename(taken.root / "elsewhere.zip")
    name = "holiday/harbour.jpg"
    path, copy = stored(taken, name), extracted(taken, "shop/harbour (copy).jpg")
    for place in (path, copy, extracted(taken, name)):
        place.unlink()
    code, _, document = verify(taken, "--repair")
    assert code == 1
    lost = [f for f in document["findings"] if f["kind"] == "store-missing"]
    assert [f["outlook"] for f in lost] == ["lost"]
    assert "a.zip" in lost[0]["detail"]
    code, _, document = verify(taken, "--repair", taken.root / "elsewhere.zip")
    assert code == 0, document
    assert verify(taken)[:2] == (0, [])


def test_orphans_are_removed_and_foreign_files_stay(taken: Workspace) -> None:
    """Files of ours without a row go, with the folders they leave empty; others are told and left alone."""
    before = taken.files()
    data = encoded(picture(9, (20, 20)), "PNG")
    shelf = taken.static / "ab/cd" / f"abcd{'0' * 60}.png"
    shelf.parent.mkdir(parents=True, exist_ok=True)
    shelf.write_bytes(data)
    twin = stored(taken)
    folder = extracted(taken, "a/b.png").parent.parent
    known, gone = folder / "more" / "b.png", taken.extracted / "gone-0123456789ab" / "x" / "b.png"
    for path in (known, gone):
        path.parent.mkdir(parents=True)
        os.link(twin, path)
    foreign = [taken.static / "notes.txt", taken.extracted / "mine" / "x.png", folder / "own.png"]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    dead = subprocess.Popen(["true"])
    dead.wait()
    living = folder / temporary_name("1")
    leftover = folder / living.name.replace(str(os.getpid()), str(dead.pid), 1)
    for path in (leftover, living):
        path.write_bytes(b"half")
    code, findings, _ = verify(taken)
    assert code == 1
    assert findings == [("found", "leftover"), *[("found", "orphan")] * 3, *[("note", "foreign")] * 3]
    code, findings, _ = verify(taken, "--repair")
    assert code == 0
    assert findings == [*[("note", "foreign")] * 3, ("repaired", "leftover"), *[("repaired", "orphan")] * 3]
    assert not gone.parent.parent.exists()
    for path in (*foreign, living):
        path.unlink()
    assert taken.files() == before


def test_what_a_deletion_set_aside(taken: Workspace) -> None:
    """What a living process is about to remove is nobody's business, what a killed one left goes as a whole."""
    before = taken.files()
    dead = subprocess.Popen(["true"])
    dead.wait()
    for root, process in itertools.product((taken.extracted, taken.static), (os.getpid(), dead.pid)):
        name = temporary_name(f"{ASIDE}0123456789ab").replace(str(os.getpid()), str(process), 1)
        place = root / name / "a-0123456789ab"
        place.mkdir(parents=True)
        (place / "a.png").write_bytes(b"deleted")
        os.link(stored(taken), place / "b.png")
    assert verify(taken)[:2] == (1, [("found", "leftover")] * 2)
    assert verify(taken, "--repair")[:2] == (0, [("repaired", "leftover")] * 2)
    for root in (taken.extracted, taken.static):
        (left,) = root.glob(f".*{ASIDE}*")
        assert f"-{os.getpid()}-" in left.name
        shutil.rmtree(left)
    assert taken.files() == before


def test_the_wrong_database_removes_nothing(taken: Workspace, empty_database_url: str) -> None:
    """Pointing at an empty catalog does not make a whole store into orphans that are removed."""
    before = taken.files()
    ran = taken.run("verify", "--repair", "--database-url", empty_database_url)
    assert ran.code == 1
    assert "right database" in ran.err
    assert taken.files() == before


def test_nothing_is_removed_beside_a_run(taken: Workspace) -> None:
    """While a run holds an archive, a file without a row is not called an orphan, because its row may come."""
    shelf = taken.static / "ab/cd" / f"abcd{'0' * 60}.png"
    shelf.parent.mkdir(parents=True, exist_ok=True)
    shelf.write_bytes(b"on its way")
    with psycopg.connect(taken.url) as other:
        other.execute("SELECT pg_advisory_lock(-42)")
        assert verify(taken, "--repair")[:2] == (0, [])
    assert shelf.exists()
    with psycopg.connect(taken.url, application_name="image-pipeline"):
        assert verify(taken, "--repair")[:2] == (0, [])
    assert shelf.exists()
    assert verify(taken, "--repair")[:2] == (0, [("repaired", "orphan")])


def test_the_ledger_is_checked(taken: Workspace) -> None:
    """Wrong sums are counted anew, missing verdicts open the archive again, and an interrupted one is told."""
    with psycopg.connect(taken.url) as connection:
        connection.execute("UPDATE archive SET stored = stored + 1 WHERE name = 'a.zip'")
        connection.execute("UPDATE archive SET state = 'running' WHERE name = 'b.zip'")
    assert verify(taken)[:2] == (1, [("found", "unbalanced"), ("found", "unfinished")])
    assert verify(taken, "--repair")[:2] == (1, [("found", "unfinished"), ("repaired", "unbalanced")])
    assert taken.ingest().code == 0
    assert verify(taken)[:2] == (0, [])
    before = taken.catalog()
    with psycopg.connect(taken.url) as connection:
        connection.execute("DELETE FROM unstored_member WHERE reason = 'truncated'")
    assert verify(taken, "--repair")[:2] == (1, [("found", "unbalanced")])
    assert taken.ingest().code == 0
    assert verify(taken)[:2] == (0, [])
    assert taken.catalog() == before


def test_an_interrupted_check_goes_on(taken: Workspace) -> None:
    """A check that was stopped goes on where it stopped, with the problems it had found; --restart begins anew."""
    stored(taken).unlink()
    with connect(taken.url, autocommit=True) as connection, Hashers(1) as hashers:
        identity = Verify(connection, Places(taken.extracted, taken.static), hashers).identity()
    with Memory(taken.root / "data", identity) as memory:
        memory.save(Cursor("extracted", "0"), Tally(checked=100, problems=5, repaired=0))
    ran = taken.run("verify", "--data", taken.root / "data")
    assert ran.code == 1
    assert "Going on" in ran.err
    assert "store-missing" not in ran.out
    assert "5 problems" in ran.out
    ran = taken.run("verify", "--data", taken.root / "data")
    assert "Going on" not in ran.err
    assert "1 problem left" in ran.out
    with Memory(taken.root / "data", identity) as memory:
        memory.save(Cursor("extracted", "0"), Tally(checked=100, problems=5, repaired=0))
    assert "store-missing" in taken.run("verify", "--data", taken.root / "data", "--restart").out


def test_wrong_usage(taken: Workspace) -> None:
    """Wrong usage exits with 2 and a sentence."""
    assert taken.run("verify", "--format", "xml").code == 2
    assert taken.run("verify", "--static", taken.extracted).code == 2


def test_a_deleted_image_is_no_problem(taken: Workspace) -> None:
    """After an image was deleted, with its files, balances are closed and nothing is missing or left over."""
    ((sha256, type_),) = taken.query(
        "SELECT i.sha256, i.type FROM image_info i JOIN image_source s ON s.image_id = i.id"
        " WHERE s.member_name = 'a/b.png'"
    )
    with connect(taken.url) as connection, alone(connection):
        (deleted,) = delete_image(connection, sha256)
        assert remove_image(taken.static, taken.extracted, (sha256, type_), deleted.folders) == 2
    assert verify(taken)[:2] == (0, [])
    assert taken.query("SELECT member_name, verdict FROM unstored_member WHERE reason = 'deleted'") == [
        ("same/name.png", "ignored"),
        ("a/b.png", "ignored"),
    ]
    assert "Nothing new" in taken.ingest().out


def test_beside_a_running_ingest(workspace: Workspace) -> None:
    """Checks and repairs beside a run find nothing to complain of, and take nothing from it."""
    with zipfile.ZipFile(workspace.input / "many.zip", "w") as archive:
        for index in range(1500):
            archive.writestr(f"{index}.png", SHARED + index.to_bytes(4, "big"))
    process = subprocess.Popen(
        workspace.command("ingest", "--batch-size", "40", "--workers", "2"),
        cwd=workspace.root,
        env=workspace.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_files(workspace.static)
    beside = []
    while process.poll() is None:
        beside.append(verify(workspace, "--repair")[:2])
    assert process.returncode == 0
    assert set(map(str, beside[:-1])) <= {"(0, [])"}
    assert workspace.query("SELECT stored FROM archive") == [(1500,)]
    assert verify(workspace)[:2] == (0, [])


def wait_for_files(folder: Path) -> None:
    """Wait until something was written below a folder."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not any(path.is_file() for path in folder.rglob("*")):
        time.sleep(0.01)
