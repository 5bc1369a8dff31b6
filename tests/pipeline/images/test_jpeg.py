"""Damaged JPEGs are told from odd ones, also where Pillow says nothing."""

from __future__ import annotations

import random

import pytest

from bench.sample import encoded, picture
from pipeline.errors import ImageError
from pipeline.images import inspect
from pipeline.records import Image
from pipeline.settings import Limits

EOI = b"\xff\xd9"


def jpeg(**options: object) -> bytes:
    """Encode a picture of 96×64."""
    return encoded(picture(3, (96, 64)), "JPEG", quality=85, **options)


KINDS = {
    "baseline": jpeg(),
    "progressive": jpeg(progressive=True),
    "full-chroma": jpeg(subsampling=0),
    "restarts": jpeg(restart_marker_blocks=2),
    "grey": encoded(picture(3, (96, 64)).convert("L"), "JPEG"),
    "cmyk": encoded(picture(3, (96, 64)).convert("CMYK"), "JPEG"),
}


def look(data: bytes) -> Image:
    """Inspect with the usual limits."""
    return inspect(data, Limits())


def refused(data: bytes) -> str:
    """Inspect what must be refused; give the reason."""
    with pytest.raises(ImageError) as caught:
        look(data)
    return caught.value.reason


def segment(marker: int, body: bytes) -> bytes:
    """Make a marker segment."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def header_end(data: bytes) -> int:
    """Give where the entropy-coded data of the first scan begins."""
    place = data.index(b"\xff\xda")
    return place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_whole_pictures_are_taken_without_remark(data: bytes) -> None:
    """Every kind that cameras and programs write is taken."""
    image = look(data)
    assert (image.type, image.width, image.height, image.frames, image.remarks) == ("jpeg", 96, 64, 1, ())
    assert image.dhash is not None


@pytest.mark.parametrize("end", [b"", EOI], ids=["open", "closed"])
@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_a_cut_is_found_wherever_it_is(data: bytes, end: bytes) -> None:
    """A picture that lost its end is refused, also when somebody closed it with an end marker."""
    first = header_end(data)
    for place in random.Random(1).sample(range(first, len(data) - 40), 12):
        assert refused(data[:place] + end) in {"truncated", "corrupt"}, place


@pytest.mark.parametrize("name", ["progressive"])
def test_missing_scans_are_found(name: str) -> None:
    """A progressive picture that was cut between two scans and closed is refused: it would be shown blurred."""
    data = KINDS[name]
    starts = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    assert len(starts) > 3
    for place in starts[1:]:
        tables = data.rfind(b"\xff\xc4", 0, place)
        assert refused(data[:tables] + EOI) == "truncated"


def test_missing_components_are_found() -> None:
    """A picture of three components in three scans, of which one came, is refused."""
    data = KINDS["full-chroma"]
    frame = data.index(b"\xff\xc0")
    grey = KINDS["grey"]
    size = int.from_bytes(data[frame + 2 : frame + 4], "big")
    alone = grey[: grey.index(b"\xff\xc0")] + data[frame : frame + 2 + size] + grey[grey.index(b"\xff\xc4") :]
    assert refused(alone) in {"truncated", "corrupt"}


@pytest.mark.parametrize(
    "stray",
    [
        b"\x00\x00\x00",
        b"abcde",
        segment(0xE2, b"ICC_PROFILE\0\x09\x02junk"),
        segment(0xEE, b"Adobe\0d\0\0\0\0\x4c"),
    ],
    ids=["zeros", "text", "profile", "adobe"],
)
def test_odd_headers_are_only_noted(stray: bytes) -> None:
    """Stray bytes and broken metadata before the picture do not refuse it."""
    data = KINDS["baseline"]
    frame = data.index(b"\xff\xdb")
    image = look(data[:frame] + stray + data[frame:])
    assert (image.width, image.height) == (96, 64)
    assert all(remark.startswith("jpeg: ") for remark in image.remarks), image.remarks


def test_an_odd_header_does_not_hide_a_cut() -> None:
    """The decoder tells its first warning only; the second one counts all the same."""
    data = KINDS["baseline"]
    frame = data.index(b"\xff\xdb")
    for end in (b"", EOI):
        assert refused(data[:frame] + b"abc" + data[frame : len(data) // 2] + end) == "truncated"


def test_bytes_behind_the_end_do_not_matter() -> None:
    """Cameras put previews and films behind the picture."""
    assert look(KINDS["baseline"] + b"any" * 500).width == 96


def test_padding_before_the_end_is_only_noted() -> None:
    """Some cameras fill up before the end marker."""
    image = look(KINDS["baseline"][:-2] + bytes(64) + EOI)
    assert "extraneous" in image.remarks[0]


def test_fill_bytes_before_markers_are_legal() -> None:
    """Any number of 0xFF may stand before a marker (T.81, B.1.1.2)."""
    data = KINDS["baseline"]
    frame = data.index(b"\xff\xdb")
    assert look(data[:frame] + b"\xff" * 1000 + data[frame:]).remarks == ()


def test_junk_between_restarts_is_damage() -> None:
    """Bytes before a restart marker that are no padding are lost picture."""
    data = KINDS["restarts"]
    place = data.index(b"\xff\xd1")
    assert refused(data[:place] + b"\x12\x34\x56\x78" * 8 + data[place:]) == "corrupt"


def test_noise_is_damage() -> None:
    """Random bytes in place of the second half are refused."""
    data = KINDS["baseline"]
    noise = random.Random(5).randbytes(len(data) // 2)
    assert refused(data[: len(data) // 2] + noise) in {"corrupt", "truncated"}
