"""PNGs are whole when every chunk is, up to the last."""

from __future__ import annotations

import random
import zlib

import pytest

from bench.sample import encoded, picture
from pipeline.errors import ImageError
from pipeline.images import inspect
from pipeline.settings import Limits

PLAIN = encoded(picture(4, (48, 40)), "PNG")
PALETTE = encoded(picture(4, (48, 40)).quantize(16), "PNG")


def chunk(kind: bytes, body: bytes) -> bytes:
    """Make a chunk with its checksum."""
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def behind_header(data: bytes, more: bytes) -> bytes:
    """Put a chunk behind IHDR."""
    return data[:33] + more + data[33:]


def refused(data: bytes) -> str:
    """Inspect what must be refused; give the reason."""
    with pytest.raises(ImageError) as caught:
        inspect(data, Limits())
    return caught.value.reason


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_is_taken(mode: str) -> None:
    """Bits, greys, palettes and transparency have a size, a mode and a hash."""
    source = picture(4, (48, 40)).convert("L").convert("I") if mode == "I;16" else picture(4, (48, 40))
    image = inspect(encoded(source.convert(mode), "PNG"), Limits())
    assert (image.type, image.width, image.height, image.remarks) == ("png", 48, 40, ())
    assert image.dhash is not None


def test_any_cut_is_found() -> None:
    """A PNG that lost its end is refused, also with a fresh IEND."""
    for place in random.Random(2).sample(range(60, len(PLAIN) - 13), 20):
        assert refused(PLAIN[:place]) == "truncated"
        assert refused(PLAIN[:place] + PLAIN[-12:]) in {"truncated", "corrupt"}


def test_any_flipped_bit_in_the_pixels_is_found() -> None:
    """The checksum of a critical chunk counts."""
    start = PLAIN.index(b"IDAT")
    for place in random.Random(3).sample(range(start + 4, len(PLAIN) - 16), 20):
        broken = bytearray(PLAIN)
        broken[place] ^= 0x10
        assert refused(bytes(broken)) == "corrupt"


def test_a_wrong_checksum_of_metadata_is_only_noted() -> None:
    """Pictures do not depend on ancillary chunks."""
    text = bytearray(chunk(b"tEXt", b"Comment\0hello"))
    text[-1] ^= 1
    image = inspect(behind_header(PLAIN, bytes(text)), Limits())
    assert image.remarks == ("png: the checksum of its tEXt chunk is wrong",)


def test_a_missing_palette_is_found() -> None:
    """A picture of palette indexes without a palette shows nothing."""
    start = PALETTE.index(b"PLTE") - 4
    size = int.from_bytes(PALETTE[start : start + 4], "big") + 12
    assert refused(PALETTE[:start] + PALETTE[start + size :]) == "corrupt"


def test_bytes_behind_the_end_are_only_noted() -> None:
    """Some programs leave a tail."""
    assert inspect(PLAIN + b"tail", Limits()).remarks == ("png: 4 bytes after the end",)


def test_large_metadata_is_no_damage() -> None:
    """Editors keep megabytes of compressed text in a picture."""
    text = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3 << 20)))
    assert inspect(behind_header(PLAIN, text), Limits()).width == 48


def test_a_bomb_in_metadata_is_refused() -> None:
    """Text that inflates without end costs the picture its verdict, not memory."""
    text = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(64 << 20)))
    assert refused(behind_header(PLAIN, text)) == "corrupt"


def test_many_chunks_are_bounded() -> None:
    """Millions of empty chunks end in a verdict."""
    assert refused(behind_header(PLAIN, chunk(b"teSt", b"") * 200_001)) == "corrupt"
