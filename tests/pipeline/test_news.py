"""The guess whether something is new is right where it is easy, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.inbox import Delivery, discover
from pipeline.news import STAMP, likely, seen

OLD = 1_000_000_000


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Give an input folder with an old zip, and a run that has seen it."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.zip").write_bytes(b"PK")
    os.utime(inbox / "a.zip", (OLD, OLD))
    os.utime(inbox, (OLD, OLD))
    seen(tmp_path / "data")
    return inbox


def found(inbox: Path) -> list[Delivery]:
    """Discover what is in the folder."""
    return list(discover([], inbox))


def test_nothing_changed(inbox: Path, tmp_path: Path) -> None:
    """What the last run has seen is no news, nor is an empty folder."""
    assert not likely(tmp_path / "data", found(inbox))
    assert not likely(tmp_path / "elsewhere", [])


def test_the_first_run(inbox: Path, tmp_path: Path) -> None:
    """Without a run before, whatever is there is new."""
    assert likely(tmp_path / "elsewhere", found(inbox))


@pytest.mark.parametrize("old", [True, False])
def test_a_file_came(inbox: Path, tmp_path: Path, old: bool) -> None:
    """A file that was written since is new, and so is one of any age that was put into the folder."""
    later = (tmp_path / "data" / STAMP).stat().st_mtime + 10
    (inbox / "b.zip").write_bytes(b"PK")
    os.utime(inbox / "b.zip", (OLD, OLD) if old else (later, later))
    os.utime(inbox, (later, later) if old else (OLD, OLD))
    assert likely(tmp_path / "data", found(inbox))


def test_where_nothing_can_be_written(inbox: Path, tmp_path: Path) -> None:
    """A stamp that cannot be written is done without."""
    (tmp_path / "file").write_text("in the way", "utf-8")
    seen(tmp_path / "file")
    assert likely(tmp_path / "file", found(inbox))
