"""The headers of a JPEG that has nothing unusual, read without building a decoder around them.

Most of a small image's time would go there. Whatever has several pictures, unknown segments or odd sizes is none
of these and goes the long way, so that both ways tell the same.
"""

from __future__ import annotations

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
    while place < last and picture[place] == 0xFF:
        marker = picture[place + 1]
        size = picture[place + 2] << 8 | picture[place + 3]
        begin = place + 4
        place += 2 + size
        if size < 2 or place > last:
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
            frame, components, before = marker, picture[begin + 5], components
            height = picture[begin + 1] << 8 | picture[begin + 2]
            width = picture[begin + 3] << 8 | picture[begin + 4]
            if before or picture[begin] != 8 or components not in MODES or size != 8 + 3 * components:
                return None
        elif marker == APP1 and not exif and bytes(picture[begin:place]).startswith(EXIF):
            exif = bytes(picture[begin:place])
        elif marker == APP1 and bytes(picture[begin:place]).startswith(XMP):
            xmp = True
        elif not _usual(marker, bytes(picture[begin:place])):
            return None
    return None


def _usual(marker: int, body: bytes) -> bool:
    if marker == DQT:
        return len(body) % TABLE == 0 and all(body[place] < 16 for place in range(0, len(body), TABLE))
    if marker == APP0:
        return len(body) >= 14 and body[:5] == b"JFIF\0"
    if marker == APP13:
        # What Pillow stumbles over: a resource that ends behind its number.
        return body[:14] == b"Photoshop 3.0\0" and body[-6:-2] != b"8BIM"
    if marker == APP2:
        return len(body) >= 14 and body[:12] == b"ICC_PROFILE\0"
    return marker == APP14 and len(body) >= 12 and body[:5] == b"Adobe"
