"""The segments of a JPEG are found the way decoders find them."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from bench.sample import encoded, picture
from pipeline.images.markers import EOI, SOS, essential, segments, unfinished

BASELINE = encoded(picture(2, (40, 32)), "JPEG", comment=b"hello")
PROGRESSIVE = encoded(picture(2, (40, 32)), "JPEG", progressive=True)


def pixels(data: bytes) -> bytes:
    """Decode with Pillow."""
    with Pillow.open(io.BytesIO(data)) as image:
        return image.tobytes()


def test_every_segment_is_found() -> None:
    """A baseline picture has one scan, a progressive one several; both end."""
    for data, many in ((BASELINE, False), (PROGRESSIVE, True)):
        found = [segment.marker for segment in segments(memoryview(data))]
        assert found[-1] == EOI
        assert (found.count(SOS) > 1) is many


def test_what_is_essential_shows_the_same_picture() -> None:
    """Without metadata and stray bytes the pixels are the same."""
    for data in (BASELINE, PROGRESSIVE):
        assert pixels(essential(memoryview(data))) == pixels(data)
        assert b"hello" not in essential(memoryview(data))


def test_whole_pictures_are_finished() -> None:
    """Nothing is missing in what an encoder wrote."""
    assert unfinished(memoryview(BASELINE)) == ""
    assert unfinished(memoryview(PROGRESSIVE)) == ""


@given(st.binary(max_size=400))
def test_any_bytes_are_walked(data: bytes) -> None:
    """Whatever the bytes, walking them ends and raises nothing."""
    for start in (b"\xff\xd8", BASELINE[:200], PROGRESSIVE[:300]):
        view = memoryview(start + data)
        assert isinstance(essential(view), bytes)
        assert isinstance(unfinished(view), str)
