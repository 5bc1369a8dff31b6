"""Members are cut into slices by count and bytes; what is recorded already goes along or is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.archives import ZipArchive
from pipeline.records import Archive, Entry, FileIdentity, Recorded, Slice, State, Verdict
from pipeline.settings import Limits
from pipeline.slices import FEWEST, MOST, SHARES, slices
from tests.zips import File, zipped


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of an archive of 150 members."""
    path = tmp_path / "a.zip"
    path.write_bytes(zipped([File(b"%d.png" % number) for number in range(150)]))
    return path


def cut(path: Path, recorded: list[Recorded]) -> list[Slice]:
    """Cut an archive into slices."""
    with ZipArchive(path, Limits()) as archive:
        file = FileIdentity(path.name, archive.size, 0, 0)
        entry = Entry(7, Archive(path, file, archive.digest, "a", archive.count), State.RUNNING, "folder")
        return list(slices(entry, archive, recorded))


def test_all_members_in_order(path: Path) -> None:
    """Every member is in one slice; the last slice is marked."""
    made = cut(path, [])
    assert [member.index for one in made for member in one.members] == list(range(150))
    assert max(len(one.members) for one in made) == FEWEST
    assert [one.last for one in made] == [False] * (len(made) - 1) + [True]
    assert {(one.archive_id, one.path, one.size, one.folder) for one in made} == {
        (7, str(path), path.stat().st_size, "folder")
    }


@pytest.mark.parametrize(("members", "largest"), [(5, 5), (FEWEST * SHARES * 2, FEWEST * 2), (9000, MOST)])
def test_slices_grow_with_the_archive(tmp_path: Path, members: int, largest: int) -> None:
    """Few members are shared out among workers; many go in slices that cost little by themselves."""
    path = tmp_path / "b.zip"
    path.write_bytes(zipped([File(b"%d.png" % number) for number in range(members)]))
    assert max(len(one.members) for one in cut(path, [])) == largest


def test_what_is_recorded(path: Path) -> None:
    """Verdicts are left out, images go along to be checked, failures are tried again."""
    recorded = [
        Recorded(0, b"x" * 32, "png", Verdict.STORED, ""),
        Recorded(1, b"", "", Verdict.REJECTED, "corrupt"),
        Recorded(2, b"", "", Verdict.FAILED, "not-delivered"),
        Recorded(149, b"", "", Verdict.IGNORED, "litter"),
    ]
    members = [member for one in cut(path, recorded) for member in one.members]
    assert [member.index for member in members] == [0, *range(2, 149)]
    assert [member.index for member in members if member.recorded] == [0]


def test_nothing_left_is_one_empty_slice(path: Path) -> None:
    """An archive whose members are all recorded still comes to its end."""
    recorded = [Recorded(number, b"", "", Verdict.REJECTED, "corrupt") for number in range(150)]
    (only,) = cut(path, recorded)
    assert (only.members, only.last) == ((), True)
