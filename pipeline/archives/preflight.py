"""Judging an archive from its central directory alone."""

from __future__ import annotations

import hashlib
import os
import stat
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.archives import names
from pipeline.archives.directory import CHUNK, LOCAL_SIZE, RawEntry, entries
from pipeline.archives.ends import Directory, find_directory, read_at
from pipeline.archives.refusals import is_folder, refusal
from pipeline.errors import ArchiveError
from pipeline.records import Member, Verdict
from pipeline.settings import Limits

ARCHIVE_RATIO_GRACE = 1280 << 10
"""Bytes added to an archive's before its ratio is judged: flat pictures pack extremely well."""
SHARES = 64
"""Parts in which hashes are sorted: a list of all of them takes four times the memory of the hashes themselves."""


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
        ahead: RawEntry | None = None
        for entry in entries(self._descriptor, self._directory):
            if ahead and not is_folder(ahead):
                yield self._member(ahead, entry.offset)
            ahead = entry
        if ahead and not is_folder(ahead):
            yield self._member(ahead, self._directory.start)

    def _judge(self) -> _Names:
        """Walk the directory once: count, add up, look for overlaps and for names that collide."""
        starts, ends = array("Q"), array("Q")
        hashes = [array("q") for _ in range(SHARES)]
        folders: set[int] = set()
        packed = 0
        for entry in entries(self._descriptor, self._directory):
            self._check_place(entry)
            starts.append(entry.offset)
            ends.append(entry.offset + LOCAL_SIZE + len(entry.raw) + entry.compressed_size)
            if is_folder(entry):
                continue
            self.count += 1
            if self.count > self._limits.max_members:
                raise ArchiveError("too-many-members", f"it has more than {self._limits.max_members:,}")
            self.declared_bytes += entry.size
            packed += entry.compressed_size
            path = self._path(entry)
            if path is not None:
                key = names.collision_key(path)
                value = hash(key)
                hashes[value % SHARES].append(value)
                cut = key.rfind("/")
                while cut > 0 and (folder := hash(key[:cut])) not in folders:
                    folders.add(folder)
                    cut = key.rfind("/", 0, cut)
        order = _refuse_overlaps(starts, ends, self._directory.start)
        self._starts = None if isinstance(order, range) else array("Q", (starts[i] for i in order))
        self._check_sums(packed)
        return _Names(frozenset(chain.from_iterable(map(_repeated, hashes))), folders)

    def _check_place(self, entry: RawEntry) -> None:
        if entry.offset + LOCAL_SIZE > self._directory.start:
            raise ArchiveError("structure", f"member {entry.index} begins inside the directory or beyond")
        if entry.offset + entry.compressed_size > self._directory.start:
            raise ArchiveError("overlap", f"member {entry.index} runs into the directory or beyond")

    def _check_sums(self, packed: int) -> None:
        limits = self._limits
        if self.declared_bytes > limits.max_archive_bytes:
            raise ArchiveError("archive-too-large", f"it unpacks to {self.declared_bytes:,} bytes")
        if self.declared_bytes > (packed + ARCHIVE_RATIO_GRACE) * limits.max_ratio:
            raise ArchiveError("bomb-ratio", f"{packed:,} bytes unpack to {self.declared_bytes:,}")

    def _path(self, entry: RawEntry) -> str | None:
        try:
            name = names.decode(entry.raw, entry.flags, entry.extra, self._encoding)
            return name if names.is_simple(name) else names.safe_path(names.parts(name, entry.system))
        except names.NameRefused:
            return None

    def _member(self, entry: RawEntry, after: int) -> Member:
        name, path, verdict, reason, detail = "", "", None, "", ""
        try:
            decoded = names.decode(entry.raw, entry.flags, entry.extra, self._encoding)
            name = path = decoded.replace("\0", "\\x00")
            if not names.is_simple(decoded):
                components = names.parts(decoded, entry.system)
                if names.is_litter(components):
                    verdict, reason = Verdict.IGNORED, "litter"
                path = names.safe_path(components)
            path = self._set_apart(path, entry.index)
        except names.NameRefused as refused:
            name, path = name or names.readable(entry.raw), ""
            verdict, reason, detail = Verdict.REJECTED, refused.reason, refused.detail
        if verdict is None and (ground := refusal(entry, self._limits)):
            verdict, (reason, detail) = Verdict.REJECTED, ground
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
            end=self._end(entry.offset, after),
        )

    def _end(self, offset: int, after: int) -> int:
        """Give where a member's data must end; `after` is where the next one of the directory begins."""
        if self._starts is None:
            return after
        place = bisect_right(self._starts, offset)
        return self._starts[place] if place < len(self._starts) else self._directory.start

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


def _refuse_overlaps(starts: array[int], ends: array[int], limit: int) -> range | list[int]:
    """Give the order of members in the file; almost always the directory has it already.

    Raises `ArchiveError` where members share bytes.
    """
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
    return order


def _repeated(hashes: array[int]) -> Iterator[int]:
    return (a for a, b in pairwise(sorted(hashes)) if a == b)
