"""Inspecting an image: what it is, whether it is whole, and what it says of itself."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image as Pillow
from PIL import PngImagePlugin, UnidentifiedImageError

from pipeline.errors import ImageError
from pipeline.images import exif, frames, jpeg, plain, png, tags, tiff, webp
from pipeline.images.dhash import dhash
from pipeline.images.kinds import HEAD, KINDS, foreign, is_camera_raw, sniff
from pipeline.images.source import FileMap, Source
from pipeline.records import Image
from pipeline.settings import Limits

DETAIL = 200
"""Characters kept of what a decoder says."""
TEXT_CHUNK = 16 << 20
"""Bytes that one compressed text or profile of a PNG may have; Pillow's own 1 MiB is too little for some editors."""

_UNSUPPORTED = re.compile(r"unsupported|not supported|not implemented|unknown compression", re.IGNORECASE)


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
    return Image(hashlib.sha256(data).digest(), sha1, *found[2:])


def inspect_file(  # noqa: PLR0913 - what hashing on the way found
    path: Path, limits: Limits, check: str, *, sha256: bytes, sha1: bytes, size: int
) -> Image:
    """Inspect an image in a file that was hashed on its way there; raises `ImageError`."""
    if size == 0:
        raise ImageError("empty-file", "it has no bytes")
    with path.open("rb") as file, FileMap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
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
    type_ = _type(bytes(source.view[:HEAD]))
    _prepare()
    if type_ == "jpeg" and (header := plain.read(source.view)) and (camera := _camera(header)):
        return _examine_plain(source, header, camera, check)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            image = _examine(source, type_, check, caught)
    except ImageError:
        raise
    except Exception as error:
        raise _blamed(error) from error
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    return image._replace(remarks=(*image.remarks, *(f"decoder: {text[:DETAIL]}" for text in texts)))


def _blamed(error: Exception) -> ImageError:
    """Give the verdict on an image whose decoder raised an error."""
    text = str(error)[:DETAIL] or type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in text:
        return ImageError("decoder-memory", "it wanted more memory than a worker may have")
    if isinstance(error, UnidentifiedImageError):
        return ImageError("corrupt", "its header is broken, or says what no decoder here understands")
    if isinstance(error, EOFError) or "truncated" in text.lower():
        return ImageError("truncated", text)
    if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(text):
        return ImageError("unsupported-format", text)
    return ImageError("corrupt", text)


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


def _examine(source: Source, type_: str, check: str, caught: Sequence[warnings.WarningMessage]) -> Image:
    size, noted = len(source.view), ""
    if type_ == "png" and check == "decode":
        view, noted = png.check(source.view)
        source = replace(source, view=view)
    if type_ == "webp" and (declared := webp.declared(bytes(source.view[: webp.HEADER]))):
        _refuse_size(*declared, source.limits)
    with Pillow.open(source.open(), formats=KINDS[type_].formats) as image:
        width, height = tiff.stored_size(image) if type_ == "tiff" else image.size
        mode = image.mode
        _refuse_at_sight(image, type_, source.limits)
        # A TIFF is turned upright when it is decoded; a PNG may have its EXIF behind the pixels.
        camera, remark = exif.read(image) if type_ == "tiff" else (exif.Camera(), "")
        at_opening = {str(warning.message) for warning in caught}
        seen = CHECKS.get(type_, _decode_frames)(source, image) if check == "decode" else Seen(1, None)
        # A first header that is cut costs tags; pages and pixels that are cut are lost.
        for text in {str(warning.message) for warning in caught} - at_opening:
            if "truncated" in text.lower():
                raise ImageError("truncated", text[:DETAIL])
        if type_ != "tiff":
            camera, remark = exif.read(image)
    return Image(
        b"", b"", type_, width, height, size, mode, seen.frames,
        camera.orientation, camera.captured_at, camera.captured_offset, seen.dhash,
        tuple(text for text in (noted, *seen.remarks, remark) if text),
    )  # fmt: skip


def _camera(header: plain.Header) -> exif.Camera | None:
    if header.exif:
        return tags.read(header.exif, xmp=header.xmp)
    return None if header.xmp else exif.Camera()


def _examine_plain(source: Source, header: plain.Header, camera: exif.Camera, check: str) -> Image:
    """Examine a JPEG with nothing unusual in it."""
    width, height, components, one_scan, *_ = header
    _refuse_size(width, height, source.limits)
    seen = Seen(1, None)
    if check == "decode":

        def fallback() -> Pillow.Image:
            with Pillow.open(source.open(), formats=KINDS["jpeg"].formats) as image:
                image.load()
                return image

        try:
            value, remark = jpeg.check(source.view, components, fallback, one_scan=one_scan)
        except ImageError:
            raise
        except Exception as error:
            raise _blamed(error) from error
        seen = Seen(1, value, (remark,) if remark else ())
    return Image(
        b"", b"", "jpeg", width, height, len(source.view), plain.MODES[components], 1,
        *camera, seen.dhash, seen.remarks,
    )  # fmt: skip


def _refuse_size(width: int, height: int, limits: Limits) -> None:
    if width < 1 or height < 1:
        raise ImageError("corrupt", f"its size is {width}×{height}")
    if width * height > limits.max_pixels:
        raise ImageError("too-many-pixels", f"{width}×{height} are {width * height:,}")


def _refuse_at_sight(image: Pillow.Image, type_: str, limits: Limits) -> None:
    """Refuse what its header alone forbids to decode."""
    _refuse_size(*image.size, limits)
    if type_ == "tiff" and is_camera_raw(getattr(image, "tag_v2", {})):
        raise ImageError("unsupported-format", "it looks like a camera's raw file")


def _decode_frames(source: Source, image: Pillow.Image) -> Seen:
    return Seen(*frames.decode(image, source.limits))


def _check_jpeg(source: Source, image: Pillow.Image) -> Seen:
    def fallback() -> Pillow.Image:
        image.load()
        return image

    value, remark = jpeg.check(source.view, len(image.getbands()), fallback)
    return Seen(1, value, (remark,) if remark else ())


def _check_tiff(source: Source, image: Pillow.Image) -> Seen:
    with tiff.overhearing() as heard:
        turned = tiff.orientation(image)
        seen = frames.decode(
            image,
            source.limits,
            lambda page: tiff.check_page(source.view, page),
            lambda page: dhash(tiff.turned_back(page, turned)),
        )
        tiff.refuse_damage(heard)
    return Seen(*seen)


CHECKS: Final[dict[str, Check]] = {
    "jpeg": _check_jpeg,
    "tiff": _check_tiff,
}
"""How each type is checked; a type that is not named has its frames decoded."""


@lru_cache(maxsize=1)
def _prepare() -> None:
    """Take Pillow's own bomb limit away, ours is checked before pixels are decoded; let metadata be of some size."""
    Pillow.MAX_IMAGE_PIXELS = None
    PngImagePlugin.MAX_TEXT_CHUNK = TEXT_CHUNK


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
