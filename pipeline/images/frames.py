"""Decoding every frame of a picture within bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from PIL import Image as Pillow

from pipeline.errors import ImageError
from pipeline.images.dhash import dhash
from pipeline.settings import Limits
from pipeline.words import counted

FRAMES_FACTOR = 4
"""All frames together may have this many times the pixels that one picture may have."""
COUNT_LIMIT = 20_000


def count(image: Pillow.Image) -> int:
    """Count frames; a file whose chain of frames is broken raises whatever the decoder raises."""
    return int(getattr(image, "n_frames", 1))


def decode(
    image: Pillow.Image,
    limits: Limits,
    check_frame: Callable[[Pillow.Image], None] = lambda _: None,
    fingerprint: Callable[[Pillow.Image], int | None] = dhash,
) -> tuple[int, int | None]:
    """Decode all frames of an opened picture; give their number and the first one's difference hash.

    `check_frame` is given the picture at each frame, decoded; `fingerprint` at the first one. Raises
    `ImageError` with `too-many-frames`, and whatever decoders raise on damage.
    """
    image.load()
    check_frame(image)
    value = fingerprint(image)
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
                    "too-many-frames",
                    f"more than {counted(number - 1, 'frame')} of {image.width}×{image.height}",
                )
            image.load()
            check_frame(image)
            continue
        image.seek(0)
        return number, value
