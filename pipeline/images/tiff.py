"""Checking TIFFs: what libtiff passes over in silence (TIFF 6.0; Technical Note 2 for JPEG; Deflate by RFC 1950)."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from typing import IO, cast

from isal import isal_zlib
from PIL import Image as Pillow

from pipeline.errors import ImageError
from pipeline.images import jpeg

ORIENTATION = 274
COMPRESSION, STRIPS, STRIP_SIZES, TILES, TILE_SIZES, JPEG_TABLES = 259, 273, 279, 324, 325, 347
JPEG, DEFLATE = 7, frozenset({8, 32946})
CHUNK = 1 << 20
STDERR = 2
# isal's stub gives an instance where the module has the class.
_BROKEN = cast("type[Exception]", isal_zlib.error)

_DAMAGE = re.compile(
    rb"bad code word|corrupt|premature|not enough data|lack of data|invalid code", re.IGNORECASE
)


_TURNS_BACK = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_90,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_270,
}


def stored_size(image: Pillow.Image) -> tuple[int, int]:
    """Give width and height as stored in the current page; Pillow's are those after orientation."""
    width, height = image.size
    return (height, width) if orientation(image) in {5, 6, 7, 8} else (width, height)


def orientation(image: Pillow.Image) -> int:
    """Give the orientation by which Pillow will turn the current page when it is decoded."""
    found = getattr(image, "tag_v2", {}).get(ORIENTATION, 1)
    return found if isinstance(found, int) else 1


def turned_back(image: Pillow.Image, turned: int) -> Pillow.Image:
    """Give a decoded page as it is stored."""
    return image.transpose(_TURNS_BACK[turned]) if turned in _TURNS_BACK else image


def check_page(view: memoryview, image: Pillow.Image) -> None:
    """Check the pieces of the current page that carry proof of damage; raises `ImageError`.

    libtiff stops reading a piece when it has enough pixels: it never sees Deflate's checksum, and it keeps
    the warnings of its JPEG decoder to itself.
    """
    tags = getattr(image, "tag_v2", {})
    compression = tags.get(COMPRESSION)
    if compression == JPEG:
        tables = bytes(tags.get(JPEG_TABLES, b""))
        for piece in _pieces(view, tags):
            whole = tables[:-2] + bytes(piece[2:]) if tables[:2] == b"\xff\xd8" else piece
            jpeg.check(memoryview(whole), len(image.getbands()), lambda: image)
    elif compression in DEFLATE:
        for piece in _pieces(view, tags):
            _check_deflated(piece)


def _pieces(view: memoryview, tags: dict[int, tuple[int, ...]]) -> Iterator[memoryview]:
    for places, sizes in ((STRIPS, STRIP_SIZES), (TILES, TILE_SIZES)):
        for place, size in zip(tags.get(places, ()), tags.get(sizes, ()), strict=False):
            if size:
                yield view[place : place + size]


def _check_deflated(piece: memoryview) -> None:
    inflater = isal_zlib.decompressobj()
    try:
        inflater.decompress(piece, CHUNK)
        while not inflater.eof and (inflater.unconsumed_tail or inflater.decompress(b"", CHUNK)):
            inflater.decompress(inflater.unconsumed_tail, CHUNK)
    except _BROKEN as error:
        raise ImageError("corrupt", f"deflated data: {error}") from error
    if not inflater.eof:
        raise ImageError("truncated", "deflated data ends too early")


@contextlib.contextmanager
def overhearing() -> Iterator[IO[bytes]]:
    """Catch what libtiff writes to standard error, past Python; give the file that it goes to.

    Pillow takes some of libtiff's errors for success. The whole process is concerned for as long as it lasts.
    """
    with _anonymous_file() as heard:
        try:
            before = os.dup(STDERR)
        except OSError:
            yield heard
            return
        try:
            os.dup2(heard.fileno(), STDERR)
            yield heard
        finally:
            os.dup2(before, STDERR)
            os.close(before)


def _anonymous_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("overheard"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def refuse_damage(heard: IO[bytes]) -> None:
    """Raise `ImageError` when what was overheard tells of damage."""
    heard.seek(0)
    for line in heard.read(CHUNK).splitlines():
        if _DAMAGE.search(line):
            raise ImageError("corrupt", line.decode("utf-8", "backslashreplace")[:200])
