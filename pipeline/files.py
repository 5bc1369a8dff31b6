"""What the store asks of a file system: writing, comparing, hashing, flushing; errors that say what to do."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from pipeline.errors import StoreError

COMPARE_CHUNK = 1 << 20
_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "this user may not write there",
}
_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES})


class explained:
    """Turns an operating system's error into a `StoreError` that says what to do; a context manager."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            advice = _ADVICE.get(error.errno or 0, os.strerror(error.errno or errno.EIO))
            # Of two names, the second is the one that people know.
            place = error.filename2 or error.filename or self._path
            raise StoreError(f"{place} cannot be written: {advice}.") from error


def write(path: str, data: bytes | memoryview) -> None:
    """Write a new file; raises `FileExistsError` rather than touch an old one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        _fill(descriptor, data)
    finally:
        os.close(descriptor)


def write_unnamed(data: bytes | memoryview, folder: str, names: Iterable[str]) -> bool:
    """Write a file that has no name until it is whole, then give it its names; False where that cannot be done.

    Saves a temporary name, which costs as much as one that stays. False also when a name is taken or a folder
    gone; names before that one are given then. `folder` is on the file system of all of them (open(2), O_TMPFILE).
    """
    try:
        descriptor = os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
    except OSError:
        return False
    try:
        _fill(descriptor, data)
        first, *others = names
        try:
            # Given a descriptor, which an absolute path makes no use of, the call follows the link in /proc.
            os.link(f"/proc/self/fd/{descriptor}", first, src_dir_fd=descriptor, follow_symlinks=True)
            for name in others:
                os.link(first, name, follow_symlinks=False)
        except OSError:
            return False
        return True
    finally:
        os.close(descriptor)


def _fill(descriptor: int, data: bytes | memoryview) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def link(source: str, target: str) -> bool:
    """Give a file another name; False where links are impossible, raises `FileExistsError` when the name is taken."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    return True


def same(path: str, data: bytes | memoryview) -> bool:
    """Tell whether a file has exactly this content."""
    try:
        descriptor = _open_to_read(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        if os.fstat(descriptor).st_size != len(data):
            return False
        for place in range(0, len(data), COMPARE_CHUNK):
            # Bytes are compared at once, a view item by item.
            if os.read(descriptor, COMPARE_CHUNK) != bytes(data[place : place + COMPARE_CHUNK]):
                return False
        return True
    finally:
        os.close(descriptor)


def _open_to_read(path: str, flags: int) -> int:
    """Open what may be no file: a pipe that somebody put there has no end, and nobody may ever write to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def parent(path: str) -> str:
    """Give the folder of an absolute path."""
    return path[: path.rfind("/")] or "/"


def digest(path: str) -> bytes:
    """Give the SHA-256 of a file; empty when there is none."""
    try:
        with open(path, "rb", buffering=0, opener=_open_to_read) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (FileNotFoundError, IsADirectoryError):
        return b""


def remove(path: str) -> None:
    """Remove a file if it is there."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def free_bytes(place: Path) -> int:
    """Give how many bytes may still be written below a folder, which need not be there yet.

    A file system that does not tell its size, as /proc or one in user space, says no with the first write if at all.
    """
    place = place.absolute()
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    return usage.free if usage.total else sys.maxsize


def settle(place: str, root: str) -> None:
    """Bring one file to the disk, with the folders from `root` on that lead to it."""
    while len(place) >= len(root):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        place = os.path.dirname(place)


def sync(root: str) -> None:
    """Flush the file system that holds a folder (syncfs(2)); all of them where that call is missing."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "syncfs"):
        os.sync()
        return
    descriptor = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "syncfs failed", root)
    finally:
        os.close(descriptor)
