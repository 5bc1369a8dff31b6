"""What cameras write is read; nonsense counts as absent and never refuses a picture."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from bench.sample import encoded, picture
from pipeline.images import inspect
from pipeline.records import Image
from pipeline.settings import Limits

SMALL = picture(1, (16, 12))


def look(exif: Any, kind: str = "JPEG") -> Image:
    """Inspect a picture with this EXIF."""
    return inspect(encoded(SMALL, kind, exif=exif), Limits())


def tags(**values: object) -> Pillow.Exif:
    """Make EXIF: orientation, date_time, original, digitized and their offsets."""
    exif = Pillow.Exif()
    exif[0x010F] = "maker"
    places = {"orientation": 0x0112, "date_time": 0x0132}
    details = {"original": 0x9003, "digitized": 0x9004, "offset": 0x9010, "offset_original": 0x9011}
    for name, value in values.items():
        if name in places:
            exif[places[name]] = value
        else:
            exif.get_ifd(0x8769)[details[name]] = value
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_format_that_has_exif(kind: str) -> None:
    """Orientation and capture time are read from all of them; sizes are those stored."""
    image = look(
        tags(orientation=6, original="2024:02:29 23:59:58", offset_original="-03:30").tobytes(), kind
    )
    assert (image.width, image.height, image.orientation) == (16, 12, 6)
    assert image.captured_at == datetime(2024, 2, 29, 23, 59, 58)
    assert image.captured_offset == "-03:30"


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_out_of_range_are_absent(orientation: int) -> None:
    """Orientation is 1 to 8 or unknown."""
    assert look(tags(orientation=orientation)).orientation is None


@pytest.mark.parametrize(
    "when",
    ["0000:00:00 00:00:00", "    :  :     :  :  ", "2023:02:30 10:00:00", "yesterday", "", "\0" * 20, "2023"],
)
def test_times_that_are_none(when: str) -> None:
    """Cameras without a clock write zeros or blanks."""
    assert look(tags(original=when)).captured_at is None


def test_the_first_time_that_makes_sense() -> None:
    """The original time wins, then the digitised one, then the file's."""
    exif = tags(
        original="0000:00:00 00:00:00", digitized="2001:02:03 04:05:06", date_time="2010:01:01 00:00:00"
    )
    assert str(look(exif).captured_at) == "2001-02-03 04:05:06"
    assert (
        str(look(tags(date_time="2010:01:01 00:00:00", offset="+05:45")).captured_at) == "2010-01-01 00:00:00"
    )


@pytest.mark.parametrize("offset", ["Z", "+25:00", "local", "", "+1:00"])
def test_offsets_that_are_none(offset: str) -> None:
    """An offset is ±HH:MM or unknown."""
    assert look(tags(original="2001:02:03 04:05:06", offset_original=offset)).captured_offset is None


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0XX*\0\x08\0\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
    ],
)
def test_broken_exif_does_not_refuse_a_picture(exif: bytes) -> None:
    """A picture is a picture, whatever its metadata."""
    image = look(exif)
    assert (image.width, image.orientation, image.captured_at) == (16, None, None)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.integers(0, 200))
def test_damaged_exif_never_refuses(noise: bytes, place: int) -> None:
    """Random bytes anywhere in the EXIF leave the picture acceptable."""
    whole = tags(orientation=3, original="2001:02:03 04:05:06").tobytes()
    look(b"Exif\0\0" + whole[6 : 6 + place] + noise)
