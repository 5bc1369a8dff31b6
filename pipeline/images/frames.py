"""Decoding every frame of a picture within bounds."""

from __future__ import annotations

import contextlib

from PIL import Image as Pillow

from pipeline.errors import ImageError
from pipeline.images.dhash import dhash
from pipeline.settings import Limits

FRAMES_FACTOR = 4
"""All frames together may have this many times the pixels that one picture may have."""
COUNT_LIMIT = 20_000


def count(image: Pillow.Image) -> int:
    """Count frames; a file whose chain of frames is broken raises whatever the decoder raises."""
    return int(getattr(image, "n_frames", 1))


def decode(image: Pillow.Image, limits: Limits) -> tuple[int, int]:
    """Decode all frames of an opened picture; give their number and the first one's difference hash.

    Raises `ImageError` with `too-many-frames`, and whatever decoders raise on damage.
    """
    image.load()
    value = dhash(image)
    budget = FRAMES_FACTOR * limits.max_pixels - image.width * image.height
    number = 1
    if not getattr(image, "is_animated", False) and count(image) == 1:
        return 1, value
    while True:
        with contextlib.suppress(EOFError):
            image.seek(number)
            number += 1
            budget -= image.width * image.height
            if budget < 0 or number > COUNT_LIMIT:
                raise ImageError(
                    "too-many-frames", f"more than {number - 1} frames of {image.width}×{image.height}"
                )
            image.load()
            continue
        return number, value
