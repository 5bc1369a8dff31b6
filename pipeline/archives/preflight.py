"""Judging an archive from its central directory alone."""

from __future__ import annotations

import hashlib
import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pipeline.archives import names
from pipeline.archives.directory import (
    CHUNK,
    LOCAL_SIZE,
    Directory,
    RawEntry,
    entries,
    find_directory,
    read_at,
)
from pipeline.errors import ArchiveError
from pipeline.records import Member, Verdict
from pipeline.settings import Limits

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
READABLE: Final = frozenset({STORED, DEFLATED, BZIP2, LZMA})
METHODS: Final = {
    1: "shrink", 2: "reduce", 3: "reduce", 4: "reduce", 5: "reduce", 6: "implode", 9: "deflate64", 10: "PKWARE implode",
    19: "LZ77", 20: "zstd", 93: "zstd", 94: "mp3", 95: "xz", 96: "jpeg", 97: "wavpack", 98: "PPMd",
}  # fmt: skip
ENCRYPTED_BITS = 0x1 | 0x40 | 0x2000
UNIX_MADE = frozenset({3, 16, 19})
RATIO_FLOOR = 1 << 20
"""Bytes of output below which a ratio says nothing: flat pictures pack extremely well."""
ARCHIVE_RATIO_FLOOR = 256 << 20


@dataclass(slots=True)
class _Names:
    """The hashes of paths that more than one member would have, and of folders."""

    shared: frozenset[int]
    folders: set[int]


class ZipArchive:
    """A zip that passed preflight; a context manager that owns an open file.

    `count` is the number of file members, `declared_bytes` what they say they unpack to, `digest` the
    SHA-256 of the central directory and the file's size. Opening raises `ArchiveError`.
    """

    def __init__(self, path: Path, limits: Limits, encoding: str | None = None) -> None:
        self._limits = limits
        self._encoding = encoding
        self._descriptor, self.size = _open(path)
        try:
            self._directory = find_directory(self._descriptor, self.size)
            if self._directory.count > limits.max_members:
                raise ArchiveError("too-many-members", f"it has {self._directory.count:,}")
            self.digest = _digest(self._descriptor, self._directory, self.size)
            self.count = 0
            self.declared_bytes = 0
            self._names = self._judge()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def members(self) -> Iterator[Member]:
        """Yield the file members in the directory's order, those refused by it with their verdict."""
        for entry in entries(self._descriptor, self._directory):
            if not _is_folder(entry):
                yield self._member(entry)

    def _judge(self) -> _Names:
        """Walk the directory once: count, add up, look for overlaps and for names that collide."""
        starts, ends, hashes = array("Q"), array("Q"), array("q")
        folders: set[int] = set()
        packed = 0
        for entry in entries(self._descriptor, self._directory):
            self._check_place(entry)
            starts.append(entry.offset)
            ends.append(entry.offset + LOCAL_SIZE + len(entry.raw) + entry.compressed_size)
            if _is_folder(entry):
                continue
            self.count += 1
            if self.count > self._limits.max_members:
                raise ArchiveError("too-many-members", f"it has more than {self._limits.max_members:,}")
            self.declared_bytes += entry.size
            packed += entry.compressed_size
            path = self._path(entry)
            if path is not None:
                key = names.collision_key(path)
                hashes.append(hash(key))
                cut = key.rfind("/")
                while cut > 0 and (folder := hash(key[:cut])) not in folders:
                    folders.add(folder)
                    cut = key.rfind("/", 0, cut)
        _refuse_overlaps(starts, ends, self._directory.start)
        self._check_sums(packed)
        return _Names(_repeated(hashes), folders)

    def _check_place(self, entry: RawEntry) -> None:
        if entry.offset + LOCAL_SIZE > self._directory.start:
            raise ArchiveError("structure", f"member {entry.index} begins inside the directory or beyond")
        if entry.offset + entry.compressed_size > self._directory.start:
            raise ArchiveError("overlap", f"member {entry.index} runs into the directory or beyond")

    def _check_sums(self, packed: int) -> None:
        limits = self._limits
        if self.declared_bytes > limits.max_archive_bytes:
            raise ArchiveError("archive-too-large", f"it unpacks to {self.declared_bytes:,} bytes")
        if self.declared_bytes > ARCHIVE_RATIO_FLOOR and self.declared_bytes > packed * limits.max_ratio:
            raise ArchiveError("bomb-ratio", f"{packed:,} bytes unpack to {self.declared_bytes:,}")

    def _path(self, entry: RawEntry) -> str | None:
        try:
            name = names.decode(entry.raw, entry.flags, entry.extra, self._encoding)
            return names.safe_path(names.parts(name, entry.system))
        except names.NameRefused:
            return None

    def _member(self, entry: RawEntry) -> Member:
        name, path, verdict, reason, detail = names.readable(entry.raw), "", None, "", ""
        try:
            decoded = names.decode(entry.raw, entry.flags, entry.extra, self._encoding)
            name = decoded.replace("\0", "\\x00")
            components = names.parts(decoded, entry.system)
            if names.is_litter(components):
                verdict, reason = Verdict.IGNORED, "litter"
            path = self._set_apart(names.safe_path(components), entry.index)
        except names.NameRefused as refused:
            verdict, reason, detail = Verdict.REJECTED, refused.reason, refused.detail
        if verdict is None and (refusal := _refusal(entry, self._limits)):
            verdict, (reason, detail) = Verdict.REJECTED, refusal
        return Member(
            entry.index,
            name,
            path,
            entry.method,
            entry.flags,
            entry.crc,
            entry.compressed_size,
            entry.size,
            entry.offset,
            entry.raw,
            verdict,
            reason,
            detail,
        )

    def _set_apart(self, path: str, index: int) -> str:
        key = hash(names.collision_key(path))
        if key in self._names.shared or key in self._names.folders or names.numbered(path):
            return names.with_index(path, index)
        return path


