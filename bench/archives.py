"""Packing the archives of every shape."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.photographs import numbered, photograph, thumbnail

PHOTO, PHOTO_DENSITY = (640, 480), 0.375
LARGE, LARGE_DENSITY = (5600, 4000), 0.3
WHEN = (2026, 5, 17, 12, 0, 0)
FOLDER_MEMBERS = 1000
DISTINCT = {"photos": 40, "tiny": 100, "large": 3}
"""Scenes drawn; members beyond are told apart by a comment inside the JPEG."""


def scenes(given: Path | None, shape: str) -> list[bytes]:
    """Give the photographs that a shape repeats: those of a given zip, or drawn ones."""
    count = DISTINCT[shape]
    if shape == "tiny":
        return [thumbnail(seed) for seed in range(count)]
    if shape == "large":
        return [photograph(seed, LARGE, LARGE_DENSITY) for seed in range(count)]
    if given:
        return _jpegs(given)
    return [photograph(seed, PHOTO, PHOTO_DENSITY) for seed in range(count)]


def pack(path: Path, images: Iterator[bytes], count: int, prefix: str = "") -> Path:
    """Write a deflated zip of `count` images in folders of a thousand."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for number, data in enumerate(itertools.islice(images, count)):
            name = f"{prefix}{number // FOLDER_MEMBERS:03}/IMG_{number:06}.jpg"
            archive.writestr(zipfile.ZipInfo(name, WHEN), data, zipfile.ZIP_DEFLATED)
    return path


def endless(originals: Sequence[bytes], first: int = 0) -> Iterator[bytes]:
    """Yield images that are all distinct and cost what the originals cost."""
    for number in itertools.count(first):
        yield numbered(originals[number % len(originals)], number)


def pack_many(folder: Path, originals: Sequence[bytes], archives: int, each: int) -> tuple[Path, ...]:
    """Write many archives of few images."""
    folder.mkdir()
    images = endless(originals)
    return tuple(pack(folder / f"{number:05}.zip", images, each) for number in range(archives))


def _jpegs(given: Path) -> list[bytes]:
    with zipfile.ZipFile(given) as archive:
        read: Callable[[str], bytes] = archive.read
        found = [read(name) for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg"))]
    found = [data for data in found if data[:2] == b"\xff\xd8"]
    if not found:
        raise ValueError(f"{given} holds no JPEG")
    return found
