"""TIFFs whose damage libtiff passes over are refused."""

from __future__ import annotations

import os
import random

import pytest

from bench.sample import encoded, picture
from pipeline.errors import ImageError
from pipeline.images import inspect
from pipeline.images.tiff import overhearing, refuse_damage
from pipeline.settings import Limits

PICTURE = picture(6, (120, 90))
CHECKED = {
    "deflate": encoded(PICTURE.copy(), "TIFF", compression="tiff_deflate"),
    "jpeg": encoded(PICTURE.copy(), "TIFF", compression="jpeg"),
    "lzma": encoded(PICTURE.copy(), "TIFF", compression="lzma"),
}


def refused(data: bytes) -> str:
    """Inspect what must be refused; give the reason."""
    with pytest.raises(ImageError) as caught:
        inspect(data, Limits())
    return caught.value.reason


@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "lzma", "zstd"]
)
def test_every_compression_is_taken(compression: str) -> None:
    """What scanners and programs write is taken without remark."""
    image = inspect(encoded(PICTURE.copy(), "TIFF", compression=compression), Limits())
    assert (image.type, image.width, image.height, image.frames, image.remarks) == ("tiff", 120, 90, 1, ())


@pytest.mark.parametrize("data", CHECKED.values(), ids=CHECKED)
def test_a_hole_is_found(data: bytes) -> None:
    """Zeros in place of 300 bytes are refused where the compression can tell."""
    for place in random.Random(4).sample(range(300, len(data) - 700), 8):
        assert refused(data[:place] + bytes(300) + data[place + 300 :]) in {"corrupt", "truncated"}


def test_a_damaged_fax_is_found() -> None:
    """What libtiff says of a fax's code words counts, though Pillow takes it for success."""
    data = encoded(PICTURE.convert("1"), "TIFF", compression="group4")
    assert inspect(data, Limits()).mode == "1"
    broken = [bytearray(data) for _ in range(12)]
    for seed, copy in enumerate(broken):
        copy[random.Random(seed).randrange(20, len(data) // 2)] ^= 0x55
    assert any(_is_refused(bytes(copy)) for copy in broken)


def _is_refused(data: bytes) -> bool:
    try:
        inspect(data, Limits())
    except ImageError:
        return True
    return False


def test_every_page_counts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file of three pages has three frames, and is refused when the last one is cut."""
    path = tmp_path_factory.mktemp("pages") / "pages.tif"
    PICTURE.copy().save(
        path, "TIFF", save_all=True, append_images=[picture(7, (50, 40)), picture(8, (30, 20))]
    )
    data = path.read_bytes()
    assert inspect(data, Limits()).frames == 3
    assert refused(data[: len(data) - 600]) in {"truncated", "corrupt"}


def test_a_loop_of_pages_ends() -> None:
    """A chain of pages that leads back to the first is a picture of one page."""
    data = bytearray(encoded(PICTURE.copy(), "TIFF"))
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    end = start + 2 + 12 * count
    data[end : end + 4] = data[4:8]
    assert inspect(bytes(data), Limits()).frames == 1


def test_raw_files_of_cameras_are_not_taken() -> None:
    """Their visible page is a thumbnail; storing that for the photograph would be a silent loss."""
    raw = encoded(PICTURE.copy(), "TIFF", tiffinfo={0xC612: b"\x01\x04\x00\x00"})
    assert refused(raw) == "unsupported-format"
    assert refused(b"II*\0\x10\0\0\0CR\x02\0" + bytes(100)) == "unsupported-format"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_and_hashes_are_those_stored(orientation: int) -> None:
    """Orientation is told beside the picture, whatever the decoder makes of it."""
    plain = inspect(encoded(PICTURE.copy(), "TIFF"), Limits())
    turned = inspect(encoded(PICTURE.copy(), "TIFF", tiffinfo={274: orientation}), Limits())
    assert (turned.width, turned.height, turned.orientation) == (120, 90, orientation)
    assert turned.dhash == plain.dhash
    assert (
        inspect(encoded(PICTURE.copy(), "TIFF", tiffinfo={274: orientation}), Limits(), "header").width == 120
    )


def test_overhearing_gives_standard_error_back(capfd: pytest.CaptureFixture[str]) -> None:
    """What C code says inside is caught, what is said afterwards is heard."""
    with overhearing() as heard:
        os.write(2, b"Fax4Decode: Bad code word at line 3\n")
        with pytest.raises(ImageError, match="Bad code word"):
            refuse_damage(heard)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"
