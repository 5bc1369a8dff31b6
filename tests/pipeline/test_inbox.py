"""The inbox finds archives, and tells those that are still on their way."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.inbox import being_written, changed, discover

ZIP = b"PK\x03\x04" + bytes(30)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Give an input folder with everything that people drop."""
    for name in ("b.zip", "a.ZIP", "c.cbz", ".hidden.zip", "half.zip.part", "notes.txt", "sub/d.zip"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(ZIP if "zip" in name.lower() or "cbz" in name else b"text")
    for folder in ("processed", "failed", ".git"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "old.zip").write_bytes(ZIP)
    (tmp_path / "no-suffix").write_bytes(ZIP)
    return tmp_path


def test_archives_are_found_in_order(inbox: Path) -> None:
    """Zips are found by suffix or content, in folders too; hidden and set-aside files are passed over."""
    names = [delivery.file.name for delivery in discover([], inbox)]
    assert names == ["a.ZIP", "b.zip", "c.cbz", "half.zip.part", "no-suffix", "sub/d.zip"]


def test_unfinished_names_are_partial(inbox: Path) -> None:
    """A name that says download in progress marks the delivery."""
    assert [d.file.name for d in discover([], inbox) if d.partial] == ["half.zip.part"]


def test_a_named_file_is_taken_whatever_its_name(inbox: Path) -> None:
    """What a person names is judged, not passed over."""
    assert [d.file.name for d in discover([inbox / "notes.txt"], inbox)] == ["notes.txt"]


def test_undecodable_names_are_escaped(tmp_path: Path) -> None:
    """A file name that is not UTF-8 gets a name that a database can hold."""
    (tmp_path / b"\xff.zip".decode("utf-8", "surrogateescape")).write_bytes(ZIP)
    assert [d.file.name for d in discover([], tmp_path)] == ["\\xff.zip"]


def test_an_open_writer_is_seen(tmp_path: Path) -> None:
    """A file that somebody has open for writing is told from one at rest."""
    path = tmp_path / "a.zip"
    path.write_bytes(ZIP)
    assert not being_written(path)
    with path.open("ab"):
        assert being_written(path)
    assert not being_written(path)


def test_a_changed_file_is_seen(tmp_path: Path) -> None:
    """A file that grew since it was discovered is told from one that did not."""
    path = tmp_path / "a.zip"
    path.write_bytes(ZIP)
    (delivery,) = discover([], tmp_path)
    assert not changed(delivery)
    path.write_bytes(ZIP * 2)
    assert changed(delivery)
    path.unlink()
    assert changed(delivery)
