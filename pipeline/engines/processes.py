"""The engine whose workers are processes that may crash, hang or eat memory without harm to the run.

A worker notes the position of each member before it touches it, and has the kernel end it when one member
takes longer than the limit, also inside C code. When a slice dies, the members before the noted one are
worked again, the noted one alone, and the rest after it; one that dies alone gets its verdict.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from pipeline import isolation
from pipeline.engines.interface import Done
from pipeline.errors import ArchiveError
from pipeline.notes import SLOTS, Notes
from pipeline.records import Outcome, Slice, Verdict
from pipeline.words import counted
from pipeline.workbench import Workbench

if TYPE_CHECKING:
    from pebble import ProcessFuture

    from pipeline.engines.desk import Desk
    from pipeline.pool import Pool

WINDOW = 16
"""Slices in flight for each worker: enough to keep them busy while a batch is written."""
GRACE = 30.0
CHUNK = 1 << 20


_desk: Desk | None = None


def _sit_down(bench: Workbench, notes: Notes) -> None:
    global _desk  # noqa: PLW0603 - a worker process serves one pool and has nowhere else to keep this
    isolation.confine(bench.limits.worker_memory)
    from pipeline.engines.desk import Desk  # noqa: PLC0415 - decoders are imported by workers alone

    _desk = Desk(bench, notes)


def _work(slice_: Slice, slot: int) -> list[Outcome]:
    if _desk is None:
        raise RuntimeError("this worker was not set up")
    return _desk.work(slice_, slot)


def _set_aside(slice_: Slice, outcomes: list[Outcome]) -> None:
    if _desk is None:
        raise RuntimeError("this worker was not set up")
    _desk.set_aside(slice_, outcomes)


class _Ticket(NamedTuple):
    slice: Slice
    slot: int
    future: ProcessFuture[list[Outcome]]


class ProcessEngine:
    """Works slices in killable processes, several at a time, and answers in order."""

    def __init__(self, bench: Workbench, workers: int = 0) -> None:
        self._bench = bench
        self._workers = workers or isolation.cores()
        self._count = 0
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._context = isolation.fork_server("pipeline.engines.desk")
        self._notes = self._open.enter_context(Notes.made())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def prepare(self) -> None:
        """Start the fork server, which loads decoders while the first archive is looked at."""
        isolation.start_fork_server()

    def run(self, slices: Iterable[Slice]) -> Iterator[Done]:
        """Yield every slice's outcomes in order, with a bounded number of slices in flight."""
        self._pool = self._started()
        flying: deque[_Ticket] = deque()
        for slice_ in slices:
            flying.append(self._launch(slice_))
            while len(flying) >= min(self._workers * WINDOW, SLOTS // 4) or (
                flying and flying[0].future.done()
            ):
                yield self._land(flying.popleft())
        while flying:
            yield self._land(flying.popleft())
        # Workers end while the last batch is written; the context waits for them.
        self._pool.stop()  # type: ignore[no-untyped-call]

    def _started(self) -> Pool:
        # Its import takes as long as the fork server's start, which has begun.
        from pipeline.pool import Pool  # noqa: PLC0415

        isolation.start_fork_server()
        pool = Pool(self._workers, self._context, _sit_down, (self._bench, self._notes))
        self._open.callback(pool.end)
        with isolation.uninterrupted():
            if not pool.active:
                raise RuntimeError("the workers do not start")
        return pool

    def _launch(self, slice_: Slice) -> _Ticket:
        slot = self._count % SLOTS
        self._count += 1
        self._notes.write(slot, 0)
        allowance = self._bench.limits.timeout * len(slice_.members) + GRACE
        future = self._pool.schedule(_work, args=[slice_, slot], timeout=allowance)
        return _Ticket(slice_, slot, future)

    def _land(self, ticket: _Ticket) -> Done:
        try:
            return Done(ticket.slice, self._outcomes(ticket))
        except ArchiveError as error:
            return Done(ticket.slice, [], error)

    def _outcomes(self, ticket: _Ticket) -> list[Outcome]:
        """Wait for a slice; one that died is split around the member it died of."""
        from pebble import ProcessExpired  # noqa: PLC0415 - as above

        slice_ = ticket.slice
        try:
            outcomes: list[Outcome] = ticket.future.result()
        except (TimeoutError, ProcessExpired) as death:
            reason, detail = isolation.cause(death, self._bench.limits.timeout)
            lost = isolation.lost_a_page(death)
        else:
            return outcomes
        _unchanged(slice_)
        if len(slice_.members) <= 1:
            if lost:
                check_readable(slice_)
            return self._condemned(slice_, reason, detail)
        guilty = min(self._notes.read(ticket.slot), len(slice_.members) - 1)
        members = slice_.members
        parts = (members[:guilty], members[guilty : guilty + 1], members[guilty + 1 :])
        tickets = [self._launch(slice_._replace(members=part)) for part in parts if part]
        return [outcome for part in tickets for outcome in self._outcomes(part)]

    def _condemned(self, slice_: Slice, reason: str, detail: str) -> list[Outcome]:
        """Give the verdict on a member that a worker died of alone."""
        outcomes = [
            Outcome(member.index, member.name, None, Verdict.REJECTED, reason, detail)
            for member in slice_.members
        ]
        from pebble import ProcessExpired  # noqa: PLC0415 - as above

        if self._bench.quarantine:
            future = self._pool.schedule(_set_aside, args=[slice_, outcomes], timeout=GRACE)
            with contextlib.suppress(TimeoutError, ProcessExpired, ArchiveError):
                future.result()
        return outcomes


def _unchanged(slice_: Slice) -> None:
    """Raise `ArchiveError` if the archive of a slice is not there any more as it was at preflight."""
    try:
        size = os.stat(slice_.path).st_size
    except OSError as error:
        raise ArchiveError("vanished", str(error)) from error
    if size != slice_.size:
        raise ArchiveError("vanished", f"it had {counted(slice_.size, 'byte')} and now has {size:,}")


def check_readable(slice_: Slice) -> None:
    """Raise `ArchiveError` if what the members of a slice pack cannot be read: through a map that ends a process.

    A disk or a share that fails for a while must not have an image refused for good.
    """
    try:
        with open(slice_.path, "rb", buffering=0) as file:
            for member in slice_.members:
                for place in range(member.offset, min(member.end, slice_.size), CHUNK):
                    os.pread(file.fileno(), CHUNK, place)
    except OSError as error:
        raise ArchiveError("unreadable", str(error.strerror)) from error
