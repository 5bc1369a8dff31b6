"""Making thumbnails: small, upright, in a format that every browser shows."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image as Pillow

from pipeline.errors import ImageError, StoreError
from pipeline.images.dhash import stretched
from pipeline.images.inspection import opened
from pipeline.temporary import temporary_name

SIDE = 400
"""Pixels of the longer side, at most."""
QUALITY = 80
MEDIA_TYPE = "image/webp"
PROFILE_BYTES = 16 << 10
"""A larger colour profile is left out: it would outweigh the picture."""
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


def make(source: Path, target: Path, orientation: int | None) -> None:
    """Make the thumbnail of a stored image: its first frame, upright; whole or not at all.

    `orientation` is EXIF's, 1 to 8. Nothing is left when the image is deleted meanwhile.
    Raises `ImageError` for what cannot be decoded.
    """
    temporary = target.with_name(temporary_name(target.name))
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _draw(source, temporary, orientation)
        temporary.replace(target)
    except FileNotFoundError as error:
        raise ImageError("vanished", "its file is not in the store") from error
    except OSError as error:
        raise StoreError(f"The thumbnail {target} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    if not source.exists():
        target.unlink(missing_ok=True)


def _draw(source: Path, target: Path, orientation: int | None) -> None:
    try:
        with warnings.catch_warnings(), opened(source) as image:
            warnings.simplefilter("ignore")
            image.draft("RGB", (SIDE * 2, SIDE * 2))
            small = _turned(_reduced(image), orientation)
            profile = image.info.get("icc_profile") if image.mode in {"RGB", "RGBA", "P"} else None
            if not isinstance(profile, bytes) or len(profile) > PROFILE_BYTES:
                profile = None
            small.save(target, "WEBP", quality=QUALITY, method=4, icc_profile=profile)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("vanished", "its file is not in the store") from error
    except MemoryError as error:
        raise ImageError(
            "decoder-memory", "its thumbnail wants more memory than a worker may have"
        ) from error
    except Exception as error:
        raise ImageError("corrupt", str(error)[:200]) from error


def _reduced(image: Pillow.Image) -> Pillow.Image:
    """Give a small copy of a picture's first frame in a mode that can be written."""
    if image.mode.startswith(("I", "F")):
        image = stretched(image)
    elif image.mode not in {"RGB", "RGBA", "L", "LA", "CMYK", "YCbCr"} or "transparency" in image.info:
        see_through = "transparency" in image.info or image.mode in {"PA", "La", "RGBa"}
        image = image.convert("RGBA" if see_through else "RGB")
    image.thumbnail((SIDE, SIDE), Pillow.Resampling.LANCZOS)
    return image.convert("RGBA" if image.mode in {"LA", "RGBA"} else "RGB")


def _turned(image: Pillow.Image, orientation: int | None) -> Pillow.Image:
    turn = _TURNS.get(orientation or 1)
    return image if turn is None else image.transpose(turn)
