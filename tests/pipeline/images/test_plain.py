"""The short way through a JPEG's headers tells what the long way tells."""

from __future__ import annotations

import random

import pytest
from PIL import Image as Pillow

from bench.sample import encoded, picture
from pipeline.errors import ImageError
from pipeline.images import inspect, plain
from pipeline.settings import Limits

WAYS: list[dict[str, object]] = [
    {},
    {"quality": 60, "optimize": True},
    {"progressive": True},
    {"comment": b"hello"},
    {"icc_profile": bytes(300)},
    {"quality": 95, "subsampling": 0},
    {"restart_marker_blocks": 2},
]


def told(data: bytes, check: str) -> object:
    """Give what inspection says, or the verdict."""
    try:
        return inspect(data, Limits(), check)
    except ImageError as error:
        return error.reason


def both(data: bytes, check: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    """Inspect as it is done, and the long way."""
    short = told(data, check)
    with monkeypatch.context() as patch:
        patch.setattr(plain, "read", lambda _: None)
        return short, told(data, check)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_sound_pictures(way: dict[str, object], mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ordinary pictures go the short way, and both ways tell the same."""
    data = encoded(picture(3, (64, 48)).convert(mode), "JPEG", **way)
    assert plain.read(memoryview(data)) is not None
    for check in ("decode", "header"):
        short, long = both(data, check, monkeypatch)
        assert short == long


@pytest.mark.parametrize("way", WAYS)
def test_damaged_headers(way: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever byte of the headers is changed, both ways come to the same verdict."""
    data = encoded(picture(4, (48, 32)), "JPEG", **way)
    headers = data.index(b"\xff\xda") + 14
    chance = random.Random(1)
    for _ in range(150):
        hurt = bytearray(data)
        hurt[chance.randrange(2, headers)] = chance.choice([0, 1, 2, 8, 0xFF, chance.randrange(256)])
        for check in ("decode", "header"):
            short, long = both(bytes(hurt), check, monkeypatch)
            assert short == long, (check, bytes(hurt[:headers]).hex())


@pytest.mark.parametrize("behind", [b"", b"8BIM", b"8BIM\4\4"], ids=["whole", "cut", "numbered"])
def test_what_editors_add(behind: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photoshop's resources and XMP stand beside EXIF; both ways tell the same, also where a resource is cut."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="3"/>'
    data = encoded(picture(6, (32, 32)), "JPEG", exif=exif)
    for segments, short in (
        ([(0xE1, xmp)], True),
        ([(0xED, b"Photoshop 3.0\0" + behind)], behind != b"8BIM\4\4"),
        ([(0xE1, b"something else")], False),
    ):
        more = b"".join(
            bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body for marker, body in segments
        )
        edited = data[:2] + more + data[2:]
        assert (plain.read(memoryview(edited)) is not None) == short
        told_short, told_long = both(edited, "decode", monkeypatch)
        assert told_short == told_long
    lone = encoded(picture(6, (32, 32)), "JPEG")
    lone = lone[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + lone[2:]
    assert inspect(lone, Limits()).orientation == 3
