"""The headers of a JPEG that has nothing unusual, read without building a decoder around them.

Most of a small image's time would go there. Whatever has several pictures, unknown segments or odd sizes is none
of these and goes the long way, so that both ways tell the same.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from pipeline.images.tags import EXIF

APP0, APP1, APP2, APP13, APP14, COM, DQT, DHT, DRI, SOS = (
    0xE0,
    0xE1,
    0xE2,
    0xED,
    0xEE,
    0xFE,
    0xDB,
    0xC4,
    0xDD,
    0xDA,
)
SEQUENTIAL: Final = frozenset({0xC0, 0xC1})
PROGRESSIVE = 0xC2
TABLE = 65
MODES: Final = {1: "L", 3: "RGB"}
XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_SEGMENT: Final = Struct(">BBH")
_FRAME: Final = Struct(">BHHB")
_HARMLESS: Final = frozenset({COM, DHT, DRI})


class Header(NamedTuple):
    """Size in pixels, components, whether all of it comes in one scan, its EXIF segment, and whether it has XMP."""

    width: int
    height: int
    components: int
    one_scan: bool
    exif: bytes = b""
    xmp: bool = False


def read(picture: memoryview) -> Header | None:
    """Read the headers up to the first scan (ITU-T T.81, annex B); None for anything unusual."""
    place, last = 2, len(picture) - 20
    width = height = components = frame = 0
    exif, xmp = b"", False
    while place < last:
        mark, marker, size = _SEGMENT.unpack_from(picture, place)
        begin = place + 4
        place += 2 + size
        if mark != 0xFF or size < 2 or place > last:
            return None
        if marker in _HARMLESS:
            continue
        if marker == SOS:
            named = picture[begin]
            if not components or size != 6 + 2 * named:
                return None
            whole = frame in SEQUENTIAL and named == components
            return Header(width, height, components, whole, exif, xmp)
        if marker in SEQUENTIAL or marker == PROGRESSIVE:
            frame, before = marker, components
            depth, height, width, components = _FRAME.unpack_from(picture, begin)
            if before or depth != 8 or components not in MODES or size != 8 + 3 * components:
                return None
            continue
        body = bytes(picture[begin:place])
        if marker == APP1 and not exif and body.startswith(EXIF):
            exif = body
        elif marker == APP1 and body.startswith(XMP):
            xmp = True
        elif not _usual(marker, body):
            return None
    return None


def _usual(marker: int, body: bytes) -> bool:
    if marker == DQT:
        return len(body) % TABLE == 0 and max(body[::TABLE], default=0) < 16
    if marker == APP0:
        return len(body) >= 14 and body[:5] == b"JFIF\0"
    if marker == APP13:
        # What Pillow stumbles over: a resource that ends behind its number.
        return body[:14] == b"Photoshop 3.0\0" and body[-6:-2] != b"8BIM"
    if marker == APP2:
        return len(body) >= 14 and body[:12] == b"ICC_PROFILE\0"
    return marker == APP14 and len(body) >= 12 and body[:5] == b"Adobe"
