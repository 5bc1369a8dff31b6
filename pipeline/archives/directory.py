"""The records of a zip's central directory, read without trusting them (APPNOTE 4.3.12, 4.4)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from pipeline.archives.ends import CENTRAL, MAX16, MAX32, Directory, read_at
from pipeline.errors import ArchiveError
from pipeline.words import counted

CENTRAL_SIZE, LOCAL_SIZE = 46, 30
CHUNK = 1 << 20

_CENTRAL = Struct("<4sBBHHHHHIIIHHHHHII")


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
            "structure", f"the end record counts {counted(expected, 'member')}, the directory has {index}"
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
