"""Making photographs that cost what real ones cost; `docs/benchmark.md` says how that was checked.

A scene is made of overlapping discs whose sizes follow a power law, each with a texture of its own: such
"dead leaves" have the statistics of natural pictures (Lee, Mumford and Huang, IJCV 2001). Grain as of a
sensor is added until the JPEG has the bytes per pixel that are asked for.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

QUALITY = 88
THUMBNAIL_QUALITY = 60
TILE = 1024
TRIES = 7
NEAR = 0.02

Floats = np.ndarray[Any, np.dtype[np.float32]]


def photograph(seed: int, size: tuple[int, int], bytes_per_pixel: float, quality: int = QUALITY) -> bytes:
    """Give a JPEG of this size in pixels whose bytes per pixel are near those asked for.

    Every other one has Huffman tables of its own, so that archives of them inflate as those of cameras do.
    """
    width, height = size
    scene = _scene(seed, min(width, TILE), min(height, TILE))
    scene = np.tile(scene, (-(-height // scene.shape[0]), -(-width // scene.shape[1]), 1))[:height, :width]
    grain = np.random.default_rng(seed).standard_normal((height, width, 1), dtype=np.float32)
    low, high = 0.0, 64.0
    data = b""
    for _ in range(TRIES):
        amount = (low + high) / 2
        data = _encoded(scene + grain * np.float32(amount), quality, optimize=seed % 2 == 0)
        reached = len(data) / (width * height)
        if abs(reached - bytes_per_pixel) < NEAR * bytes_per_pixel:
            break
        low, high = (amount, high) if reached < bytes_per_pixel else (low, amount)
    return data


def thumbnail(seed: int) -> bytes:
    """Give a JPEG of about 1 KB, as catalogs of products and faces have them by the hundred thousand."""
    return photograph(seed, (32, 32), 1.0, THUMBNAIL_QUALITY)


def numbered(data: bytes, number: int) -> bytes:
    """Give a JPEG with a comment of its own, so that it is another image and costs the same to decode."""
    return data[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big") + data[2:]


@lru_cache(maxsize=4)
def _scene(seed: int, width: int, height: int) -> Floats:
    """Cover a canvas with discs, the smaller ones on top."""
    random = np.random.default_rng(seed)
    canvas = np.full((height, width, 3), 128, dtype=np.float32)
    count = 60 + width * height // 1500
    radii = np.sort(np.minimum(4 / np.sqrt(random.uniform(0.0005, 1, count)), max(width, height) / 3))[::-1]
    for radius in radii:
        x, y = random.uniform(0, width), random.uniform(0, height)
        left, right = max(0, int(x - radius)), min(width, int(x + radius) + 1)
        top, bottom = max(0, int(y - radius)), min(height, int(y + radius) + 1)
        if left >= right or top >= bottom:
            continue
        rows, columns = np.ogrid[top:bottom, left:right]
        inside = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
        shade = random.uniform(20, 235, 3) + _slope(random, rows - y, columns - x, radius)[..., None]
        canvas[top:bottom, left:right][inside] = shade[inside]
    return canvas


def _slope(random: np.random.Generator, rows: Any, columns: Any, radius: float) -> Floats:
    """Give light that falls off over a disc, and a ripple on it."""
    slope, ripple = random.uniform(-30, 30, 2), random.uniform(0.05, 0.8, 2)
    light = (rows * slope[0] + columns * slope[1]) / max(radius, 1)
    texture = 8 * np.sin(rows * ripple[0] + columns * ripple[1])
    return np.asarray(light + texture, dtype=np.float32)


def _encoded(pixels: Floats, quality: int, *, optimize: bool) -> bytes:
    out = io.BytesIO()
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    picture.save(out, "JPEG", quality=quality, optimize=optimize)
    return out.getvalue()
