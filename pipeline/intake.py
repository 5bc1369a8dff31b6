"""From deliveries to archives open in the ledger: preflight, recognise, claim."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from pipeline.archives import ZipArchive, folder_name
from pipeline.brake import Brake
from pipeline.errors import ArchiveError
from pipeline.inbox import Delivery, being_written, changed
from pipeline.reasons import PAUSES
from pipeline.records import Archive, ArchiveResult, ArchiveVerdict, Entry, FileIdentity, State
from pipeline.settings import Settings
from pipeline.sinks.interface import Sink

ASKED = 1000
"""Files asked for in one round trip."""
CHUNK = 64
"""Archives opened in one round trip; each holds a file and a claim until it is sliced."""
SAMPLE = 64 << 10
JUST_NOW = 10.0
SETTLING = 1.0
"""Seconds that a file is watched; the time since it was discovered counts, so many cost no more than one."""
UNFINISHED = frozenset({"empty-file", "not-a-zip", "truncated", "structure"})


class Opened(NamedTuple):
    """An archive to work on: its ledger entry, and the zip itself, to be closed by whoever takes it."""

    entry: Entry
    zip: ZipArchive


@dataclass(slots=True)
class Intake:
    """Takes deliveries in; `deferred` collects copies of archives that are being worked on in this pass.

    `found` is called before the first archive is looked at that is not known.
    """

    sink: Sink
    settings: Settings
    free_bytes: Callable[[], int]
    brake: Brake
    found: Callable[[], None] = lambda: None
    deferred: list[Delivery] = field(default_factory=list)
    _digests: set[bytes] = field(default_factory=set)
    _news: bool = False

    def take(self, deliveries: Iterable[Delivery]) -> Iterator[Opened | ArchiveResult]:
        """Yield each delivery as an open archive, or as the result that it has without being opened."""
        source = iter(deliveries)
        while asked := list(islice(source, ASKED)):
            braked = self.brake.check()
            known = frozenset() if braked else self.sink.known([delivery.file for delivery in asked])
            waiting = iter(asked)
            while chunk := list(islice(waiting, CHUNK)):
                if self.brake.check():
                    yield from (refusal(delivery, ArchiveError(self.brake.reason)) for delivery in chunk)
                else:
                    yield from self._sift(chunk, known)

    def _sift(
        self, deliveries: Iterable[Delivery], known: Set[FileIdentity]
    ) -> Iterator[Opened | ArchiveResult]:
        checked: list[tuple[Delivery, Archive, ZipArchive]] = []
        for delivery in deliveries:
            if delivery.file in known:
                yield _known(delivery)
                continue
            if not self._news:
                self._news = True
                self.found()
            try:
                zip_ = preflight(delivery, self.settings)
            except ArchiveError as error:
                yield self._refuse(delivery, error)
                continue
            checked.append((delivery, describe(delivery, zip_), zip_))
        yield from self._open(checked)

    def _open(self, checked: list[tuple[Delivery, Archive, ZipArchive]]) -> Iterator[Opened | ArchiveResult]:
        while checked:
            fresh: list[tuple[Delivery, Archive, ZipArchive]] = []
            copies: list[tuple[Delivery, Archive, ZipArchive]] = []
            for item in checked:
                digest = item[1].digest
                (copies if digest in self._digests else fresh).append(item)
                self._digests.add(digest)
            entries = self.sink.open([archive for _, archive, _ in fresh]) if fresh else []
            for (delivery, archive, zip_), entry in zip(fresh, entries, strict=True):
                yield self._admit(delivery, archive, zip_, entry)
            # Copies of what is not worked on in this pass can be told at once.
            checked = [item for item in copies if item[1].digest not in self._digests]
            for delivery, archive, zip_ in copies:
                if archive.digest in self._digests:
                    zip_.close()
                    self.deferred.append(delivery)

    def _admit(
        self, delivery: Delivery, archive: Archive, zip_: ZipArchive, entry: Entry
    ) -> Opened | ArchiveResult:
        if entry.state in {State.DONE, State.BUSY}:
            self._digests.discard(archive.digest)
            zip_.close()
            if entry.state is State.DONE:
                return _known(delivery, "another delivery of it was processed")
            return ArchiveResult(archive.name, ArchiveVerdict.WAITING, "claimed", path=delivery.path)
        return Opened(entry, zip_)

    def _refuse(self, delivery: Delivery, error: ArchiveError) -> ArchiveResult:
        result = refusal(delivery, error)
        if result.verdict is not ArchiveVerdict.WAITING:
            self.sink.refuse(delivery.file, sample_digest(delivery), result)
        return result

    def enough_space(self, archive: Archive) -> bool:
        """Tell whether what the archive declares fits on the disk, with the reserve left over."""
        return archive.declared_bytes + self.settings.reserve <= self.free_bytes()


def preflight(delivery: Delivery, settings: Settings) -> ZipArchive:
    """Open an archive and judge it from its central directory alone; raises `ArchiveError`."""
    if delivery.partial or being_written(delivery.path):
        raise ArchiveError("still-written", "its name or an open writer says that it is not complete")
    try:
        zip_ = ZipArchive(delivery.path, settings.limits, settings.zip_encoding)
    except ArchiveError as error:
        if error.reason == "vanished" and not os.path.lexists(delivery.path):
            raise ArchiveError("gone") from error
        if error.reason in UNFINISHED and _still_growing(delivery, settings.settle or 0.0):
            raise ArchiveError("still-written", "it changed while it was looked at") from error
        raise
    if changed(delivery):
        zip_.close()
        raise ArchiveError("still-written", "it changed since it was found")
    return zip_


def describe(delivery: Delivery, zip_: ZipArchive) -> Archive:
    """Give the record of an archive that passed preflight."""
    folder = folder_name(delivery.file.name, zip_.digest)
    return Archive(delivery.path, delivery.file, zip_.digest, folder, zip_.count, zip_.declared_bytes)


def refusal(delivery: Delivery, error: ArchiveError) -> ArchiveResult:
    """Give the result of an archive that preflight refused."""
    verdict = {
        **dict.fromkeys(PAUSES, ArchiveVerdict.WAITING),
        "still-written": ArchiveVerdict.WAITING,
        "gone": ArchiveVerdict.WAITING,
        "vanished": ArchiveVerdict.FAILED,
        "unreadable": ArchiveVerdict.FAILED,
    }.get(error.reason, ArchiveVerdict.REJECTED)
    return ArchiveResult(delivery.file.name, verdict, error.reason, error.detail, path=delivery.path)


def _known(delivery: Delivery, detail: str = "") -> ArchiveResult:
    return ArchiveResult(delivery.file.name, ArchiveVerdict.KNOWN, "already-done", detail, path=delivery.path)


def _still_growing(delivery: Delivery, settle: float) -> bool:
    """Take a file that looks cut for unfinished while it is young, or if it changed; watch one written just now.

    A time in the future, from a clock that was set, counts by its distance.
    """
    age = abs(time.time() - delivery.file.mtime_ns / 1e9)
    if age < settle:
        return True
    if age <= JUST_NOW:
        time.sleep(max(0.0, delivery.seen + SETTLING - time.monotonic()))
    return changed(delivery)


def sample_digest(delivery: Delivery) -> bytes:
    """Identify a file that has no readable directory by its size, its beginning and its end."""
    digest = hashlib.sha256(b"refused" + delivery.file.size.to_bytes(8, "little"))
    try:
        descriptor = os.open(delivery.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        digest.update(delivery.file.name.encode())
        return digest.digest()
    try:
        digest.update(os.pread(descriptor, SAMPLE, 0))
        digest.update(os.pread(descriptor, SAMPLE, max(0, delivery.file.size - SAMPLE)))
    except OSError:
        digest.update(delivery.file.name.encode())
    finally:
        os.close(descriptor)
    return digest.digest()
