"""Inspecting an image: what it is, whether it is whole, and what it says of itself."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image as Pillow

from pipeline.errors import ImageError
from pipeline.images import exif, frames, jpeg, png
from pipeline.images.dhash import dhash
from pipeline.images.kinds import HEAD, KINDS, foreign, sniff
from pipeline.images.source import Source
from pipeline.records import Image
from pipeline.settings import Limits


class Seen(NamedTuple):
    """What decoding found: the number of frames, the difference hash, and remarks."""

    frames: int
    dhash: int | None
    remarks: tuple[str, ...] = ()


Check = Callable[[Source, Pillow.Image], Seen]


def inspect(data: bytes | memoryview, limits: Limits, check: str = "decode") -> Image:
    """Inspect an image in memory; raises `ImageError` for what is not acceptable.

    `check` is `decode`, which decodes every frame, or `header`, which believes the headers.
    """
    found = _inspect(Source(memoryview(data), limits), check)
    sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
    return found._replace(sha256=hashlib.sha256(data).digest(), sha1=sha1)


def inspect_file(  # noqa: PLR0913 - what hashing on the way found
    path: Path, limits: Limits, check: str, *, sha256: bytes, sha1: bytes, size: int
) -> Image:
    """Inspect an image in a file that was hashed on its way there; raises `ImageError`."""
    if size == 0:
        raise ImageError("empty-file", "it has no bytes")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        try:
            found = _inspect(Source(view, limits), check)
        except ImageError as error:
            raise ImageError(error.reason, error.detail) from None
        finally:
            view.release()
    return found._replace(sha256=sha256, sha1=sha1, byte_size=size)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Pillow.Image]:
    """Open an image that was accepted before, for its pixels; raises whatever decoders raise."""
    with path.open("rb") as file:
        kind = KINDS[_type(file.read(HEAD))]
        file.seek(0)
        _prepare()
        with Pillow.open(file, formats=kind.formats) as image:
            yield image


def _inspect(source: Source, check: str) -> Image:
    head = bytes(source.view[:HEAD])
    type_ = _type(head)
    _prepare()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            image = _examine(source, type_, check)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("decoder-memory", "it wanted more memory than a worker may have") from error
    except EOFError as error:
        raise ImageError("truncated", str(error)) from error
    except Exception as error:
        text = str(error) or type(error).__name__
        raise ImageError("truncated" if "truncated" in text.lower() else "corrupt", text[:200]) from error
    return image._replace(remarks=(*image.remarks, *_remarks(caught)))


def _type(head: bytes) -> str:
    if not head:
        raise ImageError("empty-file", "it has no bytes")
    type_ = sniff(head)
    if type_:
        if KINDS[type_].extra and not _available(type_):
            extra = KINDS[type_].extra
            raise ImageError("unsupported-format", f"{type_} needs: pip install 'image-pipeline[{extra}]'")
        return type_
    if name := foreign(head):
        raise ImageError("unsupported-format", f"it looks like {name}")
    raise ImageError("not-an-image", f"it begins with {head[:8]!r}")


def _examine(source: Source, type_: str, check: str) -> Image:
    kind = KINDS[type_]
    with Pillow.open(source.open(), formats=kind.formats) as image:
        width, height = image.size
        mode = image.mode
        if width < 1 or height < 1:
            raise ImageError("corrupt", f"its size is {width}×{height}")
        if width * height > source.limits.max_pixels:
            raise ImageError("too-many-pixels", f"{width}×{height} are {width * height:,}")
        camera = exif.read(image)
        seen = CHECKS.get(type_, _decode_frames)(source, image) if check == "decode" else Seen(1, None)
    orientation, captured_at, captured_offset = camera
    return Image(
        b"", b"", type_, width, height, len(source.view), mode, seen.frames,
        orientation, captured_at, captured_offset, seen.dhash, seen.remarks,
    )  # fmt: skip


def _decode_frames(source: Source, image: Pillow.Image) -> Seen:
    return Seen(*frames.decode(image, source.limits))


def _check_jpeg(source: Source, image: Pillow.Image) -> Seen:
    def fallback() -> Pillow.Image:
        image.load()
        return image

    small, remark = jpeg.check(source.view, len(image.getbands()), fallback)
    return Seen(1, dhash(small), (remark,) if remark else ())


def _check_png(source: Source, image: Pillow.Image) -> Seen:
    remark = png.check(source.view)
    return Seen(*frames.decode(image, source.limits), (remark,) if remark else ())


CHECKS: Final[dict[str, Check]] = {
    "jpeg": _check_jpeg,
    "png": _check_png,
}
"""How each type is checked; a type that is not named has its frames decoded."""


def _remarks(caught: list[warnings.WarningMessage]) -> list[str]:
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    for text in texts:
        if "truncated" in text.lower():
            raise ImageError("truncated", text[:200])
    return [f"decoder: {text[:200]}" for text in texts]


@lru_cache(maxsize=1)
def _prepare() -> None:
    """Take Pillow's own bomb limit away: ours is checked before pixels are decoded."""
    Pillow.MAX_IMAGE_PIXELS = None


@lru_cache(maxsize=8)
def _available(type_: str) -> bool:
    """Register the decoder of an optional type; False when its library is not installed."""
    try:
        if type_ == "heif":
            from pillow_heif import register_heif_opener  # noqa: PLC0415 - optional

            register_heif_opener()
        elif type_ == "jxl":
            import pillow_jxl  # noqa: F401, PLC0415 - optional; importing registers it
    except ImportError:
        return False
    return True
