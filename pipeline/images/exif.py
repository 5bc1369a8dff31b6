"""What the camera wrote: orientation and time of capture (Exif 2.32, 4.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

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


def read(image: Pillow.Image) -> tuple[Camera, str]:
    """Read what a picture's EXIF says, and a remark where it cannot be read; nonsense counts as absent."""
    try:
        # PNG's own method would decode the pixels for an EXIF chunk behind them.
        exif = Pillow.Image.getexif(image)
        if not exif:
            return Camera(), ""
        orientation = exif.get(ORIENTATION)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a decoder of hostile bytes raises anything
        return Camera(), f"exif: {str(error)[:100] or type(error).__name__}"
    orientation = sensible(orientation)
    try:
        return Camera(orientation, *captured(exif, exif.get_ifd(EXIF_IFD))), ""
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        return Camera(orientation), f"exif: {str(error)[:100] or type(error).__name__}"


def sensible(orientation: object) -> int | None:
    """Give an orientation that is one, 1 to 8."""
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else None


def captured(
    values: Mapping[int, object], details: Mapping[int, object]
) -> tuple[datetime | None, str | None]:
    """Give the first time of capture that makes sense, and its offset, from the tags of both directories."""
    for when, offset in (
        (details.get(ORIGINAL), details.get(OFFSET_ORIGINAL)),
        (details.get(DIGITIZED), details.get(OFFSET_DIGITIZED)),
        (values.get(DATE_TIME), details.get(OFFSET)),
    ):
        if (time := _time(when)) is not None:
            return time, _offset(offset)
    return None, None


def _time(value: object) -> datetime | None:
    text = _text(value)[:19]
    if not text or not text.isascii():
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
