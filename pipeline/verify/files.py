"""Looking at files without trusting them: hashing many at once, and walking folders in order."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pipeline.words import counted

CHUNK = 32
"""Files that one thread hashes in a row: enough to hide the hand-over of small ones."""
MISSING = "missing"
DAMAGED = "damaged"


class State(NamedTuple):
    """What a file turned out to be: `trouble` is empty for a whole one, else MISSING or DAMAGED with a detail."""

    trouble: str = ""
    detail: str = ""


class Wanted(NamedTuple):
    """A file that should be there, its SHA-256, and another name that it may share its bytes with."""

    path: str
    sha256: bytes
    twin: str = ""


def look(wanted: Wanted) -> State:
    """Tell whether a file has the content it should have; the same file as its checked twin is not read again."""
    try:
        status = os.lstat(wanted.path)
        if not stat.S_ISREG(status.st_mode):
            return State(DAMAGED, "it is not an ordinary file")
        if wanted.twin and _same_file(status, wanted.twin):
            return State()
        # Not followed: a link that was put there later must not lead elsewhere.
        descriptor = os.open(wanted.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except (FileNotFoundError, NotADirectoryError):
        return State(MISSING)
    except OSError as error:
        return State(DAMAGED, f"it cannot be read: {error.strerror}")
    if digest != wanted.sha256:
        return State(DAMAGED, f"it has {counted(status.st_size, 'byte')} with the SHA-256 {digest.hex()}")
    return State()


def _same_file(status: os.stat_result, other: str) -> bool:
    try:
        return os.path.samestat(status, os.lstat(other))
    except OSError:
        return False


class Hashers:
    """Looks at many files at once; a context manager that owns its threads, as hashing leaves the lock free."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers)

    def __enter__(self) -> Hashers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def look(self, wanted: Sequence[Wanted]) -> list[State]:
        """Give the state of each file, in order."""
        parts = [wanted[place : place + CHUNK] for place in range(0, len(wanted), CHUNK)]
        return [state for part in self._pool.map(_look_at_all, parts) for state in part]


def _look_at_all(wanted: Sequence[Wanted]) -> list[State]:
    return [look(item) for item in wanted]


def digest_of(path: str) -> bytes:
    """Give the SHA-256 of an ordinary file, or nothing when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return b""
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""


def names(folder: str) -> list[str]:
    """Give the names in a folder, folders with a slash at their end, in the order of bytes; none if it is not there.

    So sorted, a walk yields whole paths in the order of their bytes: "a-b" comes before what is in "a/".
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found, key=os.fsencode)


def walk(folder: str, prefix: str = "") -> Iterator[str]:
    """Yield the paths of everything but folders below a folder, relative to it, in the order of their bytes."""
    for name in names(f"{folder}/{prefix}"):
        if name.endswith("/"):
            yield from walk(folder, prefix + name)
        else:
            yield prefix + name
