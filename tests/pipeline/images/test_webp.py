"""A WebP's size is known before its decoder takes memory for it."""

from __future__ import annotations

import resource
from typing import Any

import pytest
from PIL import Image as Pillow

from bench.sample import encoded, picture
from pipeline.errors import ImageError
from pipeline.images import inspect, webp
from pipeline.settings import Limits

WAYS: dict[str, dict[str, Any]] = {
    "lossy": {"quality": 50},
    "lossless": {"lossless": True},
    "extended": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_size_that_is_declared(way: str) -> None:
    """All three forms tell the size that the decoder finds; what is cut tells none."""
    data = encoded(picture(5, (301, 47)), "WEBP", **WAYS[way])
    assert webp.declared(data[: webp.HEADER]) == (301, 47)
    assert webp.declared(data[:29]) is None
    assert inspect(data, Limits()).width == 301


def test_too_many_pixels_are_told_where_memory_is_short() -> None:
    """The verdict does not depend on whether the decoder gets memory for a picture that is refused anyway."""
    data = bytearray(encoded(Pillow.new("RGB", (16, 16)), "WEBP", **WAYS["extended"]))
    data[24:30] = (16382).to_bytes(3, "little") * 2
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (600 << 20, before[1]))
    try:
        with pytest.raises(ImageError, match="too-many-pixels"):
            inspect(bytes(data), Limits())
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
