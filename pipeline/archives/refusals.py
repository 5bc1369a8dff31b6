"""What a record of the directory alone says of a member: that it is a folder, or why it is refused unread."""

from __future__ import annotations

import stat
from typing import Final

from pipeline.archives import names
from pipeline.archives.directory import RawEntry
from pipeline.settings import Limits
from pipeline.words import counted

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
READABLE: Final = frozenset({STORED, DEFLATED, BZIP2, LZMA})
METHODS: Final = {
    1: "shrink", 2: "reduce", 3: "reduce", 4: "reduce", 5: "reduce", 6: "implode", 9: "deflate64", 10: "PKWARE implode",
    19: "LZ77", 20: "zstd", 93: "zstd", 94: "mp3", 95: "xz", 96: "jpeg", 97: "wavpack", 98: "PPMd",
}  # fmt: skip
ENCRYPTED_BITS = 0x1 | 0x40 | 0x2000
UNIX_MADE = frozenset({3, 16, 19})
PATCHED_BIT = 0x20
RATIO_GRACE = 320 << 10
"""Bytes added to a member's before its ratio is judged: flat pictures pack extremely well."""


def is_folder(entry: RawEntry) -> bool:
    """Tell whether a record stands for a folder, which is no member."""
    if entry.size or entry.compressed_size > 2:
        return False
    if entry.raw.endswith(b"/") or (entry.raw.endswith(b"\\") and entry.system in names.DOS_MADE):
        return True
    return entry.system in UNIX_MADE and stat.S_ISDIR(entry.attributes >> 16)


def refusal(  # noqa: PLR0911 - a list of grounds, the first that holds wins
    entry: RawEntry, limits: Limits
) -> tuple[str, str] | None:
    """Give the reason and detail for which a member is refused unread, or None."""
    if entry.raw.endswith(b"/"):
        return "special-file", "it is a folder that holds data"
    if entry.system in UNIX_MADE and (kind := _kind(entry.attributes >> 16)):
        return kind
    if entry.flags & ENCRYPTED_BITS or entry.method == 99:
        return "encrypted", "send it again without a password"
    if entry.flags & PATCHED_BIT:
        return "unsupported-method", "it is a patch of another file"
    if entry.method not in READABLE:
        return "unsupported-method", f"method {entry.method} ({METHODS.get(entry.method, 'unknown')})"
    if entry.size > limits.max_member_bytes:
        return "member-too-large", f"it declares {counted(entry.size, 'byte')}"
    if entry.size > (entry.compressed_size + RATIO_GRACE) * limits.max_ratio:
        return "member-ratio", f"{entry.compressed_size:,} bytes unpack to {entry.size:,}"
    if entry.method == STORED and entry.size != entry.compressed_size:
        return (
            "size-mismatch",
            f"it declares {counted(entry.size, 'byte')} and stores {entry.compressed_size:,}",
        )
    return None


def _kind(mode: int) -> tuple[str, str] | None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return "symlink", "it is a link, not a file"
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "special-file", f"its kind is {stat.filemode(mode)[0]!r}"
    return None
