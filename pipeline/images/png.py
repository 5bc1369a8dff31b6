"""Checking PNGs: every chunk's CRC, and the end (PNG 3rd edition, 5.3 and 5.6)."""

from __future__ import annotations

from isal import isal_zlib

from pipeline.errors import ImageError
from pipeline.words import counted

SIGNATURE_SIZE = 8
ANCILLARY = 0x20
COLOUR_TYPE, PALETTE = 25, 3
"""Where IHDR has the colour type, and the one that needs a palette."""
LIMIT_CHUNKS = 200_000


def check(data: memoryview) -> tuple[memoryview, str]:
    """Walk the chunks of a PNG; give what is to be decoded, and a remark, empty when there is none.

    Pictures do not depend on ancillary chunks: those with a wrong CRC are noted and left out, as viewers do.
    Raises `ImageError`.
    """
    place, remark = SIGNATURE_SIZE, ""
    bad: list[tuple[int, int]] = []
    needs_palette = len(data) > COLOUR_TYPE and data[COLOUR_TYPE] == PALETTE
    for _ in range(LIMIT_CHUNKS):
        if place + 12 > len(data):
            raise ImageError("truncated", "it ends before its IEND chunk")
        size = int.from_bytes(data[place : place + 4], "big")
        kind = bytes(data[place + 4 : place + 8])
        end = place + 12 + size
        if end > len(data):
            raise ImageError("truncated", f"its {_name(kind)} chunk runs over the end")
        if isal_zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            if not kind[0] & ANCILLARY:
                raise ImageError("corrupt", f"the checksum of its {_name(kind)} chunk at {place} is wrong")
            bad.append((place, end))
            remark = f"png: the checksum of its {_name(kind)} chunk is wrong"
        needs_palette = needs_palette and kind != b"PLTE"
        if kind == b"IDAT" and needs_palette:
            raise ImageError("corrupt", "its palette is missing")
        if kind == b"IEND":
            if end < len(data):
                remark = remark or f"png: {counted(len(data) - end, 'byte')} after the end"
            return _without(data, bad) if bad else data, remark
        place = end
    raise ImageError("corrupt", f"it has more than {LIMIT_CHUNKS:,} chunks")


def _without(data: memoryview, bad: list[tuple[int, int]]) -> memoryview:
    starts = [0, *(end for _, end in bad)]
    ends = [*(start for start, _ in bad), len(data)]
    return memoryview(b"".join(bytes(data[start:end]) for start, end in zip(starts, ends, strict=True)))


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")
