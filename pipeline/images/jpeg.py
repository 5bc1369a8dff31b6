"""Checking JPEGs: libjpeg-turbo's own warnings tell damage apart from harmless oddities.

Pillow accepts JPEGs that lost most of their data but kept an end marker. Decoding at 1/8 scale reads the
whole entropy-coded stream, so that everything lost is noticed, at a fraction of the cost. The decoder tells
its first warning only: where that one may be harmless, what the picture does not depend on is taken out and
the rest is decoded again, so that no warning hides another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import simplejpeg
from PIL import Image as Pillow

from pipeline.errors import ImageError
from pipeline.images.dhash import dhash, dhash_of_grey
from pipeline.images.markers import essential, unfinished

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = 8
TRIES = 8

_STRAY = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_CUT = re.compile(r"premature end|no EOI", re.IGNORECASE)
_UNSUPPORTED = re.compile(
    r"Unsupported JPEG (process|data precision)|arithmetic coding is not|not implemented yet|DNL not supported"
    r"|Unsupported color conversion|Could not determine (subsampling|colorspace)"
)
"""What libjpeg-turbo's simple interface does not take, such as 12-bit pictures; Pillow may."""


def check(
    data: memoryview, components: int, fallback: Callable[[], Pillow.Image], *, one_scan: bool = False
) -> tuple[int | None, str]:
    """Decode a JPEG at 1/8 scale; give its difference hash and a remark, empty when there is none.

    Raises `ImageError`. `fallback` decodes what libjpeg-turbo's simple interface does not take. With `one_scan`
    it is known that no scan can be missing.
    """
    colorspace = "CMYK" if components == 4 else "GRAY"
    decoded, value, remark = _decode_leniently(data, colorspace)
    if not one_scan and (lacking := unfinished(data)):
        raise ImageError("truncated", lacking)
    return value if decoded else dhash(fallback()), remark


def _decode_leniently(data: memoryview, colorspace: str) -> tuple[bool, int | None, str]:
    """Decode; where the warning may be harmless, decode what matters alone. False for what is not supported."""
    rest, remark, message = data, "", ""
    for attempt in range(TRIES):
        try:
            return True, _decode(rest, colorspace, strict=True), remark
        except ValueError as error:
            message = str(error)
        if _UNSUPPORTED.search(message):
            return False, None, remark
        stray = _STRAY.search(message)
        if not attempt:
            first, rest = message, memoryview(essential(data))
        elif stray and stray.group(2) == "d9":
            return True, _decode(rest, colorspace, strict=False), f"jpeg: {first}"
        elif stray:
            rest = _without(rest, int(stray.group(1)), int(stray.group(2), 16), message)
        else:
            break
        remark = f"jpeg: {first}"
    raise ImageError("truncated" if _CUT.search(message) else "corrupt", message)


def _decode(data: memoryview, colorspace: str, *, strict: bool) -> int | None:
    pixels = simplejpeg.decode_jpeg(
        data, colorspace=colorspace, min_height=1, min_width=1, min_factor=SCALE, strict=strict
    )
    if colorspace == "GRAY":
        return dhash_of_grey(pixels)
    height, width, _ = pixels.shape
    return dhash(Pillow.frombuffer("CMYK", (width, height), pixels, "raw", "CMYK", 0, 1))


def _without(data: memoryview, count: int, marker: int, message: str) -> memoryview:
    """Take out padding that stands before a marker for no reason, so that what follows is checked strictly."""
    whole = bytes(data)
    place = whole.find(bytes((0xFF, marker)), 2)
    while place >= 0:
        before = whole[max(2, place - count) : place]
        if before and before.count(0) == len(before):
            return memoryview(whole[: place - len(before)] + whole[place:])
        place = whole.find(bytes((0xFF, marker)), place + 2)
    raise ImageError("corrupt", message)
