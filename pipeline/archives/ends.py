"""The end records of a zip, which say where its central directory is, read without trusting them (APPNOTE 4.3).

The file is read with ordinary reads, never through a memory map: a file that is cut while it is read gives
an error here, not a signal.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from struct import Struct

from pipeline.errors import ArchiveError
from pipeline.words import counted

LOCAL = b"PK\x03\x04"
CENTRAL = b"PK\x01\x02"
END = b"PK\x05\x06"
END64 = b"PK\x06\x06"
LOCATOR64 = b"PK\x06\x07"
SPLIT_MARKS = (b"PK\x07\x08", b"PK00")
END_SIZE, END64_SIZE, LOCATOR_SIZE = 22, 56, 20
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF

_END = Struct("<4sHHHHIIH")
_END64 = Struct("<4sQHHIIQQQQ")
_LOCATOR = Struct("<4sIQI")


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the central directory lies: all in bytes from the start of the file.

    `base` is how much was put in front of the archive; offsets in its records count from there.
    """

    start: int
    size: int
    count: int
    base: int
    exact_count: bool


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read exactly `size` bytes at an offset; raises `ArchiveError` when they are not there any more."""
    data = b""
    while len(data) < size:
        try:
            more = os.pread(descriptor, size - len(data), offset + len(data))
        except OSError as error:
            raise ArchiveError("unreadable", f"reading at {offset}: {error.strerror}") from error
        if not more:
            raise ArchiveError("vanished", "it became shorter while it was being read")
        data += more
    return data


def find_directory(descriptor: int, size: int) -> Directory:
    """Find the central directory by the end record that fits; raises `ArchiveError`.

    An end record counts when it ends the file exactly, or else when it is the last one and a directory
    stands before it. Two that both fit, or an archive in front of another, are refused: any choice would
    silently lose the members of the other.
    """
    if size == 0:
        raise ArchiveError("empty-file", "it has no bytes")
    head = read_at(descriptor, min(4, size), 0)
    if size < END_SIZE:
        raise ArchiveError(
            "truncated" if head[:2] == b"PK" else "not-a-zip", f"it has only {counted(size, 'byte')}"
        )
    tail_start = max(0, size - END_SIZE - MAX16)
    tail = read_at(descriptor, size - tail_start, tail_start)
    exact, loose = [], []
    position = tail.rfind(END)
    while position >= 0:
        if position + END_SIZE <= len(tail):
            comment = int.from_bytes(tail[position + 20 : position + 22], "little")
            surplus = len(tail) - position - END_SIZE - comment
            if surplus == 0:
                exact.append(tail_start + position)
            elif surplus > 0:
                loose.append(tail_start + position)
        position = tail.rfind(END, 0, position)
    if not exact and not loose:
        raise ArchiveError(*_without_end(head))
    return _choose(descriptor, exact, loose)


def _without_end(head: bytes) -> tuple[str, str]:
    if head in {LOCAL, *SPLIT_MARKS}:
        return "truncated", "it begins like a zip and has no end record"
    return "not-a-zip", "it has no end record"


def _choose(descriptor: int, exact: list[int], loose: list[int]) -> Directory:
    fitting: list[Directory] = []
    problem: ArchiveError | None = None
    for position in exact or loose[:1]:
        try:
            fitting.append(_directory(descriptor, position))
        except ArchiveError as error:
            problem = problem or error
            if error.reason in {"vanished", "unreadable", "multi-disk"}:
                raise
    if not fitting:
        raise problem or ArchiveError("structure", "no end record fits")
    if len(fitting) > 1:
        raise ArchiveError("structure", "two end records fit; which one is meant cannot be told")
    (directory,) = fitting
    _refuse_archive_in_front(descriptor, directory)
    return directory


def _directory(descriptor: int, position: int) -> Directory:
    (_, disk, start_disk, here, count, size, offset, _) = _END.unpack(read_at(descriptor, END_SIZE, position))
    end, exact_count = position, False
    if position >= LOCATOR_SIZE:
        locator = read_at(descriptor, LOCATOR_SIZE, position - LOCATOR_SIZE)
        if locator[:4] == LOCATOR64:
            found = _end64(descriptor, position, locator)
            if found:
                end, (disk64, start64, here64, count64, size64, offset64) = found
                _agree(disk, disk64, MAX16)
                _agree(start_disk, start64, MAX16)
                _agree(here, here64, MAX16)
                _agree(count, count64, MAX16)
                _agree(size, size64, MAX32)
                _agree(offset, offset64, MAX32)
                disk, start_disk, here, count, size, offset = (
                    disk64, start64, here64, count64, size64, offset64,
                )  # fmt: skip
                exact_count = True
    if disk or start_disk or here != count:
        raise ArchiveError("multi-disk", f"its end record is that of disk {disk}")
    start = end - size
    if start < 0 or start - offset < 0:
        raise ArchiveError("truncated", "the end record points behind itself; bytes are missing before it")
    if count and read_at(descriptor, 4, start) != CENTRAL:
        raise ArchiveError("structure", "the end record does not lead to a directory")
    if (count == 0) != (size == 0):
        raise ArchiveError(
            "structure", f"the end record counts {counted(count, 'member')} in {counted(size, 'byte')}"
        )
    if count == 0 and start > 0:
        raise ArchiveError(
            "structure", f"the end record counts no members, and stands behind {counted(start, 'byte')}"
        )
    return Directory(start, size, count, start - offset, exact_count)


def _end64(descriptor: int, position: int, locator: bytes) -> tuple[int, tuple[int, ...]] | None:
    _, disk, offset, disks = _LOCATOR.unpack(locator)
    if disk or disks > 1:
        raise ArchiveError("multi-disk", f"its 64-bit end record is on disk {disk} of {disks}")
    for place in (offset, position - LOCATOR_SIZE - END64_SIZE):
        if 0 <= place <= position - LOCATOR_SIZE - END64_SIZE:
            record = _END64.unpack(read_at(descriptor, END64_SIZE, place))
            if record[0] == END64:
                if place + 12 + record[1] != position - LOCATOR_SIZE:
                    raise ArchiveError("structure", "the 64-bit end record does not end at its locator")
                return place, record[4:]
    raise ArchiveError("structure", "the 64-bit end record is not where its locator points")


def _agree(short: int, long: int, none: int) -> None:
    if short not in {none, long}:
        raise ArchiveError("structure", f"the end records disagree: {short} and {long}")


def _refuse_archive_in_front(descriptor: int, directory: Directory) -> None:
    if directory.base < END_SIZE:
        return
    start = max(0, directory.base - END_SIZE - MAX16)
    front = read_at(descriptor, directory.base - start, start)
    position = front.rfind(END)
    while position >= 0:
        if position + END_SIZE <= len(front):
            comment = int.from_bytes(front[position + 20 : position + 22], "little")
            if position + END_SIZE + comment == len(front):
                raise ArchiveError("structure", "another archive stands in front of this one")
        position = front.rfind(END, 0, position)
