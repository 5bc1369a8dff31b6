"""Reading members: bounded by what they declare, checked against both headers and the checksum."""

from __future__ import annotations

import bz2
import contextlib
import lzma
import mmap
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Protocol, Self, cast

import deflate
from isal import isal_zlib

from pipeline.archives.directory import LOCAL_SIZE, extra_field
from pipeline.archives.ends import LOCAL, MAX32
from pipeline.archives.refusals import BZIP2, DEFLATED, ENCRYPTED_BITS, STORED
from pipeline.errors import ArchiveError, MemberError
from pipeline.records import Member
from pipeline.settings import Limits
from pipeline.words import counted

OUTPUT_CHUNK = 1 << 20
INPUT_CHUNK = 1 << 18
DESCRIPTOR_BIT = 0x8
LZMA_DICTIONARY = 128 << 20

_LOCAL = Struct("<4sHHHHHIIIHH")
# isal's stub gives an instance where the module has the class.
_ISAL_ERROR = cast("type[Exception]", isal_zlib.error)
_BROKEN = (zlib.error, _ISAL_ERROR, lzma.LZMAError, OSError, EOFError, ValueError)


class _Decompressor(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool: ...


class MemberReader:
    """Reads the members of one archive through a memory map; a context manager.

    `size` is the archive's size at preflight. A file that is cut later, while it is mapped, ends the process
    by SIGBUS, so that this belongs into a worker. Raises `ArchiveError` when the file is another one now.
    """

    def __init__(self, path: Path, size: int) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ArchiveError("vanished", "it is not there any more") from error
        except OSError as error:
            raise ArchiveError("unreadable", f"{error.strerror}") from error
        try:
            now = os.fstat(descriptor)
            if now.st_size != size:
                raise ArchiveError("vanished", f"it had {counted(size, 'byte')} and now has {now.st_size:,}")
            self._map = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor, self._written = descriptor, now.st_mtime_ns
        self._view = memoryview(self._map)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        self._view.release()
        # A decoder or a traceback may still hold a piece; the map goes when that does.
        with contextlib.suppress(BufferError):
            self._map.close()

    def check(self) -> None:
        """Raise `ArchiveError` if the file was written to meanwhile: pieces may not be what they were."""
        now = os.fstat(self._descriptor)
        if (now.st_size, now.st_mtime_ns) != (len(self._map), self._written):
            raise ArchiveError("vanished", "somebody wrote to it meanwhile")

    def read(self, member: Member, limits: Limits) -> bytes | memoryview:
        """Give a member's bytes, checked; never more than it declares. Raises `MemberError`."""
        packed = self._packed(member, limits)
        if member.method == STORED:
            data: bytes | memoryview = packed
        elif member.method == DEFLATED:
            data = _inflate_whole(packed, member)
        else:
            data = b"".join(_pieces(packed, member))
        if len(data) != member.size:
            raise MemberError(
                "size-mismatch", f"it declares {counted(member.size, 'byte')} and has {len(data):,}"
            )
        if isal_zlib.crc32(data) != member.crc:
            raise MemberError("bad-crc", "it was damaged on its way; send the archive again")
        return data

    def stream(self, member: Member, limits: Limits) -> Iterator[bytes | memoryview]:
        """Yield a member's bytes in pieces of at most 1 MiB; the checks that need all of them come at the end."""
        packed = self._packed(member, limits)
        size, crc = 0, 0
        for piece in _pieces(packed, member):
            size += len(piece)
            if size > member.size:
                raise MemberError("size-mismatch", f"it declares {counted(member.size, 'byte')} and has more")
            crc = isal_zlib.crc32(piece, crc)
            yield piece
        if size != member.size:
            raise MemberError("size-mismatch", f"it declares {counted(member.size, 'byte')} and has {size:,}")
        if crc != member.crc:
            raise MemberError("bad-crc", "it was damaged on its way; send the archive again")

    def _packed(self, member: Member, limits: Limits) -> memoryview:
        """Give a member's packed bytes after checking its local header (APPNOTE 4.3.7)."""
        if member.size > limits.max_member_bytes:
            raise MemberError("member-too-large", f"it declares {counted(member.size, 'byte')}")
        start = member.offset + LOCAL_SIZE
        if start > len(self._view):
            raise MemberError("member-truncated", "its header lies beyond the end of the file")
        fields = _LOCAL.unpack_from(self._view, member.offset)
        signature, _, flags, method, _, _, crc, compressed, size, name_size, extra_size = fields
        if signature != LOCAL:
            raise MemberError("header-mismatch", "there is no header where the directory points")
        begin = start + name_size + extra_size
        if begin + member.compressed_size > len(self._view):
            raise MemberError("member-truncated", "its data runs over the end of the file")
        if begin + member.compressed_size > member.end:
            raise MemberError("header-mismatch", "its own header makes its data run into what follows")
        if bytes(self._view[start : start + name_size]) != member.raw:
            raise MemberError("header-mismatch", "its own header has another name")
        if method != member.method or (flags ^ member.flags) & ENCRYPTED_BITS:
            raise MemberError("header-mismatch", "its own header has another method")
        if not flags & DESCRIPTOR_BIT:
            if MAX32 in {size, compressed}:
                extra = bytes(self._view[start + name_size : begin])
                size, compressed = _local64(extra, size, compressed)
            if (crc, compressed, size) != (member.crc, member.compressed_size, member.size):
                raise MemberError("header-mismatch", "its own header has other sizes or another checksum")
        return self._view[begin : begin + member.compressed_size]


def _local64(extra: bytes, size: int, compressed: int) -> tuple[int, int]:
    field = extra_field(extra, 1) or b""
    values = [int.from_bytes(field[place : place + 8], "little") for place in range(0, len(field) - 7, 8)]
    if size == MAX32 and values:
        size = values.pop(0)
    if compressed == MAX32 and values:
        compressed = values.pop(0)
    return size, compressed


def _inflate_whole(packed: memoryview, member: Member) -> bytes | memoryview:
    """Inflate at once with the decoder that is fastest at it; it does not say what is wrong, the other one does.

    It does not look at the data of which nothing is to come.
    """
    if member.size:
        with contextlib.suppress(deflate.DeflateError):
            return memoryview(deflate.deflate_decompress(packed, member.size))
    return _inflate(packed, member)


def _inflate(packed: memoryview, member: Member) -> bytes:
    inflater = isal_zlib.decompressobj(-15)
    try:
        data = inflater.decompress(packed, member.size + 1)
    except _BROKEN as error:
        raise MemberError("bad-stream", str(error)) from error
    if len(data) > member.size:
        raise MemberError("size-mismatch", f"it declares {counted(member.size, 'byte')} and has more")
    _check_end(inflater)
    return data


def _check_end(decompressor: _Decompressor) -> None:
    """Refuse a stream that does not end; bytes between its end and the next member are nobody's, and are let be."""
    if not decompressor.eof:
        raise MemberError("bad-stream", "its compressed data ends too early")


def _pieces(packed: memoryview, member: Member) -> Iterator[bytes | memoryview]:
    if member.method == STORED:
        for place in range(0, len(packed), OUTPUT_CHUNK):
            yield packed[place : place + OUTPUT_CHUNK]
        return
    try:
        if member.method == DEFLATED:
            yield from _inflated(packed, member)
        elif member.method == BZIP2:
            yield from _decompressed(bz2.BZ2Decompressor(), packed, member, ends=True)
        else:
            decompressor, body = _lzma(packed, member)
            yield from _decompressed(decompressor, body, member, ends=bool(member.flags & 2))
    except _BROKEN as error:
        raise MemberError("bad-stream", str(error)) from error


def _inflated(packed: memoryview, member: Member) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(-15)
    left = member.size + 1
    for place in range(0, len(packed), INPUT_CHUNK):
        data: bytes | memoryview = packed[place : place + INPUT_CHUNK]
        while len(data) and not inflater.eof:
            piece = inflater.decompress(data, min(OUTPUT_CHUNK, left))
            data = inflater.unconsumed_tail
            left -= len(piece)
            yield piece
            if left <= 0:
                return
    while not inflater.eof and left > 0 and (piece := inflater.decompress(b"", min(OUTPUT_CHUNK, left))):
        left -= len(piece)
        yield piece
    _check_end(inflater)


def _decompressed(
    decompressor: bz2.BZ2Decompressor | lzma.LZMADecompressor,
    packed: memoryview,
    member: Member,
    *,
    ends: bool,
) -> Iterator[bytes]:
    """Decompress with a decompressor of the standard library; `ends` when the stream has an end of its own.

    One that has none goes on for as long as it is asked, so that it must not be asked for more.
    """
    left = member.size + ends
    place = 0
    while left > 0 and not decompressor.eof:
        data: bytes | memoryview = b""
        if decompressor.needs_input:
            data = packed[place : place + INPUT_CHUNK]
            place += len(data)
            if not len(data):
                break
        piece = decompressor.decompress(data, min(OUTPUT_CHUNK, left))
        left -= len(piece)
        if piece:
            yield piece
    if ends and left > 0:
        _check_end(decompressor)


def _lzma(packed: memoryview, member: Member) -> tuple[lzma.LZMADecompressor, memoryview]:
    """Read the header of an LZMA member (APPNOTE 5.8.8) and make its decompressor."""
    header = bytes(packed[:9])
    if len(header) < 9 or int.from_bytes(header[2:4], "little") != 5 or header[4] >= 225:
        raise MemberError("bad-stream", "its LZMA header is broken")
    rest, context = divmod(header[4], 9)
    position, literal = divmod(rest, 5)
    dictionary = int.from_bytes(header[5:9], "little")
    settings = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": max(4096, min(dictionary, member.size, LZMA_DICTIONARY)),
        "lc": context,
        "lp": literal,
        "pb": position,
    }
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[settings]), packed[9:]
