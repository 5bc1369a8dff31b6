"""The size that a WebP declares, read before its decoder makes room for it (RFC 9649, section 2)."""

from __future__ import annotations

HEADER = 30


def declared(head: bytes) -> tuple[int, int] | None:
    """Give width and height in pixels from a file's first 30 bytes; None where they are not told there."""
    if len(head) < HEADER:
        return None
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L" if head[20] == 0x2F:
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            width, height = (int.from_bytes(head[place : place + 2], "little") for place in (26, 28))
            return width & 0x3FFF, height & 0x3FFF
    return None
