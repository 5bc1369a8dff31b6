"""Zips built byte by byte, so that any field can lie."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.archives import MemberReader, ZipArchive
from pipeline.errors import ArchiveError, MemberError
from pipeline.records import Member
from pipeline.settings import Limits

LIMITS = Limits()


@dataclass
class File:
    """One member to be written; what is None is told truthfully."""

    name: bytes
    content: bytes = b"content"
    method: int = 0
    flags: int = 0
    system: int = 3
    mode: int = 0o100644
    extra: bytes = b""
    local_extra: bytes | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    compressed: int | None = None
    offset: int | None = None
    disk: int = 0

    @property
    def data(self) -> bytes:
        """The packed content."""
        if self.packed is not None:
            return self.packed
        if self.method == zipfile.ZIP_DEFLATED:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            return packer.compress(self.content) + packer.flush()
        return self.content

    def sums(self, *, local: bool) -> tuple[int, int, int]:
        """Give CRC, packed and unpacked size as the headers tell them."""
        if local and self.flags & 8:
            return 0, 0, 0
        crc = zlib.crc32(self.content) if self.crc is None else self.crc
        compressed = len(self.data) if self.compressed is None else self.compressed
        return crc, compressed, len(self.content) if self.size is None else self.size

    def local(self) -> bytes:
        """Give the local header, the data and, where flagged, the descriptor."""
        name = self.name if self.local_name is None else self.local_name
        extra = self.extra if self.local_extra is None else self.local_extra
        method = self.method if self.local_method is None else self.local_method
        header = struct.pack(
            "<4sHHHHHIIIHH",
            b"PK\3\4",
            20,
            self.flags,
            method,
            0,
            33,
            *self.sums(local=True),
            len(name),
            len(extra),
        )
        descriptor = struct.pack("<4sIII", b"PK\7\10", *self.sums(local=False)) if self.flags & 8 else b""
        return header + name + extra + self.data + descriptor

    def central(self, offset: int) -> bytes:
        """Give the record of the directory."""
        header = struct.pack(
            "<4sBBHHHHHIIIHHHHHII",
            *(b"PK\1\2", 20, self.system, 20, self.flags, self.method, 0, 33, *self.sums(local=False)),
            *(len(self.name), len(self.extra), 0, self.disk, 0, self.mode << 16),
            offset if self.offset is None else self.offset,
        )
        return header + self.name + self.extra


def zipped(
    files: Sequence[File], *, count: int | None = None, comment: bytes = b"", prefix: bytes = b""
) -> bytes:
    """Write an archive; `count` lies about the number of members."""
    body, directory = b"", b""
    for file in files:
        directory += file.central(len(body))
        body += file.local()
    number = len(files) if count is None else count
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, number, number, len(directory), len(body), len(comment))
    return prefix + body + directory + end + comment


def plain(**contents: bytes) -> bytes:
    """Write an archive with the standard library; keywords are names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return out.getvalue()


def members(path: Path, limits: Limits = LIMITS, encoding: str | None = None) -> list[Member]:
    """Give the members of an archive that passes preflight."""
    with ZipArchive(path, limits, encoding) as archive:
        found = list(archive.members())
        assert len(found) == archive.count
        return found


def outcomes(path: Path, limits: Limits = LIMITS, *, streamed: bool = False) -> dict[str, bytes | str]:
    """Read every member; give its bytes or the reason why not, by name. Raises `ArchiveError`."""
    found: dict[str, bytes | str] = {}
    every = members(path, limits)
    if not every:
        return found
    with MemberReader(path, path.stat().st_size) as reader:
        for member in every:
            try:
                if member.verdict:
                    raise MemberError(member.reason)
                read = (
                    b"".join(reader.stream(member, limits))
                    if streamed
                    else bytes(reader.read(member, limits))
                )
            except MemberError as error:
                found[member.name] = error.reason
            else:
                found[member.name] = read
    return found


def refused(path: Path, limits: Limits = LIMITS) -> str:
    """Give the reason for which an archive is refused whole, empty if it is not."""
    try:
        outcomes(path, limits)
    except ArchiveError as error:
        return error.reason
    return ""
