"""Telling archives by their first bytes."""

from __future__ import annotations

_MAGICS = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x07\x08",
    b"Rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
    b"\x1f\x8b\x08",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
    b"MSCF\x00\x00\x00\x00",
)
TAR_MAGIC_AT = 257


def is_archive(head: bytes) -> bool:
    """Tell whether content that begins like this is an archive; 262 bytes are enough to know."""
    if head.startswith(_MAGICS) or head[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        return True
    return head[:3] == b"BZh" and head[4:10] == b"1AY&SY"
