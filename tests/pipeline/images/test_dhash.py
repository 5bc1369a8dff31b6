"""The difference hash tells pictures apart and does not care for format and size."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies
from PIL import Image as Pillow

from bench.sample import picture
from pipeline.images.dhash import dhash


def distance(first: int | None, second: int | None) -> int:
    """Count the bits that differ."""
    assert first is not None
    assert second is not None
    return ((first ^ second) & (1 << 64) - 1).bit_count()


def test_the_known_value() -> None:
    """Brighter on the left sets every bit, brighter on the right none."""
    falling = Pillow.new("L", (9, 8))
    falling.putdata([200 - 20 * (place % 9) for place in range(72)])
    assert dhash(falling) == -1
    assert dhash(falling.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)) == 0


def test_the_first_pixel_is_the_first_bit() -> None:
    """Row by row, most significant first, as a signed number."""
    spot = Pillow.new("L", (9, 8))
    spot.putpixel((0, 0), 255)
    assert dhash(spot) == -(1 << 63)


@given(strategies.binary(min_size=72, max_size=72))
def test_every_bit_is_one_comparison(pixels: bytes) -> None:
    """A bit is set where a pixel is brighter than its right neighbour, and never compares two rows."""
    picture = Pillow.frombytes("L", (9, 8), pixels)
    value = 0
    for row in range(8):
        for column in range(8):
            place = row * 9 + column
            value = value << 1 | (pixels[place] > pixels[place + 1])
    assert dhash(picture) == int.from_bytes(value.to_bytes(8, "big"), "big", signed=True)


def test_size_does_not_matter() -> None:
    """A smaller copy has nearly the same hash, another picture another."""
    large = picture(3, (240, 200))
    assert distance(dhash(large), dhash(large.resize((120, 100)))) <= 4
    assert distance(dhash(large), dhash(picture(40, (240, 200)))) > 8


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "LA",
        "La",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBa",
        "RGBX",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
        "I",
        "F",
        "I;16",
        "I;16B",
        "I;16L",
    ],
)
def test_every_mode_has_an_answer(mode: str) -> None:
    """No mode makes hashing fail."""
    assert isinstance(dhash(Pillow.new(mode, (20, 20))), int | None)


def test_transparency_counts_as_white() -> None:
    """What is not there does not show."""
    half = Pillow.new("RGBA", (18, 8), (0, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, 9, 8))
    seen = Pillow.new("L", (18, 8), 0)
    seen.paste(255, (0, 0, 9, 8))
    assert dhash(half) == dhash(seen)
