"""Moving and removing delivered files: nothing is overwritten, and what changed meanwhile is left alone."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.records import FileIdentity

LEAVING = ".pipeline-leaving"
"""A folder beside a file that is being removed; what a killed run left in it belongs back where it was."""
AT_FDCWD, RENAME_NOREPLACE = -100, 1
_NO_SUCH_CALL = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM})


def identity(path: str | Path, name: str = "") -> FileIdentity:
    """Give what tells a file from another without reading it; raises `OSError` when there is none."""
    status = os.stat(path)
    return FileIdentity(name, status.st_size, status.st_mtime_ns, status.st_ino)


def move(source: Path, target: Path, expected: FileIdentity) -> Path | None:
    """Move a file to a name that is free, `target` or one like it; answers where it is now.

    Answers None, and leaves the file where it was, when it is not the `expected` one any more.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for place in _names(target):
        try:
            rename(source, place)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return _carry(source, target, expected)
        if _same(place, expected):
            return place
        _put_back(place, source)
        return None
    raise AssertionError("there is always another name")  # pragma: no cover


def remove(path: Path, expected: FileIdentity) -> bool:
    """Remove a file if it is still the `expected` one: it is set aside, looked at, and only then removed."""
    aside = path.parent / LEAVING
    aside.mkdir(exist_ok=True)
    try:
        for place in _names(aside / path.name):
            try:
                rename(path, place)
            except FileExistsError:
                continue
            if _same(place, expected):
                place.unlink()
                return True
            _put_back(place, path)
            return False
    finally:
        with contextlib.suppress(OSError):
            aside.rmdir()
    raise AssertionError("there is always another name")  # pragma: no cover


def put_back(root: Path) -> None:
    """Put back what a run that was killed while it removed files had set aside."""
    for folder, folders, _ in os.walk(root):
        if LEAVING in folders:
            folders.remove(LEAVING)
            aside = Path(folder, LEAVING)
            with contextlib.suppress(OSError):
                for entry in list(aside.iterdir()):
                    _put_back(entry, Path(folder, entry.name))
                aside.rmdir()


def rename(source: Path, target: Path) -> None:
    """Rename a file; raises `FileExistsError` rather than replace another (renameat2(2), RENAME_NOREPLACE)."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "renameat2"):
        names = os.fsencode(source), os.fsencode(target)
        if library.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in _NO_SUCH_CALL:
            raise OSError(number, os.strerror(number), str(source), None, str(target))
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    try:
        os.rename(source, target)
    except OSError:
        os.unlink(target)
        raise


def _carry(source: Path, target: Path, expected: FileIdentity) -> Path | None:
    """Move a file to another file system: a whole copy on the disk there, before the original goes."""
    copy = target.parent / f".pipeline-{os.getpid()}-{expected.inode}.part"
    try:
        shutil.copy2(source, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        if not _same(source, expected) or copy.stat().st_size != expected.size:
            return None
        for place in _names(target):
            with contextlib.suppress(FileExistsError):
                rename(copy, place)
                break
    finally:
        copy.unlink(missing_ok=True)
    _sync_folder(target.parent)
    if remove(source, expected):
        return place
    place.unlink()
    return None


def _same(path: Path, expected: FileIdentity) -> bool:
    try:
        return identity(path)[1:] == expected[1:]
    except OSError:
        return False


def _put_back(place: Path, home: Path) -> None:
    for name in _names(home):
        with contextlib.suppress(FileExistsError):
            rename(place, name)
            return


def _names(path: Path) -> Iterator[Path]:
    """Yield a path, and others like it for when it is taken: a.zip, a~1.zip, a~2.zip …"""
    yield path
    for number in itertools.count(1):
        yield path.with_name(f"{path.stem[:200]}~{number}{path.suffix[:40]}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
