"""The tags of an EXIF block that has nothing odd about it, read without Pillow (TIFF 6.0, section 2; Exif 2.32, 4.6).

Pillow takes apart every tag that there is, which on a photograph takes a third of a millisecond. Whatever it would
warn of, refuse or take otherwise is left to it here, so that both tell the same.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from pipeline.images.exif import (
    DATE_TIME,
    DIGITIZED,
    EXIF_IFD,
    OFFSET,
    OFFSET_DIGITIZED,
    OFFSET_ORIGINAL,
    ORIENTATION,
    ORIGINAL,
    Camera,
    captured,
    sensible,
)

EXIF: Final = b"Exif\0\0"
ASCII, SHORT, LONG, RATIONAL, SIGNED_LONG = 2, 3, 4, 5, 9
X_RESOLUTION, RESOLUTION_UNIT, INTEROPERABILITY = 0x011A, 0x0128, 0xA005
_SIZES: Final = {
    1: 1,
    ASCII: 1,
    SHORT: 2,
    LONG: 4,
    RATIONAL: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
}
_TEXTS: Final = frozenset({DATE_TIME, ORIGINAL, DIGITIZED, OFFSET, OFFSET_ORIGINAL, OFFSET_DIGITIZED})
_SINGLE: Final = {
    ORIENTATION: {SHORT, LONG, SIGNED_LONG},
    EXIF_IFD: {LONG},
    RESOLUTION_UNIT: {SHORT, LONG},
    X_RESOLUTION: {RATIONAL},
    INTEROPERABILITY: {LONG},
}
"""Tags of which there is one value, and its types: else Pillow warns, or stumbles over the resolution."""

Value = int | str


class _Odd(Exception):
    """Something that Pillow may see otherwise."""


class _Order:
    """The structures of one byte order."""

    def __init__(self, sign: str) -> None:
        self.short = Struct(f"{sign}H")
        self.long = Struct(f"{sign}L")
        self.entry = Struct(f"{sign}HHLL")


_ORDERS: Final = {b"II*\0": _Order("<"), b"MM\0*": _Order(">")}


def read(segment: bytes, *, xmp: bool = False) -> Camera | None:
    """Read what the camera wrote in an EXIF segment; None where Pillow is to be asked.

    Where the block has no orientation, Pillow looks for one in the file's XMP, if there is `xmp`.
    """
    block = segment[len(EXIF) :]
    order = _ORDERS.get(block[:4])
    if order is None or len(block) < 8:
        return None
    try:
        values = _directory(block, order, order.long.unpack_from(block, 4)[0])
        place = values.get(EXIF_IFD)
        details = _directory(block, order, place) if isinstance(place, int) else {}
    except _Odd:
        return None
    if xmp and ORIENTATION not in values:
        return None
    return Camera(sensible(values.get(ORIENTATION)), *captured(values, details))


def _directory(block: bytes, order: _Order, start: int) -> dict[int, Value]:
    """Read the wanted values of one directory; raises `_Odd`."""
    if start + 2 > len(block):
        raise _Odd
    begin, count = start + 2, order.short.unpack_from(block, start)[0]
    end = begin + 12 * count
    if end + 4 > len(block):
        raise _Odd
    values: dict[int, Value] = {}
    seen: set[int] = set()
    total = 0
    for number, (tag, kind, amount, place) in enumerate(order.entry.iter_unpack(block[begin:end])):
        size = amount * _SIZES.get(kind, 0)
        if not size:
            continue
        if tag in seen:
            raise _Odd
        seen.add(tag)
        if size > 4:
            total += size
            if place + size > len(block) or total > len(block):
                raise _Odd
        if tag in _SINGLE:
            if kind not in _SINGLE[tag] or amount != 1:
                raise _Odd
            values[tag] = (
                order.short.unpack_from(block, begin + 12 * number + 8)[0] if kind == SHORT else place
            )
        elif tag in _TEXTS:
            if kind != ASCII:
                raise _Odd
            where = place if size > 4 else begin + 12 * number + 8
            values[tag] = block[where : where + size].decode("latin-1")
    return values
