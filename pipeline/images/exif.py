"""What the camera wrote: orientation and time of capture (Exif 2.32, 4.6)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple

from PIL import Image as Pillow

ORIENTATION, DATE_TIME, EXIF_IFD = 0x0112, 0x0132, 0x8769
ORIGINAL, DIGITIZED = 0x9003, 0x9004
OFFSET, OFFSET_ORIGINAL, OFFSET_DIGITIZED = 0x9010, 0x9011, 0x9012
_OFFSET = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")


class Camera(NamedTuple):
    """Orientation 1 to 8, naive time of capture, and its UTC offset such as "+02:00"; None where absent."""

    orientation: int | None = None
    captured_at: datetime | None = None
    captured_offset: str | None = None


def read(image: Pillow.Image) -> Camera:
    """Read what a picture's EXIF says; nonsense counts as absent."""
    exif = image.getexif()
    if not exif:
        return Camera()
    orientation = exif.get(ORIENTATION)
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = None
    details: dict[int, Any] = exif.get_ifd(EXIF_IFD)
    for when, offset in (
        (details.get(ORIGINAL), details.get(OFFSET_ORIGINAL)),
        (details.get(DIGITIZED), details.get(OFFSET_DIGITIZED)),
        (exif.get(DATE_TIME), details.get(OFFSET)),
    ):
        if (time := _time(when)) is not None:
            return Camera(orientation, time, _offset(offset))
    return Camera(orientation)


def _time(value: object) -> datetime | None:
    text = _text(value)[:19]
    if not text.isascii():
        return None
    try:
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - cameras write no zone here
    except ValueError:
        return None


def _offset(value: object) -> str | None:
    found = _OFFSET.match(_text(value))
    return found.group() if found else None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip("\0 ") if isinstance(value, str) else ""
