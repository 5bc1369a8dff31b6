"""`--quarantine` through the real command line."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.workspace import SAMPLE, Workspace

pytestmark = pytest.mark.slow


def test_quarantine(workspace: Workspace) -> None:
    """Rejected members are kept with their notes, litter is not, and the folder must lie apart."""
    shutil.copy(SAMPLE, workspace.input)
    for place in (workspace.static / "q", workspace.input, workspace.root):
        ran = workspace.ingest("--quarantine", place)
        assert (ran.code, "must lie apart" in ran.err) == (2, True)
    kept = workspace.root / "kept"
    assert workspace.ingest("--quarantine", kept).code == 0
    notes = [json.loads(path.read_text("utf-8")) for path in sorted(kept.rglob("*.json"))]
    assert [(note["member"], note["reason"], note["archive"]) for note in notes] == [
        ("shop/cut.jpg", "truncated", "sample.zip"),
        ("shop/prices.txt", "not-an-image", "sample.zip"),
    ]
    assert sorted(path.suffix for path in kept.rglob("*") if path.is_file()) == [
        ".bin",
        ".jpg",
        ".json",
        ".json",
    ]
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    assert workspace.run("retry", "--reason", "truncated", "--quarantine", kept).code == 0
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before
