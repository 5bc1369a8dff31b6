"""The values that flow through the pipeline; words as in the design's glossary."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


def clean(text: str) -> str:
    """Give a text that Postgres and JSON take: what a decoder says of hostile bytes may hold NUL or lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


class Verdict(StrEnum):
    """How one member of an archive ends."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    IGNORED = "ignored"
    FAILED = "failed"


class ArchiveVerdict(StrEnum):
    """How one archive ends in one run."""

    DONE = "done"
    KNOWN = "known"
    REJECTED = "rejected"
    FAILED = "failed"
    WAITING = "waiting"


class FileIdentity(NamedTuple):
    """What tells one delivered file from another without reading it."""

    name: str
    size: int
    mtime_ns: int
    inode: int


class Recorded(NamedTuple):
    """One member that the ledger has already: its image's SHA-256 and type, or its verdict and reason."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    sha256: bytes
    type: str
    verdict: Verdict
    reason: str


class Member(NamedTuple):
    """One file entry of an archive, as its central directory has it; a tuple because it crosses processes.

    `index` counts every entry of the directory, folders included. `name` is the original name, decoded,
    without NUL or lone surrogates. `path` is the safe relative POSIX path below the archive's folder.
    `offset` is where the local header starts in the file, `raw` the name's bytes there, `end` where what belongs to
    another member or to the directory begins. `reason` is set when the directory alone refuses the member,
    `recorded` when an interrupted run got as far as an image for it.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index
    name: str
    path: str
    method: int
    flags: int
    crc: int
    compressed_size: int
    size: int
    offset: int
    raw: bytes
    verdict: Verdict | None = None
    reason: str = ""
    detail: str = ""
    recorded: Recorded | None = None
    end: int = sys.maxsize


@dataclass(frozen=True, slots=True)
class Archive:
    """One zip that passed preflight: who it is, and how many file members it has."""

    path: Path
    file: FileIdentity
    digest: bytes
    folder: str
    members: int
    declared_bytes: int = 0

    @property
    def name(self) -> str:
        """The name people know it by: its path below the input folder."""
        return self.file.name


class Image(NamedTuple):
    """What inspection says of an image's bytes.

    `width` and `height` are in pixels as stored, before EXIF `orientation` (1 to 8). `captured_at` is naive,
    as the camera wrote it; `captured_offset` is its UTC offset such as "+02:00" where the file has one.
    `dhash` is a 64-bit difference hash, as a signed integer.
    """

    sha256: bytes
    sha1: bytes
    type: str
    width: int
    height: int
    byte_size: int
    mode: str
    frames: int
    orientation: int | None
    captured_at: datetime | None
    captured_offset: str | None
    dhash: int | None
    remarks: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What became of one member in a worker: an `image`, or a verdict with its reason.

    With neither, the ledger already has it and its file is as recorded.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index
    name: str
    image: Image | None = None
    verdict: Verdict | None = None
    reason: str = ""
    detail: str = ""


class State(StrEnum):
    """Where the ledger has an archive."""

    NEW = "new"
    RUNNING = "running"
    DONE = "done"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Entry:
    """The ledger's answer to opening an archive.

    `folder` is where its images go below the extracted tree, fixed at the first sight of the archive.
    """

    id: int
    archive: Archive
    state: State
    folder: str


class Slice(NamedTuple):
    """A run of members of one archive, the unit of work of an engine; small, because it crosses processes.

    `last` marks the slice that completes its archive. `size` is the archive's size in bytes at preflight.
    """

    archive_id: int
    path: str
    size: int
    folder: str
    members: tuple[Member, ...]
    last: bool = False
    archive: str = ""
    digest: bytes = b""


class Record(NamedTuple):
    """One outcome on its way to the sink: the ledger id of its archive, and its file below the extracted tree."""

    archive_id: int
    outcome: Outcome
    file: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """How the members of one or more archives ended; it closes when the verdicts sum to `members`."""

    members: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    ignored: int = 0
    failed: int = 0

    @property
    def closed(self) -> bool:
        """Whether every member has its verdict."""
        return self.members == self.stored + self.duplicate + self.rejected + self.ignored + self.failed

    def __add__(self, other: Balance) -> Balance:
        return Balance(
            self.members + other.members,
            self.stored + other.stored,
            self.duplicate + other.duplicate,
            self.rejected + other.rejected,
            self.ignored + other.ignored,
            self.failed + other.failed,
        )


class Candidate(NamedTuple):
    """One archive with refusals that may not hold any more; `members` counts them, none for one refused whole."""

    id: int
    name: str
    digest: bytes
    size: int
    members: int


class Closing(NamedTuple):
    """How closing an archive went: the ledger's balance, and where what was acknowledged differs from it."""

    balance: Balance
    differs: str = ""


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """One line of a run's report: an archive's name, its verdict and its balance, and where its file is."""

    name: str
    verdict: ArchiveVerdict
    reason: str = ""
    detail: str = ""
    balance: Balance = field(default_factory=Balance)
    path: Path | None = None
