"""What is read of EXIF without Pillow is what Pillow reads, or is left to it."""

from __future__ import annotations

import random
import struct
from datetime import datetime

import pytest
from PIL import Image as Pillow

from bench.sample import encoded, picture
from pipeline.errors import ImageError
from pipeline.images import inspect, plain, tags
from pipeline.images.exif import Camera
from pipeline.settings import Limits

SMALL = encoded(picture(7, (64, 64)), "JPEG")
LIMITS = Limits()
NOON = datetime(2026, 5, 17, 12, 0)


def block(sign: str = ">", orientation: tuple[int, int] = (3, 6), details: bool = True) -> bytes:
    """Make EXIF as cameras write it: a maker, an orientation of a type, resolution, times, a directory of details."""
    head = b"MM\0*" if sign == ">" else b"II*\0"
    kind, value = orientation
    turned = struct.pack(f"{sign}HH", value, 0) if kind == 3 else struct.pack(f"{sign}L", value)
    entries: list[tuple[int, int, int, bytes]] = [
        (0x010F, 2, 6, b"maker\0"),
        (0x0112, kind, 1, turned),
        (0x011A, 5, 1, struct.pack(f"{sign}LL", 72, 1)),
        (0x0128, 3, 1, struct.pack(f"{sign}HH", 2, 0)),
        (0x0132, 2, 20, b"2020:01:01 00:00:00\0"),
    ]
    inner = [
        (0x9003, 2, 20, b"2026:05:17 12:00:00\0"),
        (0x9011, 2, 7, b"+02:00\0"),
        (0x927C, 7, 40, bytes(40)),
        (0xA005, 4, 1, struct.pack(f"{sign}L", 0)),
    ]
    first, behind = 8, 8 + 2 + 12 * (len(entries) + details) + 4
    data = b""
    if details:
        entries.append((0x8769, 4, 1, struct.pack(f"{sign}L", 400)))
    return (
        b"Exif\0\0"
        + (head + struct.pack(f"{sign}L", first) + directory(sign, entries, behind) + data).ljust(400, b"\0")
        + directory(sign, inner, 400 + 2 + 12 * len(inner) + 4)
    )


def directory(sign: str, entries: list[tuple[int, int, int, bytes]], behind: int) -> bytes:
    """Write a directory, and the values that do not fit into it at `behind`."""
    table, values = struct.pack(f"{sign}H", len(entries)), b""
    for tag, kind, count, value in entries:
        table += struct.pack(f"{sign}HHL", tag, kind, count)
        if len(value) > 4:
            table += struct.pack(f"{sign}L", behind + len(values))
            values += value
        else:
            table += value.ljust(4, b"\0")
    return table + bytes(4) + values


def with_block(segment: bytes) -> bytes:
    """Give a small JPEG that has an EXIF segment."""
    return SMALL[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + SMALL[2:]


def told(data: bytes) -> object:
    """Give what inspection says, or the verdict."""
    try:
        return inspect(data, LIMITS, "header")
    except ImageError as error:
        return error.reason


def long_way(data: bytes, monkeypatch: pytest.MonkeyPatch) -> object:
    """Inspect as Pillow has it."""
    with monkeypatch.context() as patch:
        patch.setattr(plain, "read", lambda _: None)
        return told(data)


@pytest.mark.parametrize("sign", "<>")
@pytest.mark.parametrize("kind", [3, 4, 9])
def test_what_cameras_write(sign: str, kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orientation, time and offset are read in both byte orders, whatever integer the orientation is."""
    segment = block(sign, (kind, 6))
    assert tags.read(segment) == Camera(6, NOON, "+02:00")
    data = with_block(segment)
    header = plain.read(memoryview(data))
    assert header is not None
    assert header.exif == segment
    assert told(data) == long_way(data, monkeypatch)


@pytest.mark.parametrize("tag", [0x0112, 0x8769, 0x010F])
def test_numbers_of_64_bits_are_seen(tag: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow takes them where TIFF does not know them; what runs over the end makes it stop there, as elsewhere."""
    entries = block()
    for place in (8, len(entries) - 7):
        entry = struct.pack(">HHLL", tag, 16, 1, place)
        hurt = entries.replace(entries[16:28], entry)
        data = with_block(hurt)
        assert told(data) == long_way(data, monkeypatch)


def test_without_details(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first directory's time counts where there is no other; an orientation out of range is none."""
    segment = block(orientation=(3, 9), details=False)
    assert tags.read(segment) == Camera(None, datetime(2020, 1, 1), None)
    data = with_block(segment)
    assert told(data) == long_way(data, monkeypatch)


def test_an_orientation_in_xmp_is_left_to_pillow() -> None:
    """Pillow looks for it in XMP where the EXIF block has none."""
    exif = Pillow.Exif()
    exif[0x010F] = "maker"
    assert tags.read(exif.tobytes()) == Camera()
    assert tags.read(exif.tobytes(), xmp=True) is None
    assert tags.read(block(), xmp=True) == Camera(6, NOON, "+02:00")


@pytest.mark.parametrize("cut", [6, 10, 14, 30, 60, 200, 410, 440, 480])
def test_cut_blocks_are_left_to_pillow(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends too early is not guessed at."""
    assert tags.read(block()[:cut]) is None
    data = with_block(block()[:cut])
    assert told(data) == long_way(data, monkeypatch)


def test_any_damage_is_told_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever bytes of a block are changed, both ways tell the same, and the short one is still taken now and then."""
    chance, short = random.Random(3), 0
    for _ in range(400):
        hurt = bytearray(block(chance.choice("<>")))
        for _ in range(chance.choice([1, 1, 2])):
            place = chance.choice([chance.randrange(6, 110), chance.randrange(400, len(hurt))])
            hurt[place] = chance.choice(
                [0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 0x12, 0x69, 0xFF, chance.randrange(256)]
            )
        short += tags.read(bytes(hurt)) is not None
        data = with_block(bytes(hurt))
        assert told(data) == long_way(data, monkeypatch), bytes(hurt).hex()
    assert short > 40
