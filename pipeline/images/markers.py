"""The marker segments of a JPEG: what pictures depend on, and whether every scan is there (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

MARK, SOI, EOI = 0xFF, 0xD8, 0xD9
SOS, DHT, DQT, DRI, DAC, APP14 = 0xDA, 0xC4, 0xDB, 0xDD, 0xCC, 0xEE
FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, DAC}
PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
COEFFICIENTS = 64

_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_NEEDED: Final = FRAMES | {SOS, DHT, DQT, DRI, DAC, 0xDC}
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Begins with one byte, which is searched for much faster than one or more of it."""


class Segment(NamedTuple):
    """One marker segment: `body` without marker and length, `data` the entropy-coded bytes behind a scan's header."""

    marker: int
    body: bytes
    data: memoryview


def segments(picture: memoryview) -> Iterator[Segment]:
    """Yield the segments behind SOI up to EOI the way decoders find them: bytes that are no marker are passed over.

    Stops without a word where the bytes end; whoever decodes them notices.
    """
    nothing = picture[:0]
    place = 2
    while found := _MARKER.search(picture, place):
        marker, place = found.group(1)[0], found.end()
        if marker == EOI:
            yield Segment(EOI, b"", nothing)
            return
        if marker in _ALONE:
            continue
        size = int.from_bytes(picture[place : place + 2], "big")
        end = place + size
        if marker == SOI or size < 2 or end > len(picture):
            return
        body, data = bytes(picture[place + 2 : end]), nothing
        if marker == SOS:
            stop = _SCAN_END.search(picture, end)
            behind = stop.start() if stop else len(picture)
            while stop and picture[behind - 1] == MARK and behind > end:
                behind -= 1
            data = picture[end:behind]
            end += len(data)
        yield Segment(marker, body, data)
        place = end


def essential(picture: memoryview) -> bytes:
    """Give the same picture without what it does not depend on: metadata, stray bytes, odd but unused values."""
    parts = [b"\xff\xd8"]
    sequential = True
    for marker, body, data in segments(picture):
        if marker == EOI:
            parts.append(b"\xff\xd9")
        if marker in FRAMES:
            sequential = marker not in PROGRESSIVE
        if marker == SOS and sequential:
            body = body[:-3] + b"\x00\x3f\x00"  # noqa: PLW2901 - decoders pass over what stands there
        if marker in _NEEDED or (
            marker == APP14 and body[:5] == b"Adobe" and body[11:12] in {b"\0", b"\1", b"\2"}
        ):
            parts += [bytes((0xFF, marker)), (len(body) + 2).to_bytes(2, "big"), body, bytes(data)]
    return b"".join(parts)


def unfinished(picture: memoryview) -> str:
    """Say which scans are missing; empty when the picture has all of them, or cannot be followed.

    A picture that was cut between two scans, and closed, decodes without a warning: grey, or blurred.
    """
    components: list[int] = []
    missing: dict[int, list[int]] = {}
    progressive = False
    for marker, body, _ in segments(picture):
        if marker in FRAMES and not components:
            progressive = marker in PROGRESSIVE
            components = list(body[6::3][: body[5] if len(body) > 5 else 0])
            missing = {component: [COEFFICIENTS] * COEFFICIENTS for component in components}
        if marker != SOS or not body:
            continue
        named = list(body[1 : 1 + 2 * body[0] : 2])
        if not progressive and len(named) == len(components):
            return ""
        first, last, low = (body[-3], body[-2], body[-1] & 15) if progressive else (0, COEFFICIENTS - 1, 0)
        for component in named:
            if (bits := missing.get(component)) is None:
                return ""
            bits[first : last + 1] = [low] * len(bits[first : last + 1])
    return _told(missing)


def _told(missing: dict[int, list[int]]) -> str:
    lost = sum(1 for bits in missing.values() if bits[0] == COEFFICIENTS)
    if lost:
        return f"{lost} of its {len(missing)} components are missing"
    rough = sum(1 for bits in missing.values() if any(bits))
    return f"the last scans of {rough} of its {len(missing)} components are missing" if rough else ""
