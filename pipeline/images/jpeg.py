"""Checking JPEGs: libjpeg-turbo's own warnings tell damage apart from harmless oddities.

Pillow accepts JPEGs that lost most of their data but kept an end marker. Decoding at 1/8 scale reads the
whole entropy-coded stream, so that everything lost is noticed, at a fraction of the cost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import simplejpeg
from PIL import Image as Pillow

from pipeline.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = 8
TRIES = 6

_HARMLESS = re.compile(
    r"extraneous bytes before marker 0xd9|Unknown Adobe color|ICC|component ID|JFIF|thumbnail", re.IGNORECASE
)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_CUT = re.compile(r"premature end|no EOI", re.IGNORECASE)
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|not implemented|precision|colorspace|subsampling|conversion", re.IGNORECASE
)


def check(
    data: memoryview, components: int, fallback: Callable[[], Pillow.Image]
) -> tuple[Pillow.Image, str]:
    """Decode a JPEG at 1/8 scale; give the small picture and a remark, empty when there is none.

    Raises `ImageError`. `fallback` decodes what libjpeg-turbo's simple interface does not take, such as
    12-bit pictures.
    """
    colorspace = "CMYK" if components == 4 else "GRAY"
    remark = ""
    for _ in range(TRIES):
        try:
            return _decode(data, colorspace, strict=not remark.startswith("jpeg:")), remark
        except ValueError as error:
            message = str(error)
        found = _EXTRANEOUS.search(message)
        if found and found.group(2) != "d9":
            data = _without(data, int(found.group(1)), int(found.group(2), 16), message)
            remark = message
        elif _HARMLESS.search(message):
            remark = f"jpeg: {message}"
        elif _UNSUPPORTED.search(message):
            return fallback(), remark
        else:
            raise ImageError("truncated" if _CUT.search(message) else "corrupt", message)
    raise ImageError("corrupt", remark)


def _decode(data: memoryview, colorspace: str, *, strict: bool) -> Pillow.Image:
    pixels = simplejpeg.decode_jpeg(
        data, colorspace=colorspace, min_height=1, min_width=1, min_factor=SCALE, strict=strict
    )
    height, width, _ = pixels.shape
    return Pillow.frombytes("CMYK" if colorspace == "CMYK" else "L", (width, height), pixels.tobytes())


def _without(data: memoryview, count: int, marker: int, message: str) -> memoryview:
    """Take out the bytes that stand before a marker for no reason, so that what follows is checked strictly."""
    whole = bytes(data)
    place = whole.find(bytes((0xFF, marker)), 2)
    while place >= 0:
        before = whole[max(2, place - count) : place]
        if before and before.count(0) == len(before):
            return memoryview(whole[: place - len(before)] + whole[place:])
        place = whole.find(bytes((0xFF, marker)), place + 2)
    raise ImageError("corrupt", message)
