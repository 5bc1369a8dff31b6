"""Finding the bytes of an image again: in the extracted tree, or in the archive it came from."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.archives import MemberReader, ZipArchive
from pipeline.catalog.inventory import Origin
from pipeline.errors import ArchiveError, MemberError, StoreError
from pipeline.inbox import Delivery, being_written, discover
from pipeline.records import Member
from pipeline.settings import UNLIMITED
from pipeline.store import Store
from pipeline.verify.files import digest_of


class Archives:
    """Archives that may still be there, found by the digest of their directory; looked for on first use."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = places
        self._by_size: dict[int, list[Path]] | None = None

    def open(self, digest: bytes, size: int) -> tuple[Path, ZipArchive] | None:
        """Open the archive with this digest and size, wherever it lies now; None when it is nowhere."""
        if self._by_size is None:
            by_size: dict[int, list[Path]] = defaultdict(list)
            for delivery in _deliveries(self._places):
                by_size[delivery.file.size].append(delivery.path)
            self._by_size = by_size
        for path in self._by_size.get(size, ()):
            if being_written(path):
                continue
            try:
                zip_ = ZipArchive(path, UNLIMITED)
            except ArchiveError:
                continue
            if zip_.digest == digest:
                return path, zip_
            zip_.close()
        return None


def _deliveries(places: Sequence[Path]) -> Iterator[Delivery]:
    for place in places:
        try:
            if place.exists():
                yield from discover([place], place)
        except OSError as error:
            raise StoreError(f"{error.filename} cannot be read: {error.strerror}.") from error


class Rescue:
    """Puts images back into the store from whatever copy is left."""

    def __init__(self, store: Store, extracted: str, archives: Archives) -> None:
        self._store = store
        self._extracted = extracted
        self._archives = archives

    def restore(self, types: dict[bytes, str], origins: Sequence[Origin]) -> dict[bytes, str]:
        """Restore images, given by SHA-256 and type; says of each that is back where it was found.

        Raises `StoreError` when the store cannot be written.
        """
        found: dict[bytes, str] = {}
        for origin in origins:
            if origin.sha256 not in found and origin.path is not None:
                place = f"{self._extracted}/{origin.folder}/{origin.path}"
                if digest_of(place) == origin.sha256:
                    self._store.keep(Path(place), origin.sha256, types[origin.sha256])
                    found[origin.sha256] = place
        by_archive: dict[tuple[bytes, int], list[Origin]] = defaultdict(list)
        for origin in origins:
            if origin.sha256 not in found:
                by_archive[origin.digest, origin.size].append(origin)
        for (digest, size), members in by_archive.items():
            missing = [origin for origin in members if origin.sha256 not in found]
            if missing and (opened := self._archives.open(digest, size)):
                path, zip_ = opened
                with zip_:
                    found |= self._extract(path, zip_, missing, types)
        return found

    def _extract(
        self, path: Path, zip_: ZipArchive, origins: Sequence[Origin], types: dict[bytes, str]
    ) -> dict[bytes, str]:
        wanted = {origin.member_index: origin for origin in origins}
        found = {}
        try:
            with MemberReader(path, zip_.size) as reader:
                for member in zip_.members():
                    origin = wanted.get(member.index)
                    if origin is None or origin.sha256 in found:
                        continue
                    if self._take(reader, member, origin, types[origin.sha256]):
                        found[origin.sha256] = f"{path}: {member.name}"
        except ArchiveError:
            # It changed while it was read; what was taken is right all the same.
            return found
        return found

    def _take(self, reader: MemberReader, member: Member, origin: Origin, type_: str) -> bool:
        limits = replace(UNLIMITED, max_member_bytes=max(1, origin.byte_size))
        digest = hashlib.sha256()
        with self._store.scratch() as scratch:
            try:
                with scratch.open("wb") as file:
                    for piece in reader.stream(member, limits):
                        digest.update(piece)
                        file.write(piece)
            except MemberError:
                return False
            if digest.digest() != origin.sha256:
                return False
            self._store.keep(scratch, origin.sha256, type_)
        return True
