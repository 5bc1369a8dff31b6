"""An image is what its content says, or a reason."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from bench.sample import encoded, picture
from pipeline.errors import ImageError
from pipeline.images import CHECKS, inspect, inspect_file
from pipeline.images.inspection import Seen
from pipeline.images.source import Source
from pipeline.reasons import MEMBER_REASONS
from pipeline.settings import Limits

SMALL = picture(1, (24, 16))
GOOD = {
    kind: encoded(SMALL.copy(), kind.upper())
    for kind in ("jpeg", "png", "webp", "gif", "tiff", "bmp", "avif")
}


def reason(data: bytes, limits: Limits | None = None) -> str:
    """Inspect what must be refused; give the reason."""
    with pytest.raises(ImageError) as caught:
        inspect(data, limits or Limits())
    return caught.value.reason


@pytest.mark.parametrize("check", ["decode", "header"])
@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_is_identified(kind: str, check: str) -> None:
    """Type, size, bytes and digests are those of the content, in both ways of looking."""
    data = GOOD[kind]
    image = inspect(data, Limits(), check)
    assert (image.type, image.width, image.height, image.byte_size) == (kind, 24, 16, len(data))
    assert (image.sha256, image.sha1) == (hashlib.sha256(data).digest(), hashlib.sha1(data).digest())
    assert (image.dhash is not None) is (check == "decode")


@pytest.mark.parametrize("kind", GOOD)
def test_memory_and_file_agree(kind: str, tmp_path: Path) -> None:
    """An image that was streamed to a file is judged like one in memory."""
    data = GOOD[kind]
    path = tmp_path / "image"
    path.write_bytes(data)
    sha256, sha1 = hashlib.sha256(data).digest(), hashlib.sha1(data).digest()
    assert inspect_file(path, Limits(), "decode", sha256=sha256, sha1=sha1, size=len(data)) == inspect(
        data, Limits()
    )
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError):
        inspect_file(path, Limits(), "decode", sha256=sha256, sha1=sha1, size=len(data) // 2)


def test_optional_kinds() -> None:
    """HEIC and JPEG XL are taken where their extra is installed."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    assert inspect(encoded(SMALL, "HEIF"), Limits()).type == "heif"
    pytest.importorskip("pillow_jxl")
    assert inspect(encoded(SMALL, "JXL"), Limits()).type == "jxl"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty-file"),
        (b"x", "not-an-image"),
        (b"price list\n" * 20, "not-an-image"),
        (b"\xff\xd8\xff", "corrupt"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "unsupported-format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported-format"),
        (b"8BPS\0\1" + bytes(40), "unsupported-format"),
        (b"\0\0\1\0\1\0" + bytes(40), "unsupported-format"),
    ],
)
def test_what_is_not_taken(data: bytes, expected: str) -> None:
    """What is no image, or of another kind, has its own reason."""
    assert reason(data) == expected


def test_a_broken_header_is_told_in_words() -> None:
    """What is said of a JPEG that cannot be opened is a sentence, not a decoder's inner word."""
    data = encoded(picture(2, (32, 32)), "JPEG")
    place = data.index(b"\xff\xc0")
    with pytest.raises(ImageError, match="its header is broken"):
        inspect(data[:place] + b"\xff\xc0\x00\x02" + data[place + 4 :], Limits())


def test_size_is_checked_before_pixels() -> None:
    """A header that claims gigapixels is refused by the header."""
    big = encoded(Pillow.new("1", (3000, 2000)), "PNG")
    assert reason(big, Limits(max_pixels=5_999_999)) == "too-many-pixels"
    assert inspect(big, Limits(max_pixels=6_000_000)).width == 3000


def test_memory_is_a_reason_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that cannot have its memory did not find damage, however it says so."""
    for error in (MemoryError(), OSError("out of memory when reading image file")):

        def want(source: Source, image: Pillow.Image, error: Exception = error) -> Seen:
            raise error

        monkeypatch.setitem(CHECKS, "bmp", want)
        assert reason(GOOD["bmp"]) == "decoder-memory"


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(GOOD)), st.randoms(use_true_random=False), st.integers(1, 6))
def test_any_damage_ends_in_a_verdict(kind: str, chance: random.Random, changes: int) -> None:
    """However bytes are changed, cut or repeated, the answer is an image or a known reason."""
    data = bytearray(GOOD[kind])
    for _ in range(changes):
        place = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randrange(1, 40)]
            case 2:
                data[place:place] = chance.randbytes(chance.randrange(1, 40))
            case _:
                data[place : place + 4] = chance.choice(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]
                )
        if not data:
            break
    assert verdict(bytes(data)) in {"", *MEMBER_REASONS}


def verdict(data: bytes) -> str:
    """Give the reason for which an image is refused; empty for one that is taken."""
    try:
        inspect(data, Limits(max_pixels=1_000_000))
    except ImageError as error:
        return error.reason
    return ""
