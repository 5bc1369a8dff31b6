"""The difference hash: equal or near for pictures that look alike."""

from __future__ import annotations

from operator import gt
from typing import TYPE_CHECKING

from PIL import Image as Pillow
from PIL import _imaging

if TYPE_CHECKING:
    import numpy as np


_DIGITS = b"01" + bytes(254)
_ROWS = range(0, 72, 9)


def dhash(image: Pillow.Image) -> int | None:
    """Give the 64-bit difference hash of a picture, as a signed integer; None where its mode has no luminance.

    Luminance, reduced to 9 columns by 8 rows by averaging; a bit, first row first and most significant first,
    is set where a pixel is brighter than its right neighbour (N. Krawetz, "Kind of Like That", 2013).
    Transparency counts as white; orientation is not applied.
    """
    try:
        grey = _luminance(image)
        grey.load()
        return _hash(grey.im)
    except ValueError:
        return None


def dhash_of_grey(pixels: np.ndarray) -> int:
    """Give the difference hash of luminance that is decoded already: bytes, one for each pixel, as rows of columns."""
    height, width = pixels.shape[:2]
    # Making a picture of them the official way takes as long as decoding a small one.
    return _hash(_imaging.map_buffer(pixels, (width, height), "raw", 0, ("L", 0, 1)))


def _hash(grey: _imaging.ImagingCore) -> int:
    # The wrapper around this call takes longer than the call, and NumPy's code for 72 bytes is cold each time.
    small = bytes(grey.resize((9, 8), Pillow.Resampling.BOX, (0, 0, *grey.size)))
    bits = bytes(map(gt, small, small[1:])).translate(_DIGITS)
    value = int(b"".join([bits[row : row + 8] for row in _ROWS]), 2)
    return value - (value >> 63 << 64)


def _luminance(image: Pillow.Image) -> Pillow.Image:
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.mode == "LAB":
        return image.getchannel("L")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.resize((36, 32), Pillow.Resampling.BOX) if image.mode in {"RGBA", "LA"} else image
        colour = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", colour.size, "white"), colour)
    if image.mode.startswith(("I", "F")):
        image = stretched(image.convert("F").resize((36, 32), Pillow.Resampling.BOX))
    return image.convert("L")


def stretched(image: Pillow.Image) -> Pillow.Image:
    """Bring deep greys to 8 bits, darkest to brightest."""
    wide = image if image.mode == "F" else image.convert("F")
    extrema = wide.getextrema()
    low, high = float(extrema[0]), float(extrema[1])  # type: ignore[arg-type]  # one band gives one pair
    scale = 255 / (high - low) if high > low else 0.0
    return wide.point(lambda value: value * scale + (-low * scale)).convert("L")
