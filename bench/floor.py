"""The floor: the calls into C that the work cannot do without, in as many processes as there are cores.

Inflate, SHA-256, SHA-1, a decode that reads the whole entropy stream (or only the header), one file written
for each image; no database, no checks, no second name. `delivered` is decode as a client and a server do it, who do
not trust each other: all but inflating twice. `python -m bench.floor decode|header|delivered TARGET ARCHIVE...`
"""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence

import simplejpeg
from isal import isal_zlib

Place = tuple[str, int, int, int, int]
"""Name, offset of the local header, packed size, size, method."""


def places(archive: str) -> list[Place]:
    """List the members of an archive."""
    with zipfile.ZipFile(archive) as zip_:
        return [
            (info.filename, info.header_offset, info.compress_size, info.file_size, info.compress_type)
            for info in zip_.infolist()
        ]


def contents(archive: str, members: Sequence[Place]) -> Iterator[tuple[str, bytes | memoryview]]:
    """Yield names and bytes of members."""
    with (
        open(archive, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        for name, offset, packed, size, method in members:
            head = view[offset + 26 : offset + 30]
            begin = offset + 30 + int.from_bytes(head[:2], "little") + int.from_bytes(head[2:], "little")
            head.release()
            data = view[begin : begin + packed]
            if method:
                yield name, isal_zlib.decompressobj(-15).decompress(data, size + 1)
            else:
                yield name, data
            data.release()


def look(check: str, data: bytes | memoryview) -> None:
    """Hash and decode one image."""
    hashlib.sha256(data).digest()
    hashlib.sha1(data, usedforsecurity=False).digest()
    if check == "header":
        simplejpeg.decode_jpeg_header(data)
    else:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", min_height=1, min_width=1, min_factor=8)


def work(check: str, target: str, archives: Sequence[tuple[str, list[Place]]]) -> None:
    """Do the calls and nothing else."""
    made = set()
    for archive, members in archives:
        top = f"{target}/{os.path.basename(archive)}"
        for name, data in contents(archive, members):
            for copy in ("", "/served") if check == "delivered" else ("",):
                look(check, data)
                path = f"{top}{copy}/{name}"
                folder = os.path.dirname(path)
                if folder not in made:
                    os.makedirs(folder, exist_ok=True)
                    made.add(folder)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                os.write(descriptor, data)
                os.close(descriptor)


def main(check: str, target: str, archives: Sequence[str]) -> None:
    """Share the members out among one process a core, each a contiguous part, and wait for them."""
    cores = len(os.sched_getaffinity(0))
    listed = [(archive, places(archive)) for archive in archives]
    parts: list[list[tuple[str, list[Place]]]] = [[] for _ in range(cores)]
    if len(listed) >= cores * 10:
        for core in range(cores):
            parts[core] = listed[core::cores]
    else:
        for archive, members in listed:
            share = -(-len(members) // cores)
            for core in range(cores):
                parts[core].append((archive, members[core * share : (core + 1) * share]))
    children = []
    for part in parts:
        child = os.fork()
        if not child:
            work(check, target, part)
            os._exit(0)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit("a part of the floor failed")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
