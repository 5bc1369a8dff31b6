"""The extracted tree and the content-addressed store: every image written once, whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pipeline import files
from pipeline.errors import StoreError
from pipeline.images.kinds import extension
from pipeline.records import Image
from pipeline.temporary import is_stale, temporary_name

Answer = TypeVar("Answer")

WORKSHOP = ".pipeline-work"
"""The folder below each root where files are written before they get their names."""
REMEMBERED = 100_000
TRIES = 3
UNNAMED = hasattr(os, "O_TMPFILE")
"""Whether this system knows files without a name (Linux)."""


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
        self._mark = 0, "", ""
        self._news = True

    def publish(self, data: bytes | memoryview, image: Image, folder: str, path: str) -> None:
        """Write an image below the extracted tree and into the store, as one file where links are possible."""
        target, shelf = self._places(image.sha256, image.type, folder, path)
        with files.explained(target):
            self._folders_made(lambda: self._publish(data, target, shelf))

    def _publish(self, data: bytes | memoryview, target: str, shelf: str) -> None:
        folder = files.parent(target)
        self._make(folder)
        if not shelf:
            if UNNAMED and files.write_unnamed(data, folder, (target,)):
                return
        elif self._on_shelf(data, folder, target, shelf):
            return
        temporary = self._temporary(target)
        try:
            files.write(temporary, data)
            if shelf:
                self._shelve(temporary, shelf)
            os.replace(temporary, target)
        except BaseException:
            files.remove(temporary)
            raise

    def _on_shelf(self, data: bytes | memoryview, folder: str, target: str, shelf: str) -> bool:
        """Publish what the store has already, or can be given at once; False where that takes a temporary name.

        New images mostly follow new ones: the store is not asked first then, it tells by refusing the name.
        """
        if self._news or not files.same(shelf, data):
            self._make(files.parent(shelf))
            self._news = UNNAMED and files.write_unnamed(data, folder, (shelf, target))
            if self._news:
                return True
            if not files.same(shelf, data):
                return False
        self._link(shelf, target)
        return True

    def publish_file(self, scratch: Path, image: Image, folder: str, path: str) -> None:
        """Publish a file that `scratch` gave; the file is used up."""
        target, shelf = self._places(image.sha256, image.type, folder, path)
        with files.explained(target):
            self._folders_made(lambda: self._publish_file(scratch, image.sha256, target, shelf))

    def _publish_file(self, scratch: Path, sha256: bytes, target: str, shelf: str) -> None:
        self._make(files.parent(target))
        if shelf and files.digest(shelf) == sha256:
            self._link(shelf, target)
        else:
            if shelf:
                self._shelve(str(scratch), shelf)
            os.replace(scratch, target)

    def keep(self, scratch: Path, sha256: bytes, type_: str) -> None:
        """Take a whole file into the store; the scratch file stays the caller's."""
        shelf = f"{self._static}/{static_path(sha256, type_)}"
        with files.explained(shelf):
            self._folders_made(lambda: self._keep(str(scratch), sha256, shelf))

    def _keep(self, scratch: str, sha256: bytes, shelf: str) -> None:
        if files.digest(shelf) != sha256:
            self._shelve(scratch, shelf)

    def has(self, sha256: bytes, type_: str) -> bool:
        """Tell whether the store shows an image, without reading it."""
        return os.path.isfile(f"{self._static}/{static_path(sha256, type_)}")

    def settle(self, sha256: bytes, type_: str) -> bool:
        """Bring one stored image to the disk, with the folders that lead to it; False when it is not there any more."""
        place = f"{self._static}/{static_path(sha256, type_)}"
        with files.explained(place):
            try:
                files.settle(place, self._static)
            except FileNotFoundError:
                return False
        return True

    def restore(self, sha256: bytes, type_: str, folder: str, path: str) -> bool:
        """Make sure that the extracted tree shows an image; False when its bytes are not there any more."""
        target, shelf = self._places(sha256, type_, folder, path)
        with files.explained(target):
            if files.digest(shelf or target) != sha256:
                return False
            if shelf:
                self._folders_made(lambda: self._link(shelf, target))
            return True

    def holds(self, sha256: bytes, type_: str) -> bool:
        """Tell whether the store has an image, with the content that its name says."""
        return files.digest(f"{self._static}/{static_path(sha256, type_)}") == sha256

    def spare(self) -> Path:
        """Give the path for a temporary file on the store's file system; the caller removes it."""
        with files.explained(self._static):
            path = self._temporary(self._static)
            os.makedirs(files.parent(path), exist_ok=True)
            return Path(path)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give the path of a temporary file on the extracted tree's file system, removed afterwards."""
        with files.explained(self._extracted):
            path = self._temporary(self._extracted)
            os.makedirs(files.parent(path), exist_ok=True)
            try:
                yield Path(path)
            finally:
                files.remove(path)

    def flush(self) -> None:
        """Bring everything written so far to the disk, in bulk."""
        for root in self._roots():
            if os.path.isdir(root):
                with files.explained(root):
                    files.sync(root)

    def free_bytes(self) -> int:
        """Give how many bytes may still be written below both roots."""
        return min(files.free_bytes(Path(root)) for root in self._roots())

    def sweep(self) -> None:
        """Remove temporary files that belong to nobody any more."""
        for root in self._roots():
            workshop = f"{root}/{WORKSHOP}"
            with contextlib.suppress(OSError):
                for name in os.listdir(workshop):
                    if is_stale(f"{workshop}/{name}"):
                        shutil.rmtree(f"{workshop}/{name}", ignore_errors=True)
                os.rmdir(workshop)

    def _places(self, sha256: bytes, type_: str, folder: str, path: str) -> tuple[str, str]:
        shelf = f"{self._static}/{static_path(sha256, type_)}" if self._static else ""
        return f"{self._extracted}/{folder}/{path}", shelf

    def _roots(self) -> list[str]:
        return [root for root in (self._extracted, self._static, self._quarantine) if root]

    def _root(self, path: str) -> str:
        return self._extracted if f"{path}/".startswith(self._extracted + "/") else self._static

    def _temporary(self, path: str) -> str:
        """Give a name for a file that is to be renamed to `path`: in a folder that no other process writes to."""
        if self._mark[0] != os.getpid():
            self._mark = os.getpid(), temporary_name("work"), temporary_name(f"{id(self):x}")
        _, folder, name = self._mark
        folder = f"{self._root(path)}/{WORKSHOP}/{folder}"
        self._make(folder)
        return f"{folder}/{name}-{next(self._count)}"

    def _make(self, folder: str) -> None:
        """Make a folder below a root, refusing to walk through a symbolic link that was planted there."""
        if folder in self._made:
            return
        if folder == self._root(folder):
            os.makedirs(folder, exist_ok=True)
        else:
            self._make(files.parent(folder))
            try:
                os.mkdir(folder)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(folder).st_mode):
                    message = f"{folder} is in the way: it is not a folder. Move it and run again."
                    raise StoreError(message) from None
        if len(self._made) >= REMEMBERED:
            self._made.clear()
        self._made.add(folder)

    def _folders_made(self, work: Callable[[], Answer]) -> Answer:
        """Do work, again when folders that were there are gone: everything may be deleted beside us."""
        for _ in range(TRIES):
            try:
                return work()
            except FileNotFoundError:
                self._made.clear()
        return work()

    def _shelve(self, temporary: str, shelf: str) -> None:
        """Give a whole file its place in the store, over a torn one if there is one."""
        self._make(files.parent(shelf))
        with contextlib.suppress(FileExistsError):
            if not files.link(temporary, shelf):
                self._copy(temporary, shelf)
            return
        if os.path.samefile(temporary, shelf):
            return
        again = self._temporary(shelf)
        try:
            if not files.link(temporary, again):
                self._copy(temporary, again)
            os.replace(again, shelf)
        finally:
            files.remove(again)

    def _link(self, shelf: str, target: str) -> None:
        self._make(files.parent(target))
        try:
            if files.link(shelf, target):
                return
        except FileExistsError:
            if os.path.samefile(shelf, target):
                return
        temporary = self._temporary(target)
        try:
            if not files.link(shelf, temporary):
                self._copy(shelf, temporary)
            os.replace(temporary, target)
        finally:
            files.remove(temporary)

    def _copy(self, source: str, target: str) -> None:
        temporary = self._temporary(target)
        try:
            shutil.copyfile(source, temporary)
            os.replace(temporary, target)
        finally:
            files.remove(temporary)
