"""The directory is found by the one end record that fits."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.zips import File, outcomes, plain, refused, zipped

ONE = zipped([File(b"a.txt", b"hello")])
TWO = zipped([File(b"a.txt", b"hello"), File(b"b.txt", b"world")])
END = b"PK\5\6"


def write(path: Path, data: bytes) -> Path:
    """Write an archive's bytes."""
    file = path / "a.zip"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty-file"),
        (b"P", "not-a-zip"),
        (b"PK\3\4", "truncated"),
        (b"hello " * 100, "not-a-zip"),
        (b"PK\3\4" + bytes(500), "truncated"),
        (b"PK\7\10PK\3\4" + bytes(500), "truncated"),
        (TWO[:-1], "truncated"),
        (TWO[:60], "truncated"),
        (TWO[40:], "truncated"),
        (ONE[:-4] + b"\xff\xff\xff\xff", "truncated"),
        (zipped([File(b"a")], count=2), "structure"),
        (zipped([File(b"a"), File(b"b")], count=1), "structure"),
        (zipped([File(b"a")], count=0), "structure"),
        (b"stub" + zipped([]), "structure"),
        (ONE + TWO, "structure"),
        (zipped([File(b"a")], comment=zipped([File(b"b")])), "structure"),
        (zipped([File(b"a", disk=1)]), "multi-disk"),
        (ONE[: ONE.index(END) + 4] + b"\1\0" + ONE[ONE.index(END) + 6 :], "multi-disk"),
    ],
)
def test_what_is_no_whole_archive(tmp_path: Path, data: bytes, reason: str) -> None:
    """Each way of being no archive has its own reason."""
    assert refused(write(tmp_path, data)) == reason


@pytest.mark.parametrize(
    "data",
    [
        ONE,
        zipped([File(b"a.txt", b"hello")], comment=b"a comment " * 600),
        zipped([File(b"a.txt", b"hello")], comment=b"mentions PK\5\6 and goes on"),
        zipped([File(b"a.txt", b"hello")], prefix=b"#!/bin/sh\nexit 0\n" * 50),
        ONE + b"\r\n",
        ONE + bytes(2000),
    ],
    ids=["plain", "comment", "end-in-comment", "self-extracting", "newline", "padding"],
)
def test_whole_archives(tmp_path: Path, data: bytes) -> None:
    """Comments, programs in front and padding behind are fine."""
    assert outcomes(write(tmp_path, data)) == {"a.txt": b"hello"}


def test_an_empty_archive_is_whole(tmp_path: Path) -> None:
    """An end record alone is an archive of nothing."""
    assert outcomes(write(tmp_path, zipped([]))) == {}


def with_zip64(data: bytes, count: int | None = None) -> bytes:
    """Put a 64-bit end record and its locator in front of the end record, whose fields then say nothing."""
    place = data.rindex(END)
    number, size, offset = struct.unpack("<HII", data[place + 10 : place + 20])
    number = number if count is None else count
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, number, number, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, place, 1)
    end = struct.pack("<4sHHHHIIH", END, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:place] + record + locator + end


def test_64_bit_end_records(tmp_path: Path) -> None:
    """The 64-bit record counts, and must tell the truth."""
    assert outcomes(write(tmp_path, with_zip64(ONE))) == {"a.txt": b"hello"}
    assert refused(write(tmp_path, with_zip64(ONE, 2))) == "structure"
    assert refused(write(tmp_path, with_zip64(ONE, 1 << 40))) == "too-many-members"
    broken = with_zip64(ONE).replace(b"PK\6\6", b"PK\6\5")
    assert refused(write(tmp_path, broken)) == "structure"


def test_every_cut_is_found(tmp_path: Path) -> None:
    """An archive that lost its end, however little, is refused as truncated."""
    whole = plain(**{f"{number}.txt": b"text %d" % number * 20 for number in range(20)})
    for size in range(0, len(whole), 37):
        assert refused(write(tmp_path, whole[:size])) in {"empty-file", "truncated"}, size
