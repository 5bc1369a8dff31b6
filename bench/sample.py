"""Make the sample archive: small pictures of every kind, and the litter that real zips carry."""

from __future__ import annotations

import io
import math
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

WHEN = (2026, 5, 17, 12, 0, 0)
SIZE = (320, 240)


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Draw soft waves of colour; another seed gives another picture."""
    width, height = size

    def shade(x: int, y: int, channel: int) -> int:
        wave = math.sin(x / (23 + seed) + channel * 2.1) + math.cos(y / (17 + seed * 2) - channel * 1.3)
        return int(127 + 62 * wave)

    image = Image.new("RGB", size)
    image.putdata(
        [(shade(x, y, 0), shade(x, y, 1), shade(x, y, 2)) for y in range(height) for x in range(width)]
    )
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Encode a picture."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def members() -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of the sample's members."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0x9003: "2026:05:17 09:30:00", 0x9011: "+02:00"})
    harbour = encoded(picture(1), "JPEG", quality=82, exif=exif)
    yield "holiday/harbour.jpg", harbour
    yield "holiday/beach.jpg", encoded(picture(2), "JPEG", quality=82, progressive=True)
    yield "holiday/évening.webp", encoded(picture(3), "WEBP", quality=70)
    yield "holiday/night.avif", encoded(picture(4), "AVIF", quality=60)
    yield "shop/mug.png", encoded(picture(5, (160, 120)), "PNG")
    yield "shop/lamp.tif", encoded(picture(6, (96, 72)), "TIFF", compression="tiff_deflate")
    yield "shop/label.bmp", encoded(picture(7, (64, 48)), "BMP")
    frames = [picture(seed, (64, 48)).quantize(32) for seed in (8, 9, 10)]
    yield "shop/spin.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=120)
    yield "shop/harbour (copy).jpg", harbour
    yield "shop/cut.jpg", encoded(picture(11), "JPEG", quality=82)[:4000]
    yield "shop/prices.txt", b"mug 4.00\nlamp 19.00\n"
    yield "__MACOSX/shop/._mug.png", b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(40)


def main(path: Path) -> None:
    """Write the sample archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for folder in ("holiday/", "shop/"):
            archive.writestr(zipfile.ZipInfo(folder, WHEN), b"")
        for name, data in members():
            info = zipfile.ZipInfo(name, WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
