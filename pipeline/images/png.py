"""Checking PNGs: every chunk's CRC, and the end (PNG 3rd edition, 5.3 and 5.6)."""

from __future__ import annotations

from isal import isal_zlib

from pipeline.errors import ImageError

SIGNATURE_SIZE = 8
LIMIT_CHUNKS = 200_000


def check(data: memoryview) -> str:
    """Walk the chunks of a PNG; give a remark, empty when there is none. Raises `ImageError`.

    A wrong CRC in an ancillary chunk is only noted: pictures do not depend on those.
    """
    place, remark = SIGNATURE_SIZE, ""
    for _ in range(LIMIT_CHUNKS):
        if place + 12 > len(data):
            raise ImageError("truncated", "it ends before its IEND chunk")
        size = int.from_bytes(data[place : place + 4], "big")
        kind = bytes(data[place + 4 : place + 8])
        end = place + 12 + size
        if end > len(data):
            raise ImageError("truncated", f"its {_name(kind)} chunk runs over the end")
        if isal_zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            if not kind[0] & 0x20:
                raise ImageError("corrupt", f"the checksum of its {_name(kind)} chunk at {place} is wrong")
            remark = f"png: the checksum of its {_name(kind)} chunk is wrong"
        if kind == b"IEND":
            return f"png: {len(data) - end} bytes follow the end" if end < len(data) else remark
        place = end
    raise ImageError("corrupt", f"it has more than {LIMIT_CHUNKS:,} chunks")


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")
