"""Drawn photographs are what they claim to be."""

from __future__ import annotations

import hashlib
import io

import pytest
from PIL import Image

from bench.photographs import numbered, photograph, thumbnail


@pytest.mark.parametrize("seed", [1, 2])
def test_a_photograph_has_the_density_asked_for(seed: int) -> None:
    """Bytes per pixel are within a few percent of those asked for, with either kind of Huffman tables."""
    data = photograph(seed, (320, 240), 0.375)
    assert len(data) / (320 * 240) == pytest.approx(0.375, rel=0.08)


def test_numbered_images_are_distinct_and_look_the_same() -> None:
    """A number makes another image with the same pixels."""
    data = thumbnail(1)
    first, second = numbered(data, 1), numbered(data, 2)
    assert hashlib.sha256(first).digest() != hashlib.sha256(second).digest()
    with Image.open(io.BytesIO(first)) as one, Image.open(io.BytesIO(second)) as other:
        assert one.tobytes() == other.tobytes()
