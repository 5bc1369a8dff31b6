"""What an inspection worker does: inspect and keep files, make thumbnails. Imports no web framework."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.thumbnails import make
from pipeline import isolation
from pipeline.errors import ImageError
from pipeline.images import extension_remark, inspect_file
from pipeline.notes import Notes
from pipeline.records import Image
from pipeline.settings import Limits
from pipeline.store import Store


class Upload(NamedTuple):
    """A scratch file to be taken: the SHA-256 that its sender claims, and its name, where it has them."""

    path: Path
    sha256: bytes | None = None
    name: str = ""


class Sketch(NamedTuple):
    """A thumbnail to be made: of which stored file, where, and how to turn it (EXIF's orientation)."""

    source: Path
    target: Path
    orientation: int | None = None


Job = Upload | Sketch
Answer = Image | ImageError | None


@dataclass(frozen=True, slots=True)
class Desk:
    """What a worker is told once."""

    static: Path
    limits: Limits


_desk: tuple[Desk, Notes, Store] | None = None


def sit_down(desk: Desk, notes: Notes) -> None:
    """Prepare a fresh worker process."""
    global _desk  # noqa: PLW0603 - a worker process serves one pool and has nowhere else to keep this
    isolation.confine(desk.limits.worker_memory)
    _desk = desk, notes, Store(desk.static, desk.static)


def work(jobs: Sequence[Job], slot: int) -> list[Answer]:
    """Do a group of jobs in order, noting the position of each before it is touched."""
    if _desk is None:
        raise RuntimeError("this worker was not set up")
    desk, notes, store = _desk
    answers: list[Answer] = []
    try:
        for position, job in enumerate(jobs):
            notes.write(slot, position)
            isolation.allow(desk.limits.timeout)
            answers.append(_do(job, desk.limits, store))
    finally:
        isolation.allow(0)
    return answers


def _do(job: Job, limits: Limits, store: Store) -> Answer:
    try:
        if isinstance(job, Upload):
            return take(job, limits, store)
        make(job.source, job.target, job.orientation)
    except ImageError as refusal:
        # Without its traceback, which would keep the decoder's memory.
        return ImageError(refusal.reason, refusal.detail)
    return None


def take(upload: Upload, limits: Limits, store: Store) -> Image:
    """Inspect a file and keep it in the store; the scratch file stays. Raises `ImageError`."""
    sha256, sha1, size = _digests(upload.path)
    if upload.sha256 is not None and sha256 != upload.sha256:
        raise ImageError("digest-mismatch", f"its SHA-256 is {sha256.hex()}")
    image = inspect_file(upload.path, limits, "decode", sha256=sha256, sha1=sha1, size=size)
    if remark := extension_remark(upload.name, image.type):
        image = image._replace(remarks=(*image.remarks, remark))
    store.keep(upload.path, image.sha256, image.type)
    return image


def _digests(path: Path) -> tuple[bytes, bytes, int]:
    with path.open("rb") as file:
        if not file.seek(0, 2):
            raise ImageError("empty-file", "it has no bytes")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
            return hashlib.sha256(data).digest(), sha1, len(data)
