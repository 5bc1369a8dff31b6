"""Files are moved and removed without replacing any, and only while they are what was read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline.moves import LEAVING, identity, move, put_back, remove


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a delivered file."""
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    path.write_bytes(b"first")
    return path


@pytest.fixture(params=["renameat2", "reserved"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rename with the system call, and as where there is none."""
    if request.param == "reserved":
        monkeypatch.setattr(sys, "platform", "other")


@pytest.mark.usefixtures("way")
def test_a_move_never_overwrites(file: Path, tmp_path: Path) -> None:
    """A second file of the same name gets a name like it; both keep their content."""
    target = tmp_path / "processed" / "sub" / "a.zip"
    assert move(file, target, identity(file)) == target
    file.write_bytes(b"second")
    assert move(file, target, identity(file)) == target.with_name("a~1.zip")
    assert [path.read_bytes() for path in sorted(target.parent.iterdir())] == [b"first", b"second"]
    assert not file.exists()


@pytest.mark.usefixtures("way")
def test_a_changed_file_is_neither_moved_nor_removed(file: Path, tmp_path: Path) -> None:
    """What was replaced or grew since it was read stays, whole, under its own name."""
    before = identity(file)
    file.write_bytes(b"first and more")
    assert move(file, tmp_path / "processed" / "a.zip", before) is None
    assert not remove(file, before)
    assert file.read_bytes() == b"first and more"
    assert not (file.parent / LEAVING).exists()


@pytest.mark.usefixtures("way")
def test_a_file_is_removed(file: Path) -> None:
    """Nothing is left behind."""
    assert remove(file, identity(file))
    assert list(file.parent.iterdir()) == []


def test_what_a_killed_run_set_aside_comes_back(file: Path) -> None:
    """A file that was being removed is put back where it was, beside one that took its name meanwhile."""
    aside = file.parent / LEAVING
    aside.mkdir()
    (aside / "a.zip").write_bytes(b"set aside")
    put_back(file.parent.parent)
    assert sorted(path.name for path in file.parent.iterdir()) == ["a.zip", "a~1.zip"]
    assert file.read_bytes() == b"first"


def test_a_move_across_file_systems(file: Path) -> None:
    """A file goes whole to another file system, with its time; one that changed stays."""
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == file.stat().st_dev:
        pytest.skip("there is no second file system here")
    target = elsewhere / f"pipeline-test-{os.getpid()}" / "a.zip"
    before = identity(file)
    try:
        assert move(file, target, before) == target
        assert not file.exists()
        assert (target.read_bytes(), target.stat().st_mtime_ns) == (b"first", before.mtime_ns)
        file.write_bytes(b"longer than before")
        assert move(file, target, before) is None
        assert sorted(path.name for path in target.parent.iterdir()) == ["a.zip"]
        assert file.read_bytes() == b"longer than before"
    finally:
        for path in target.parent.iterdir():
            path.unlink()
        target.parent.rmdir()
