"""The end records and the central directory of a zip, read without trusting either (APPNOTE 4.3, 4.4).

The file is read with ordinary reads, never through a memory map: a file that is cut while it is read gives
an error here, not a signal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from pipeline.errors import ArchiveError

LOCAL = b"PK\x03\x04"
CENTRAL = b"PK\x01\x02"
END = b"PK\x05\x06"
END64 = b"PK\x06\x06"
LOCATOR64 = b"PK\x06\x07"
SPLIT_MARKS = (b"PK\x07\x08", b"PK00")
END_SIZE, END64_SIZE, LOCATOR_SIZE, CENTRAL_SIZE, LOCAL_SIZE = 22, 56, 20, 46, 30
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF
CHUNK = 1 << 20

_END = Struct("<4sHHHHIIH")
_END64 = Struct("<4sQHHIIQQQQ")
_LOCATOR = Struct("<4sIQI")
_CENTRAL = Struct("<4sBBHHHHHIIIHHHHHII")


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


class RawEntry(NamedTuple):
    """One record of the central directory, 64-bit values resolved; `offset` counts from the start of the file."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    raw: bytes
    extra: bytes
    system: int
    attributes: int
    flags: int
    method: int
    crc: int
    compressed_size: int
    size: int
    offset: int


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
        raise ArchiveError("truncated" if head[:2] == b"PK" else "not-a-zip", f"it has only {size} bytes")
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
        raise ArchiveError("structure", f"the end record counts {count} members in {size} bytes")
    if count == 0 and start > 0:
        head = read_at(descriptor, 4, offset) if offset + 4 <= start else b""
        if head == LOCAL or read_at(descriptor, 4, 0) == LOCAL:
            raise ArchiveError("structure", "the end record counts no members where there are some")
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


def entries(descriptor: int, directory: Directory) -> Iterator[RawEntry]:
    """Yield the records of the directory in order; raises `ArchiveError` where they contradict the end record."""
    buffer, position, left = b"", 0, directory.size
    index = 0
    while True:
        if len(buffer) - position < CENTRAL_SIZE + 3 * MAX16 and left:
            more = min(CHUNK, left)
            buffer = buffer[position:] + read_at(descriptor, more, directory.start + directory.size - left)
            left -= more
            position = 0
        if position == len(buffer):
            break
        if len(buffer) - position < CENTRAL_SIZE:
            raise ArchiveError("structure", f"record {index} of the directory is cut")
        fields = _CENTRAL.unpack_from(buffer, position)
        if fields[0] != CENTRAL:
            raise ArchiveError("structure", f"record {index} of the directory is none")
        name_end = position + CENTRAL_SIZE + fields[11]
        extra_end = name_end + fields[12]
        after = extra_end + fields[13]
        if after > len(buffer):
            raise ArchiveError("structure", f"record {index} of the directory runs over its end")
        raw = buffer[position + CENTRAL_SIZE : name_end]
        extra = buffer[name_end:extra_end]
        yield _entry(index, fields, raw, extra, directory.base)
        position = after
        index += 1
    expected = directory.count
    if index != expected and (directory.exact_count or index & MAX16 != expected):
        raise ArchiveError(
            "structure", f"the end record counts {expected} members, the directory has {index}"
        )


def _entry(index: int, fields: tuple[int, ...], raw: bytes, extra: bytes, base: int) -> RawEntry:
    (_, _, system, _, flags, method, _, _, crc, compressed, size, _, _, _, disk, _, attributes, offset) = (
        fields
    )
    if MAX32 in {compressed, size, offset} or disk == MAX16:
        compressed, size, offset, disk = _resolve64(index, extra, compressed, size, offset, disk)
    if disk:
        raise ArchiveError("multi-disk", f"member {index} lies on disk {disk}")
    return RawEntry(
        index, raw, extra, system, attributes, flags, method, crc, compressed, size, base + offset
    )


def _resolve64(  # noqa: PLR0913, PLR0917 - one for each field that may be widened
    index: int, extra: bytes, compressed: int, size: int, offset: int, disk: int
) -> tuple[int, int, int, int]:
    """Take 64-bit values from the extra field where the record has none (APPNOTE 4.5.3)."""
    field = extra_field(extra, 1)
    if field is None:
        if disk == MAX16:
            raise ArchiveError("multi-disk", f"member {index} lies on another disk")
        return compressed, size, offset, disk
    position = 0

    def take(value: int, none: int, width: int) -> int:
        nonlocal position
        if value != none:
            return value
        if position + width > len(field):
            raise ArchiveError("structure", f"the 64-bit sizes of member {index} are cut")
        position += width
        return int.from_bytes(field[position - width : position], "little")

    size = take(size, MAX32, 8)
    compressed = take(compressed, MAX32, 8)
    offset = take(offset, MAX32, 8)
    return compressed, size, offset, take(disk, MAX16, 4)


def extra_field(extra: bytes, wanted: int) -> bytes | None:
    """Give the content of an extra field (APPNOTE 4.5.1), or None."""
    position = 0
    while position + 4 <= len(extra):
        kind = int.from_bytes(extra[position : position + 2], "little")
        size = int.from_bytes(extra[position + 2 : position + 4], "little")
        if kind == wanted:
            return extra[position + 4 : position + 4 + size]
        position += 4 + size
    return None
