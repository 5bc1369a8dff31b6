"""What becomes of zips when their verdict is in: kept, moved, deleted; never lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workspace import SAMPLE, Workspace


@pytest.fixture
def inbox(workspace: Workspace) -> Workspace:
    """Give a workspace with a good zip in a folder, a copy of it, a broken one and one still on its way."""
    (workspace.input / "sub").mkdir()
    shutil.copy2(SAMPLE, workspace.input / "sub" / "good.zip")
    (workspace.input / "broken.zip").write_bytes(b"not a zip at all\n" * 50)
    (workspace.input / "half.zip.part").write_bytes(SAMPLE.read_bytes()[:2000])
    return workspace


def tree(folder: Path) -> list[str]:
    """Name the files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_keep_is_the_default(inbox: Workspace) -> None:
    """Nothing is moved unless asked for."""
    before = tree(inbox.input)
    inbox.ingest()
    assert tree(inbox.input) == before
    assert not (inbox.root / "processed").exists()


def test_move(inbox: Workspace) -> None:
    """What is taken in goes to processed/, what is refused to failed/, with folders; what waits stays."""
    first = inbox.ingest("--after", "move")
    assert first.code == 1
    for folder in ("processed", "failed"):
        assert f"1 moved to {inbox.root / folder}" in first.out
    assert tree(inbox.input) == ["half.zip.part"]
    assert tree(inbox.root / "processed") == ["sub/good.zip"]
    assert tree(inbox.root / "failed") == ["broken.zip"]
    shutil.copy2(SAMPLE, inbox.input / "sub" / "good.zip")
    ran = inbox.ingest("--after", "move")
    assert (ran.code, ran.verdict("sub/good.zip")) == (0, ("known", "already-done"))
    assert f"Zips:     1 moved to {inbox.root / 'processed'}." in ran.out
    assert tree(inbox.root / "processed") == ["sub/good.zip", "sub/good~1.zip"]
    assert tree(inbox.input) == ["half.zip.part"]


@pytest.mark.slow
def test_delete(inbox: Workspace) -> None:
    """What is taken in, now or before, is deleted; what is refused or waits stays."""
    assert inbox.ingest("--after", "delete").code == 1
    assert tree(inbox.input) == ["broken.zip", "half.zip.part"]
    shutil.copy2(SAMPLE, inbox.input / "again.zip")
    (inbox.input / "broken.zip").rename(inbox.root / "broken.zip")
    (inbox.input / "half.zip.part").rename(inbox.root / "half.zip.part")
    ran = inbox.ingest("--after", "delete")
    assert ran.verdict("again.zip") == ("known", "already-done")
    assert "Nothing new: 1 archive was processed before.\nZips:     1 deleted." in ran.out
    assert tree(inbox.input) == []
    assert not (inbox.root / "processed").exists()


@pytest.mark.slow
def test_an_archive_that_failed_stays(inbox: Workspace) -> None:
    """Without room on the disk nothing is delivered, so nothing leaves."""
    before = tree(inbox.input)
    (inbox.input / "broken.zip").unlink()
    ran = inbox.ingest("--after", "delete", "--reserve", "1000000G")
    assert ran.code == 1
    assert ran.verdict("sub/good.zip") == ("failed", "disk-space")
    assert tree(inbox.input) == [name for name in before if name != "broken.zip"]
    assert inbox.ingest("--after", "delete").code == 0
    assert tree(inbox.input) == ["half.zip.part"]


@pytest.mark.slow
def test_a_link_stays(workspace: Workspace) -> None:
    """A symbolic link is read, and left alone with what it points at."""
    elsewhere = workspace.root / "elsewhere.zip"
    shutil.copy2(SAMPLE, elsewhere)
    (workspace.input / "link.zip").symlink_to(Path("..") / "elsewhere.zip")
    for after in ("move", "delete"):
        assert workspace.ingest("--after", after).code == 0
        assert (workspace.input / "link.zip").is_symlink()
        assert elsewhere.exists()


@pytest.mark.slow
def test_named_files_are_moved_too(workspace: Workspace) -> None:
    """A file named on the command line, from anywhere, goes beside the input folder."""
    shutil.copy2(SAMPLE, workspace.root / "named.zip")
    assert workspace.ingest("--after", "move", workspace.root / "named.zip").code == 0
    assert tree(workspace.root / "processed") == ["named.zip"]


@pytest.mark.slow
def test_what_cannot_be_moved_is_said(workspace: Workspace) -> None:
    """A move that fails leaves the zip, says why, and the run goes on and exits with 1."""
    shutil.copy2(SAMPLE, workspace.input)
    (workspace.root / "processed").write_text("a file is in the way")
    ran = workspace.ingest("--after", "move")
    assert ran.code == 1
    assert ran.verdict("sample.zip") == ("done", "")
    assert "sample.zip" in ran.report["warnings"][0]
    assert tree(workspace.input) == ["sample.zip"]
