"""The extracted tree and the content-addressed store: every image written once, whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import itertools
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.images.kinds import extension
from pipeline.records import Image
from pipeline.temporary import is_stale, is_temporary, temporary_name

COMPARE_CHUNK = 1 << 20
KEEPING_TRIES = 3
_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES})


def static_path(sha256: bytes, type_: str) -> str:
    """Give an image's place in the store, relative: ab/cd/<sha256>.<ext>."""
    digits = sha256.hex()
    return f"{digits[:2]}/{digits[2:4]}/{digits}.{extension(type_)}"


def local_url(sha256: bytes, type_: str) -> str:
    """Give the URL path under which the API serves an image."""
    return f"/static/{static_path(sha256, type_)}"


class Store:
    """Files below `extracted` and `static`; what a name shows is always whole, also after a kill.

    Without `static` there is the extracted tree alone: the store is the business of an API then. `quarantine` is
    flushed and swept along with them.

    Every method raises `StoreError` when files cannot be written or read.
    """

    def __init__(self, extracted: Path, static: Path | None, quarantine: Path | None = None) -> None:
        self._extracted = str(extracted.absolute())
        self._static = str(static.absolute()) if static else ""
        self._quarantine = str(quarantine.absolute()) if quarantine else ""
        self._made: set[str] = set()
        self._count = itertools.count(1)

    def publish(self, data: bytes | memoryview, image: Image, folder: str, path: str) -> None:
        """Write an image below the extracted tree and into the store, as one file where links are possible."""
        target, shelf = self._places(image.sha256, image.type, folder, path)
        with explained(target):
            self._make(os.path.dirname(target))
            if shelf and _same(shelf, data):
                self._link(shelf, target)
                return
            temporary = self._temporary(os.path.dirname(target))
            try:
                with open(temporary, "xb", buffering=0) as file:
                    _write(file.fileno(), data)
                if shelf:
                    self._shelve(temporary, shelf)
                os.replace(temporary, target)
            except BaseException:
                _remove(temporary)
                raise

    def publish_file(self, scratch: Path, image: Image, folder: str, path: str) -> None:
        """Publish a file that `scratch` gave; the file is used up."""
        target, shelf = self._places(image.sha256, image.type, folder, path)
        with explained(target):
            self._make(os.path.dirname(target))
            if shelf and _digest(shelf) == image.sha256:
                self._link(shelf, target)
                return
            if shelf:
                self._shelve(str(scratch), shelf)
            os.replace(scratch, target)

    def keep(self, scratch: Path, sha256: bytes, type_: str) -> None:
        """Take a whole file into the store; the scratch file stays the caller's."""
        shelf = f"{self._static}/{static_path(sha256, type_)}"
        with explained(shelf):
            for _ in range(KEEPING_TRIES):
                if _digest(shelf) == sha256:
                    return
                with contextlib.suppress(FileNotFoundError):
                    self._shelve(str(scratch), shelf)
                    return
                # Everything was deleted meanwhile, the folder that this was to go into with it.
                self._made.clear()
            self._shelve(str(scratch), shelf)

    def has(self, sha256: bytes, type_: str) -> bool:
        """Tell whether the store shows an image, without reading it."""
        return os.path.isfile(f"{self._static}/{static_path(sha256, type_)}")

    def settle(self, sha256: bytes, type_: str) -> None:
        """Bring one stored image to the disk, with the folders that lead to it."""
        place = f"{self._static}/{static_path(sha256, type_)}"
        with explained(place):
            while len(place) >= len(self._static):
                descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                place = os.path.dirname(place)

    def restore(self, sha256: bytes, type_: str, folder: str, path: str) -> bool:
        """Make sure that the extracted tree shows an image; False when its bytes are not there any more."""
        target, shelf = self._places(sha256, type_, folder, path)
        with explained(target):
            if _digest(shelf or target) != sha256:
                return False
            if shelf:
                self._make(os.path.dirname(target))
                self._link(shelf, target)
            return True

    def holds(self, sha256: bytes, type_: str) -> bool:
        """Tell whether the store has an image, with the content that its name says."""
        return _digest(f"{self._static}/{static_path(sha256, type_)}") == sha256

    def spare(self) -> Path:
        """Give the path for a temporary file on the store's file system; the caller removes it."""
        if self._static not in self._made:
            with explained(self._static):
                os.makedirs(self._static, exist_ok=True)
            self._made.add(self._static)
        return Path(self._temporary(self._static))

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give the path of a temporary file on the extracted tree's file system, removed afterwards."""
        with explained(self._extracted):
            os.makedirs(self._extracted, exist_ok=True)
            path = self._temporary(self._extracted)
            try:
                yield Path(path)
            finally:
                _remove(path)

    def flush(self) -> None:
        """Bring everything written so far to the disk, in bulk."""
        for root in self._roots():
            if os.path.isdir(root):
                with explained(root):
                    _sync(root)

    def free_bytes(self) -> int:
        """Give how many bytes may still be written below both roots."""
        return min(free_bytes(Path(root)) for root in self._roots())

    def sweep(self) -> bool:
        """Remove temporary files whose process is gone, or that are older than a day; answers whether others stay.

        A process that was killed just now may take a moment to go.
        """
        others = False
        for root in self._roots():
            for folder, _, files in os.walk(root):
                for path in (f"{folder}/{name}" for name in files if is_temporary(name)):
                    if is_stale(path):
                        _remove(path)
                    else:
                        others = True
        return others

    def _places(self, sha256: bytes, type_: str, folder: str, path: str) -> tuple[str, str]:
        shelf = f"{self._static}/{static_path(sha256, type_)}" if self._static else ""
        return f"{self._extracted}/{folder}/{path}", shelf

    def _roots(self) -> list[str]:
        return [root for root in (self._extracted, self._static, self._quarantine) if root]

    def _temporary(self, folder: str) -> str:
        return f"{folder}/{temporary_name(f'{id(self):x}-{next(self._count)}')}"

    def _make(self, folder: str) -> None:
        """Make a folder below a root, refusing to walk through a symbolic link that was planted there."""
        if folder in self._made:
            return
        root = self._extracted if folder.startswith(self._extracted + "/") else self._static
        place = root
        os.makedirs(root, exist_ok=True)
        for part in folder[len(root) :].split("/"):
            if not part:
                continue
            place = f"{place}/{part}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(place)
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                raise StoreError(f"{place} is in the way: it is not a folder. Move it and run again.")
        self._made.add(folder)

    def _shelve(self, temporary: str, shelf: str) -> None:
        """Give a whole file its place in the store, over a torn one if there is one."""
        self._make(os.path.dirname(shelf))
        with contextlib.suppress(FileExistsError):
            if self._try_link(temporary, shelf):
                return
            self._copy(temporary, shelf)
            return
        if os.path.samefile(temporary, shelf):
            return
        again = self._temporary(os.path.dirname(shelf))
        try:
            if not self._try_link(temporary, again):
                self._copy(temporary, again)
            os.replace(again, shelf)
        finally:
            _remove(again)

    def _link(self, shelf: str, target: str) -> None:
        try:
            if self._try_link(shelf, target):
                return
        except FileExistsError:
            if os.path.samefile(shelf, target):
                return
        temporary = self._temporary(os.path.dirname(target))
        try:
            if not self._try_link(shelf, temporary):
                self._copy(shelf, temporary)
            os.replace(temporary, target)
        finally:
            _remove(temporary)

    @staticmethod
    def _try_link(source: str, target: str) -> bool:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise
        return True

    def _copy(self, source: str, target: str) -> None:
        temporary = self._temporary(os.path.dirname(target))
        try:
            shutil.copyfile(source, temporary)
            os.replace(temporary, target)
        except BaseException:
            _remove(temporary)
            raise


def free_bytes(place: Path) -> int:
    """Give how many bytes may still be written below a folder, which need not be there yet."""
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn an operating system's error into a `StoreError` that says what to do."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "the disk is full; free some space and run again",
            errno.EDQUOT: "the disk quota is used up; free some space and run again",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "this user may not write there",
        }.get(error.errno or 0, os.strerror(error.errno or errno.EIO))
        raise StoreError(f"{error.filename or path} cannot be written: {advice}.") from error


def _write(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _same(path: str, data: bytes | memoryview) -> bool:
    """Tell whether a file has exactly this content."""
    try:
        with open(path, "rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != len(data):
                return False
            view = memoryview(data)
            for place in range(0, len(view), COMPARE_CHUNK):
                if file.read(COMPARE_CHUNK) != view[place : place + COMPARE_CHUNK]:
                    return False
            return True
    except FileNotFoundError:
        return False


def _digest(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (FileNotFoundError, IsADirectoryError):
        return b""


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _sync(root: str) -> None:
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
