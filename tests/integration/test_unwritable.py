"""Folders that cannot be written: a run says which and why, and takes all in once they can."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.surroundings import SmallDisk, move_to, words
from tests.workspace import SAMPLE, Workspace

pytestmark = pytest.mark.slow


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
    shutil.copy(SAMPLE, workspace.input)
    ran = workspace.run("ingest", "--engine", "serial", option, "/proc/nothing")
    assert ran.code == 1
    assert "/proc/nothing cannot be written: No such file or directory" in ran.err
    assert "disk-space" not in ran.out + ran.err
