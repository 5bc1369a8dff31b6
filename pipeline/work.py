"""What one worker does with one slice: read, check, inspect, publish."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.archives import MemberReader, is_archive
from pipeline.errors import ImageError, MemberError
from pipeline.images import extension_remark, inspect, inspect_file
from pipeline.quarantine import Quarantine
from pipeline.records import Image, Member, Outcome, Slice, Verdict
from pipeline.store import Store
from pipeline.workbench import Workbench

HEAD = 512
"""Bytes enough to tell an archive by its magic; tar has its own at 257."""
GROUP = 64
GROUP_BYTES = 1 << 20
"""Members that are looked at before any of them is published: as many as a core's caches hold.

Taking turns with each image costs half as much again for tiny ones: the kernel's part in making files and the decoders
throw each other's code out of the core's caches.
"""


def work(
    slice_: Slice, bench: Workbench, store: Store, mark: Callable[[int], None] = lambda _: None
) -> list[Outcome]:
    """Give each member of a slice its outcome, in order.

    `mark` is told the position of each member before it is touched, so that a watcher knows the guilty one: all of a
    group are looked at, then those that are images are published.
    Raises `ArchiveError` when the archive changed or cannot be read, `StoreError` if nothing can be written.
    """
    if bench.quarantine is None and all(member.verdict for member in slice_.members):
        return [_settled(member) for member in slice_.members]
    quarantine = Quarantine(bench.quarantine) if bench.quarantine else None
    outcomes = []
    with MemberReader(Path(slice_.path), slice_.size) as reader:
        for group in _groups(slice_.members):
            looked = []
            for position, member in group:
                mark(position)
                looked.append(_look(member, slice_, reader, store, bench))
            for (position, member), (found, data) in zip(group, looked, strict=True):
                outcome = found
                if data is not None:
                    mark(position)
                    outcome = _published(member, slice_.folder, found, data, store)
                outcomes.append(outcome)
                if quarantine:
                    mark(position)
                    quarantine.settle(slice_, member, outcome, (reader, bench.limits))
        reader.check()
    return outcomes


def _groups(members: Sequence[Member]) -> Iterator[list[tuple[int, Member]]]:
    """Yield members with their positions, as many at once as are looked at before any of them is published."""
    group: list[tuple[int, Member]] = []
    size = 0
    for position, member in enumerate(members):
        group.append((position, member))
        size += member.size
        if len(group) >= GROUP or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _look(
    member: Member, slice_: Slice, reader: MemberReader, store: Store, bench: Workbench
) -> tuple[Outcome, bytes | memoryview | None]:
    """Give a member's outcome, and the bytes of an image that is still to be published."""
    if member.verdict or (member.recorded and _in_place(member, slice_, store)):
        return _settled(member), None
    try:
        if member.size > bench.stream_bytes:
            image = _take_streamed(member, slice_.folder, reader, store, bench)
            return Outcome(member.index, member.name, image), None
        data = reader.read(member, bench.limits)
        if is_archive(bytes(data[:HEAD])):
            raise MemberError("nested-archive", "unpack it and drop it as an archive of its own")
        image = _noted(member, inspect(data, bench.limits, bench.check))
        return Outcome(member.index, member.name, image), data
    except (MemberError, ImageError) as refusal:
        return _refused(member, refusal), None
    except MemoryError:
        return _out_of_memory(member), None


def _published(
    member: Member, folder: str, outcome: Outcome, data: bytes | memoryview, store: Store
) -> Outcome:
    if outcome.image is None:
        raise ValueError("only images are published")
    try:
        store.publish(data, outcome.image, folder, member.path)
    except MemoryError:
        return _out_of_memory(member)
    return outcome


def _in_place(member: Member, slice_: Slice, store: Store) -> bool:
    recorded = member.recorded
    return recorded is not None and store.restore(recorded.sha256, recorded.type, slice_.folder, member.path)


def _settled(member: Member) -> Outcome:
    return Outcome(member.index, member.name, None, member.verdict, member.reason, member.detail)


def _refused(member: Member, refusal: MemberError | ImageError) -> Outcome:
    return Outcome(member.index, member.name, None, Verdict.REJECTED, refusal.reason, refusal.detail)


def _out_of_memory(member: Member) -> Outcome:
    return _refused(member, MemberError("decoder-memory", "it wanted more memory than a worker may have"))


def _take_streamed(
    member: Member, folder: str, reader: MemberReader, store: Store, bench: Workbench
) -> Image:
    sha256, sha1, size = hashlib.sha256(), hashlib.sha1(usedforsecurity=False), 0
    with store.scratch() as scratch:
        with scratch.open("wb") as file:
            for chunk in reader.stream(member, bench.limits):
                if size == 0 and is_archive(bytes(chunk[:HEAD])):
                    raise MemberError("nested-archive", "unpack it and drop it as an archive of its own")
                sha256.update(chunk)
                sha1.update(chunk)
                size += file.write(chunk)
        image = inspect_file(
            scratch, bench.limits, bench.check, sha256=sha256.digest(), sha1=sha1.digest(), size=size
        )
        image = _noted(member, image)
        store.publish_file(scratch, image, folder, member.path)
        return image


def _noted(member: Member, image: Image) -> Image:
    remark = extension_remark(member.name, image.type)
    return image._replace(remarks=(*image.remarks, remark)) if remark else image
