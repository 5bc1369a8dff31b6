"""An archive is judged from its directory before anything is read or written."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from pipeline.archives import ZipArchive
from pipeline.errors import ArchiveError
from pipeline.settings import Limits
from tests.zips import File, members, refused, zipped


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the path of an archive to be written."""
    return tmp_path / "a.zip"


def reasons(path: Path, limits: Limits | None = None) -> list[str]:
    """Give the reason of each member that preflight refuses, empty for the others."""
    return [member.reason for member in members(path, limits or Limits())]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (File(b"a.png", mode=0o120777), "symlink"),
        (File(b"a.png", mode=0o010644), "special-file"),
        (File(b"a.png", mode=0o020644), "special-file"),
        (File(b"a.png", mode=0o140644), "special-file"),
        (File(b"a/", b"data"), "special-file"),
        (File(b"a.png", flags=1), "encrypted"),
        (File(b"a.png", method=99), "encrypted"),
        (File(b"a.png", flags=0x20), "unsupported-method"),
        (File(b"a.png", method=9), "unsupported-method"),
        (File(b"a.png", method=93), "unsupported-method"),
        (File(b"a.png", b"x" * 2001), "member-too-large"),
        (File(b"a.png", b"x" * 100, method=8, size=100_000_000), "member-ratio"),
        (File(b"a.png", b"x" * 100, size=101), "size-mismatch"),
        (File(b"../a.png"), "path-escape"),
        (File(b"/a.png"), "absolute-path"),
        (File(b"a\0.png"), "bad-name"),
        (File(b"\xff.png", flags=0x800), "bad-encoding"),
        (File(b"__MACOSX/._a.png"), "litter"),
        (File(b"Thumbs.db"), "litter"),
        (File(b"a.png"), ""),
    ],
)
def test_members_that_are_refused_unread(file: Path, member: File, reason: str) -> None:
    """What the directory says is enough for a verdict; the neighbour is not concerned."""
    file.write_bytes(zipped([member, File(b"good.png")]))
    assert reasons(file, Limits(max_member_bytes=2000 if reason == "member-too-large" else 1 << 30)) == [
        reason,
        "",
    ]


def test_folders_are_no_members(file: Path) -> None:
    """Folders count for nothing, but keep their index."""
    file.write_bytes(zipped([File(b"a/", b"", mode=0o040755), File(b"b\\", b"", system=0), File(b"a/c.png")]))
    assert [(member.index, member.name) for member in members(file)] == [(2, "a/c.png")]


def test_limits_on_the_whole(file: Path) -> None:
    """Too many members, too many bytes and too high a ratio refuse the archive."""
    file.write_bytes(zipped([File(b"%d" % number, b"x" * 50) for number in range(10)]))
    assert refused(file, Limits(max_members=9)) == "too-many-members"
    assert refused(file, Limits(max_archive_bytes=499)) == "archive-too-large"
    assert refused(file, Limits(max_members=10, max_archive_bytes=500)) == ""
    lie = [File(b"%d" % number, b"x" * 50, method=8, size=60_000_000) for number in range(10)]
    file.write_bytes(zipped(lie))
    assert refused(file) == "bomb-ratio"


def test_flat_pictures_pack_well(file: Path) -> None:
    """A ratio far above the limit says nothing where little comes out."""
    file.write_bytes(zipped([File(b"white.bmp", bytes(10_000_000), method=8)]))
    assert reasons(file) == [""]
    assert reasons(file, Limits(max_ratio=10)) == ["member-ratio"]


@pytest.mark.parametrize(
    "files",
    [
        [File(b"a", b"x" * 100), File(b"b", b"y", offset=0)],
        [File(b"a", b"x" * 100, compressed=150, size=150), File(b"b", b"y" * 100)],
        [File(b"a", b"x" * 100), File(b"b", b"y" * 100, offset=50)],
    ],
    ids=["shared", "longer", "inside"],
)
def test_overlaps(file: Path, files: list[File]) -> None:
    """Members that share bytes are a bomb; the archive is refused."""
    file.write_bytes(zipped(files))
    assert refused(file) == "overlap"


def test_members_beyond_the_directory(file: Path) -> None:
    """A record that points behind the members contradicts the archive."""
    file.write_bytes(zipped([File(b"a", offset=1000)]))
    assert refused(file) == "structure"


def test_equal_and_similar_names_are_set_apart(file: Path) -> None:
    """Nothing is lost to equal names, cases, Unicode forms, or a file where another needs a folder."""
    names = [
        "a.png",
        "a.png",
        "A.PNG",
        "é.png",
        "e\u0301.png",
        "dir",
        "dir/b.png",
        "x/y.png",
        "x//y.png",
        "./x/y.png",
    ]
    file.write_bytes(zipped([File(name.encode(), flags=0x800) for name in names]))
    found = members(file)
    assert [member.name for member in found] == names
    paths = [member.path.casefold() for member in found]
    assert len(set(paths)) == len(paths)
    folders = {path.rsplit("/", count)[0] for path in paths for count in range(1, path.count("/") + 1)}
    assert not folders & set(paths)


def test_the_digest_is_of_directory_and_size(file: Path) -> None:
    """Damage in transit keeps it, another name, size or checksum changes it."""

    def digest(files: list[File], prefix: bytes = b"") -> bytes:
        file.write_bytes(zipped(files, prefix=prefix))
        with ZipArchive(file, Limits()) as archive:
            return archive.digest

    whole = digest([File(b"a", b"hello")])
    assert digest([File(b"a", b"hello")]) == whole
    assert digest([File(b"a", b"jello", crc=0x3610A686)]) == whole
    assert digest([File(b"b", b"hello")]) != whole
    assert digest([File(b"a", b"hallo")]) != whole
    assert digest([File(b"a", b"hello")], prefix=b"x") != whole


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe: a reason, not an exception of another kind."""
    os.mkfifo(tmp_path / "pipe.zip")
    for name, reason in (("none.zip", "vanished"), (".", "unreadable"), ("pipe.zip", "unreadable")):
        with pytest.raises(ArchiveError) as caught:
            ZipArchive(tmp_path / name, Limits())
        assert caught.value.reason == reason


def test_names_in_other_encodings(file: Path) -> None:
    """Names are UTF-8 where flagged, else cp437, else what the user says."""
    file.write_bytes(zipped([File("ж.png".encode("cp866")), File("ж.png".encode(), flags=0x800)]))
    assert [member.name for member in members(file)] == ["ª.png", "ж.png"]
    assert [member.name for member in members(file, encoding="cp866")] == ["ж.png", "ж.png"]


@pytest.mark.slow
def test_memory_for_each_member(file: Path) -> None:
    """Judging an archive of very many members takes some tens of bytes for each."""
    count = 100_000
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number:06}.png", b"x")
    tracemalloc.start()
    try:
        with ZipArchive(file, Limits()) as archive_:
            assert archive_.count == count
        assert tracemalloc.get_traced_memory()[1] < 64 * count
    finally:
        tracemalloc.stop()