def _open(path: Path) -> tuple[int, int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ArchiveError("vanished", "it is not there (any more)") from error
    except OSError as error:
        raise ArchiveError("unreadable", f"{error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ArchiveError("unreadable", "it is not an ordinary file")
    return descriptor, status.st_size


def _digest(descriptor: int, directory: Directory, size: int) -> bytes:
    digest = hashlib.sha256()
    for offset in range(directory.start, directory.start + directory.size, CHUNK):
        digest.update(read_at(descriptor, min(CHUNK, directory.start + directory.size - offset), offset))
    digest.update(size.to_bytes(8, "little"))
    return digest.digest()


def _is_folder(entry: RawEntry) -> bool:
    if entry.size or entry.compressed_size > 2:
        return False
    if entry.raw.endswith(b"/") or (entry.raw.endswith(b"\\") and entry.system in names.DOS_MADE):
        return True
    return entry.system in UNIX_MADE and stat.S_ISDIR(entry.attributes >> 16)


def _refusal(  # noqa: PLR0911 - a list of grounds, the first that holds wins
    entry: RawEntry, limits: Limits
) -> tuple[str, str] | None:
    """Give the reason and detail for which a member is refused unread, or None."""
    if entry.raw.endswith(b"/"):
        return "special-file", "it is a folder that holds data"
    if entry.system in UNIX_MADE and (kind := _kind(entry.attributes >> 16)):
        return kind
    if entry.flags & ENCRYPTED_BITS or entry.method == 99:
        return "encrypted", "send it again without a password"
    if entry.method not in READABLE:
        return "unsupported-method", f"method {entry.method} ({METHODS.get(entry.method, 'unknown')})"
    if entry.size > limits.max_member_bytes:
        return "member-too-large", f"it declares {entry.size:,} bytes"
    if entry.size > RATIO_FLOOR and entry.size > entry.compressed_size * limits.max_ratio:
        return "member-ratio", f"{entry.compressed_size:,} bytes unpack to {entry.size:,}"
    if entry.method == STORED and entry.size != entry.compressed_size:
        return "size-mismatch", f"stored {entry.compressed_size:,} bytes declare {entry.size:,}"
    return None


def _kind(mode: int) -> tuple[str, str] | None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return "symlink", "it is a link, not a file"
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "special-file", f"its kind is {stat.filemode(mode)[0]!r}"
    return None


def _refuse_overlaps(starts: array[int], ends: array[int], limit: int) -> None:
    """Raise `ArchiveError` where members share bytes; almost always the directory is in order already."""
    order: range | list[int] = range(len(starts))
    if any(starts[i] < starts[i - 1] for i in order[1:]):
        order = sorted(order, key=starts.__getitem__)
    reached = 0
    for i in order:
        if starts[i] < reached:
            raise ArchiveError("overlap", f"member {i} begins at {starts[i]:,}, inside another")
        reached = ends[i]
    if reached > limit:
        raise ArchiveError("overlap", "the last member runs into the directory")


def _repeated(hashes: array[int]) -> frozenset[int]:
    ordered = sorted(hashes)
    return frozenset(a for a, b in pairwise(ordered) if a == b)
