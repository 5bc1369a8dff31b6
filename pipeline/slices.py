"""Cutting an archive's members into slices, the unit of work of an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.archives import ZipArchive
from pipeline.batches import batched
from pipeline.records import Entry, Member, Recorded, Slice, Verdict

SHARES = 32
"""Slices that an archive with enough members makes at least, so that no worker is idle while another has many left."""
FEWEST, MOST = 16, 256
"""Members of a slice: what a slice costs by itself is to be little beside them."""
SLICE_BYTES = 4 << 20


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
    most = min(MOST, max(FEWEST, archive.members // SHARES))
    runs = batched(_pending(zip_, recorded), most, SLICE_BYTES, _cost)
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
