"""Which archives have been delivered, and which of them are still on their way."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.records import FileIdentity

ARCHIVE_SUFFIXES = (".zip", ".cbz")
PARTIAL_SUFFIXES = (".part", ".partial", ".tmp", ".crdownload", ".filepart", ".download")
SET_ASIDE = frozenset({"processed", "failed"})


@dataclass(frozen=True, slots=True)
class Delivery:
    """One file that claims to be an archive, found below `root`; `partial` while its name says unfinished.

    `seen` is when it looked so, by the monotonic clock.
    """

    path: Path
    file: FileIdentity
    root: Path
    partial: bool = False
    seen: float = field(default_factory=time.monotonic, compare=False)


def discover(paths: Sequence[Path], root: Path) -> Iterator[Delivery]:
    """Yield the archives among `paths`, folders searched in order of names; hidden files are passed over.

    Raises `OSError` when a folder that is asked for cannot be read.
    """
    for path in paths or [root]:
        if path.is_dir():
            yield from _search(path, path)
        else:
            yield _delivery(path, root)


def _search(folder: Path, root: Path, prefix: str = "") -> Iterator[Delivery]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        if folder == root:
            raise
        # It gets the verdict of a file that cannot be read, so that nobody takes it for empty.
        yield _delivery(folder, root)
        return
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if not (folder == root and entry.name in SET_ASIDE):
                yield from _search(Path(entry.path), root, f"{prefix}{entry.name}/")
        elif _claims_to_be_archive(entry):
            yield _delivery(entry.path, root, prefix + entry.name)


def _claims_to_be_archive(entry: os.DirEntry[str]) -> bool:
    name = entry.name.lower()
    if name.endswith(PARTIAL_SUFFIXES):
        return Path(name).stem.endswith(ARCHIVE_SUFFIXES)
    if name.endswith(ARCHIVE_SUFFIXES):
        return True
    try:
        if not entry.is_file():
            return False
        with Path(entry.path).open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def _delivery(path: Path | str, root: Path, relative: str = "") -> Delivery:
    """Describe a delivered file; `relative` is its path below the root where that is known."""
    if not relative:
        try:
            relative = Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix()
        except ValueError:
            relative = os.path.basename(path)
    name = relative if relative.isascii() else os.fsencode(relative).decode("utf-8", "backslashreplace")
    try:
        status = os.stat(path)
        file = FileIdentity(name, status.st_size, status.st_mtime_ns, status.st_ino)
    except OSError:
        file = FileIdentity(name, 0, 0, 0)
    return Delivery(Path(path), file, root, partial=relative.lower().endswith(PARTIAL_SUFFIXES))


def being_written(path: Path) -> bool:
    """Tell whether another process has the file open for writing.

    Linux refuses a read lease on such a file (fcntl(2), F_SETLEASE). Elsewhere, and where the file system
    has no leases, the answer is no.
    """
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def changed(delivery: Delivery) -> bool:
    """Tell whether the file is no longer the one that was discovered."""
    return _delivery(delivery.path, delivery.path.parent).file[1:] != delivery.file[1:]
