"""Archives and images made by others, and made to do harm, through the whole product."""

from __future__ import annotations

import csv
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from pipeline.news import STAMP
from tests.workspace import Ran, Workspace

pytestmark = pytest.mark.slow

csv.field_size_limit(1 << 30)

ARGUED = {
    "Pillow/image/hopper_bad_exif.jpg",
    "go-fuzz/image/4c4af0a531dfa9345e3f3f87b606672c1a924719-1",
    *(f"Pillow/image/g4_orientation_{number}.tif" for number in (5, 6, 7, 8)),
}
"""Images whose listed outcome is not ours, with reasons in docs/decisions.md."""


def outside(workspace: Workspace) -> dict[str, tuple[int, int, int]]:
    """Give size, mode and modification time of everything in the workspace but the extracted tree and the store."""
    found: dict[str, tuple[int, int, int]] = {}
    for folder, folders, files in os.walk(workspace.root):
        if Path(folder) == workspace.root:
            folders[:] = [name for name in folders if name not in {"extracted", "static"}]
        for name in files:
            status = (Path(folder) / name).lstat()
            found[str(Path(folder) / name)] = (status.st_size, status.st_mode, status.st_mtime_ns)
    return found


def assert_invariants(workspace: Workspace, ran: Ran, before: dict[str, tuple[int, int, int]]) -> None:
    """Nothing outside the folders, nothing but plain files inside, no crash, every balance closed."""
    assert ran.code in {0, 1}, ran.err
    assert "Traceback" not in ran.err
    after = outside(workspace)
    for ours in ("report.json", f".data/{STAMP}"):
        after.pop(str(workspace.root / ours), None)
    assert after == before
    for folder in (workspace.extracted, workspace.static):
        for path in folder.rglob("*"):
            assert not path.is_symlink(), path
            assert path.is_file() or path.is_dir(), path
            assert not path.name.startswith("."), path
    for archive in ran.report["archives"]:
        balance = dict(archive["balance"])
        members = balance.pop("members")
        assert members == sum(balance.values()), archive
        assert archive["verdict"] in {"done", "known", "rejected"}, archive
        if archive["verdict"] == "rejected":
            assert archive["reason"], archive
    stored = {row[0] for row in workspace.query("SELECT local_url FROM image_info")}
    on_disk = {
        f"/{path.relative_to(workspace.root)}" for path in workspace.static.rglob("*") if path.is_file()
    }
    assert stored == on_disk


def test_archives_of_other_projects(workspace: Workspace, shared: Path) -> None:
    """Archives that careful ingesters refuse whole are refused, those that open are done."""
    corpus = shared / "corpus"
    with (corpus / "expected.tsv").open(encoding="utf-8") as file:
        expected = {row["path"]: row for row in csv.DictReader(file, delimiter="\t") if row["kind"] == "zip"}
    for path in expected:
        shutil.copy(corpus / path, workspace.input / path.replace("/", "__"))
    before = outside(workspace)
    ran = workspace.ingest(*sorted(workspace.input.iterdir()))
    assert_invariants(workspace, ran, before)
    wrong = []
    for path, row in expected.items():
        verdict, reason = ran.verdict(path.replace("/", "__"))
        allowed = {row["expected"], *row["also_ok"].replace(";", ",").split(",")}
        if verdict == "rejected" and not allowed & {"rejected-archive", "either"}:
            wrong.append((path, verdict, reason, allowed))
        if verdict in {"done", "known"} and allowed <= {"rejected-archive", ""}:
            wrong.append((path, verdict, reason, allowed))
    assert not wrong


def test_archives_made_to_do_harm(workspace: Workspace, evil: Path) -> None:
    """Slips, bombs, lies and odd names cost a member or an archive its verdict, never the run."""
    manifest = json.loads((evil / "manifest.json").read_text("utf-8"))["cases"]
    cases = {case["file"].replace("/", "__"): case for case in manifest if case["kind"] == "zip"}
    for name, case in cases.items():
        shutil.copy(evil / case["file"], workspace.input / name)
    before = outside(workspace)
    ran = workspace.ingest()
    assert_invariants(workspace, ran, before)
    wrong = []
    for name, case in cases.items():
        verdict, reason = ran.verdict(name)
        allowed = {case["expected"], *(case.get("also_ok") or [])}
        if verdict == "rejected" and not allowed & {"rejected-archive", "either"}:
            wrong.append((name, verdict, reason, allowed))
        if verdict == "done" and allowed == {"rejected-archive"}:
            wrong.append((name, verdict, reason, allowed))
    assert not wrong


def test_images_of_other_projects(workspace: Workspace, shared: Path) -> None:
    """Every image that decoders agree on gets the verdict they give it, in killable workers."""
    corpus = shared / "corpus"
    with (corpus / "expected.tsv").open(encoding="utf-8") as file:
        expected = {
            row["path"]: row for row in csv.DictReader(file, delimiter="\t") if row["kind"] == "image"
        }
    with zipfile.ZipFile(workspace.input / "images.zip", "w") as archive:
        for path in expected:
            archive.write(corpus / path, path)
    before = outside(workspace)
    ran = workspace.ingest("--timeout", "20")
    assert_invariants(workspace, ran, before)
    assert ran.verdict("images.zip")[0] == "done"
    assert ran.report["balance"]["members"] == len(expected)
    assert ran.report["balance"]["failed"] == 0
    taken = {
        name: (width, height)
        for name, width, height in workspace.query(
            "SELECT member_name, width, height FROM image_source JOIN image_info i ON i.id = image_id"
        )
    }
    wrong = []
    for path, row in expected.items():
        verdict = "accept" if path in taken else "reject"
        if "either" not in {row["expected"]} and verdict not in {row["expected"], *row["also_ok"].split(",")}:
            wrong.append(path)
        if row["expected"] == "accept" and path in taken and row["dimensions"]:
            width, height = taken[path]
            if row["dimensions"] != f"{width}x{height}":
                wrong.append(path)
    assert set(wrong) == ARGUED


def test_images_made_to_do_harm(workspace: Workspace, evil: Path) -> None:
    """Bombs, cuts and lies in images cost one member each; those that are only odd are taken."""
    manifest = json.loads((evil / "manifest.json").read_text("utf-8"))["cases"]
    cases = {case["file"]: case for case in manifest if case["kind"] == "image"}
    with zipfile.ZipFile(workspace.input / "images.zip", "w") as archive:
        for path in cases:
            archive.write(evil / path, path)
    before = outside(workspace)
    ran = workspace.ingest("--timeout", "20")
    assert_invariants(workspace, ran, before)
    assert ran.report["balance"]["members"] == len(cases)
    taken = {row[0] for row in workspace.query("SELECT member_name FROM image_source")}
    wrong = []
    for path, case in cases.items():
        allowed = {case["expected"], *(case.get("also_ok") or [])}
        if "either" not in allowed and ("accept" if path in taken else "reject") not in allowed:
            wrong.append(path)
    assert not wrong
