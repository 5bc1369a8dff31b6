"""Cutting an archive's members into slices, the unit of work of an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.archives import ZipArchive
from pipeline.batches import batched
from pipeline.records import Entry, Member, Recorded, Slice, Verdict

SLICE_MEMBERS = 64
SLICE_BYTES = 16 << 20


def slices(entry: Entry, zip_: ZipArchive, recorded: Iterable[Recorded]) -> Iterator[Slice]:
    """Yield the slices of the members that are still to be worked, the last one marked; at least one.

    `recorded`, by ascending index, tells what an interrupted run got done: verdicts other than images are
    left out, images go along so that the worker checks their files.
    """
    archive = entry.archive
    empty = Slice(
        entry.id,
        str(archive.path),
        archive.file.size,
        entry.folder,
        (),
        archive=archive.name,
        digest=archive.digest,
    )
    waiting = empty
    runs = batched(_pending(zip_, recorded), SLICE_MEMBERS, SLICE_BYTES, _cost)
    for run in runs:
        if waiting.members:
            yield waiting
        waiting = empty._replace(members=tuple(run))
    yield waiting._replace(last=True)


def _cost(member: Member) -> int:
    return 0 if member.verdict else member.size


def _pending(zip_: ZipArchive, recorded: Iterable[Recorded]) -> Iterator[Member]:
    done = iter(recorded)
    ahead = next(done, None)
    for member in zip_.members():
        while ahead is not None and ahead.index < member.index:
            ahead = next(done, None)
        if ahead is None or ahead.index != member.index or ahead.verdict is Verdict.FAILED:
            yield member
        elif ahead.sha256:
            yield member._replace(recorded=ahead)
