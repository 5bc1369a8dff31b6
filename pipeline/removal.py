"""Removing files: of one image, or of all; only what the catalog's rows named, never through a symbolic link."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.files import explained
from pipeline.store import static_path
from pipeline.temporary import is_stale, is_temporary, temporary_name

ASIDE = "deleted-"
THUMBNAILS = ".thumbnails"
_SHELF = re.compile(r"[0-9a-f]{2}")
_FOLDER = re.compile(r"[^/\0]*-[0-9a-f]{12}")
"""An archive's folder, as intake names it; anything else in the ledger is not believed."""


def thumbnail_path(sha256: bytes) -> str:
    """Give the place of an image's thumbnail, relative to the store."""
    digits = sha256.hex()
    return f"{THUMBNAILS}/{digits[:2]}/{digits[2:4]}/{digits}.webp"


def remove_image(static: Path, extracted: Path, image: tuple[bytes, str], folders: Iterable[str]) -> int:
    """Remove an image's file, its thumbnail, and its files in archives' folders; answers how many files there were.

    `image` is its SHA-256 and its type. The thumbnail goes last: who makes one looks for the file afterwards.
    Raises `StoreError`.
    """
    sha256, type_ = image
    shelf = static / static_path(sha256, type_)
    with explained(str(shelf)):
        copies = list(_copies(shelf, extracted, folders))
        for path in (*copies, shelf, static / thumbnail_path(sha256)):
            path.unlink(missing_ok=True)
    return len(copies)


def _copies(shelf: Path, extracted: Path, folders: Iterable[str]) -> Iterator[Path]:
    """Yield the extracted files that are a stored one: by hard link, or by content where links are impossible."""
    try:
        stored = shelf.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    for folder in folders:
        if not _FOLDER.fullmatch(folder):
            continue
        for root, _, names in os.walk(extracted / folder):
            yield from (
                path
                for path in (Path(root, name) for name in names if not is_temporary(name))
                if _is_copy(path, shelf, stored)
            )


def _is_copy(path: Path, shelf: Path, stored: os.stat_result) -> bool:
    """Tell whether a file, which a run may be moving at this moment, is a stored one."""
    try:
        found = path.lstat()
        if (found.st_dev, found.st_ino) == (stored.st_dev, stored.st_ino):
            return True
        return (
            stat.S_ISREG(found.st_mode)
            and found.st_size == stored.st_size
            and _digest(path) == _digest(shelf)
        )
    except FileNotFoundError:
        return False


def set_aside(static: Path, extracted: Path, folders: Iterable[str]) -> list[Path]:
    """Take every stored file and the archives' folders out of sight at once; answers what to `discard`."""
    shelves = [static / name for name in _names(static) if _SHELF.fullmatch(name)]
    trees = {
        static: [*shelves, static / THUMBNAILS],
        extracted: [extracted / folder for folder in set(folders) if _FOLDER.fullmatch(folder)],
    }
    aside = []
    for root, victims in trees.items():
        with explained(str(root)):
            place = root / temporary_name(f"{ASIDE}{os.urandom(6).hex()}")
            for victim in victims:
                if victim.is_symlink() or not victim.is_dir():
                    continue
                place.mkdir(exist_ok=True)
                victim.rename(place / victim.name)
            if place.exists():
                aside.append(place)
    return aside


def discard(aside: Iterable[Path]) -> None:
    """Remove what was set aside."""
    for place in aside:
        with explained(str(place)):
            shutil.rmtree(place)


def sweep(static: Path, extracted: Path) -> None:
    """Remove what programs that were killed had set aside, or left of a thumbnail."""
    for root in (static, extracted):
        for name in _names(root):
            if is_temporary(name) and f"-{ASIDE}" in name and is_stale(f"{root}/{name}"):
                shutil.rmtree(root / name, ignore_errors=True)
    for folder, _, names in os.walk(static / THUMBNAILS):
        for name in names:
            if is_temporary(name) and is_stale(f"{folder}/{name}"):
                Path(folder, name).unlink(missing_ok=True)


def _names(root: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(os.listdir(root))
    return []


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
