"""Every frame is decoded, within bounds."""

from __future__ import annotations

import random

import pytest
from PIL import Image as Pillow

from bench.sample import encoded, picture
from pipeline.errors import ImageError
from pipeline.images import inspect
from pipeline.settings import Limits

FRAMES = [picture(seed, (40, 30)) for seed in range(5)]
ANIMATED = {
    "gif": encoded(
        FRAMES[0].quantize(32), "GIF", save_all=True, append_images=[f.quantize(32) for f in FRAMES[1:]]
    ),
    "png": encoded(FRAMES[0].copy(), "PNG", save_all=True, append_images=FRAMES[1:]),
    "webp": encoded(FRAMES[0].copy(), "WEBP", save_all=True, append_images=FRAMES[1:]),
    "avif": encoded(FRAMES[0].copy(), "AVIF", save_all=True, append_images=FRAMES[1:]),
}


@pytest.mark.parametrize("kind", ANIMATED)
def test_frames_are_counted(kind: str) -> None:
    """Animations of every format have their frames; the hash is the first one's."""
    image = inspect(ANIMATED[kind], Limits())
    assert (image.type, image.frames, image.width, image.height) == (kind, 5, 40, 30)
    alone = inspect(encoded(FRAMES[0], "PNG"), Limits())
    assert image.dhash is not None
    assert alone.dhash is not None
    assert ((image.dhash ^ alone.dhash) & (1 << 64) - 1).bit_count() < 10


@pytest.mark.parametrize("kind", ANIMATED)
def test_a_broken_last_frame_is_found(kind: str) -> None:
    """An animation that lost its end is refused, wherever the cut is."""
    data = ANIMATED[kind]
    for place in random.Random(9).sample(range(len(data) // 2, len(data) - 40), 8):
        with pytest.raises(ImageError) as caught:
            inspect(data[:place], Limits())
        assert caught.value.reason in {"truncated", "corrupt"}


def test_pixels_of_all_frames_are_bounded() -> None:
    """Thousands of frames of a large canvas are refused before they are decoded."""
    stills = [Pillow.new("L", (900, 900), 25 * shade) for shade in range(10)]
    data = encoded(stills[0], "GIF", save_all=True, append_images=stills[1:])
    with pytest.raises(ImageError) as caught:
        inspect(data, Limits(max_pixels=900 * 900))
    assert caught.value.reason == "too-many-frames"
