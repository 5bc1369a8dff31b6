"""The whole walk: deliveries in, archive results out, every stage a generator."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.batches import batched
from pipeline.brake import Brake
from pipeline.engines.interface import Done, Engine
from pipeline.errors import ArchiveError
from pipeline.flow import End, conclude, size, weight
from pipeline.flusher import Flusher
from pipeline.inbox import Delivery
from pipeline.intake import Intake, Opened
from pipeline.records import (
    ArchiveResult,
    ArchiveVerdict,
    Closing,
    Entry,
    Outcome,
    Record,
    Recorded,
    Slice,
    State,
    Verdict,
)
from pipeline.settings import Settings
from pipeline.sinks.interface import Sink
from pipeline.slices import slices
from pipeline.store import Store


class Progress(Protocol):
    """Whoever watches a run."""

    def opened(self, entry: Entry) -> None:
        """Hear that an archive's work begins."""

    def worked(self, entry: Entry, outcomes: list[Outcome]) -> None:
        """Hear what a slice's members became."""

    def recorded(self, entry: Entry, recorded: Recorded) -> None:
        """Hear of a member that an earlier run recorded already."""

    def refused(self, entry: Entry, outcome: Outcome) -> None:
        """Hear of an image that the sink refused."""


@dataclass(slots=True)
class Ingest:
    """One run over one sink and one engine."""

    sink: Sink
    engine: Engine
    store: Store
    settings: Settings
    progress: Progress
    brake: Brake
    _entries: dict[int, Entry] = field(default_factory=dict)
    _errors: dict[int, ArchiveError] = field(default_factory=dict)
    _results: deque[ArchiveResult] = field(default_factory=deque)
    _closing: deque[tuple[list[End], Future[list[Closing]]]] = field(default_factory=deque)
    _again: set[int] = field(default_factory=set)
    _lost: list[Delivery] = field(default_factory=list)
    _flying: int = 0
    _flusher: Flusher = field(init=False)

    def __post_init__(self) -> None:
        self._flusher = Flusher(self.store.flush)

    def run(self, deliveries: Iterable[Delivery]) -> Iterator[ArchiveResult]:
        """Yield each delivery's result once it is final; raises `SinkUnavailable` and `StoreError`.

        Copies of an archive that is being worked on wait for the next pass, which finds it done. So does, once,
        an archive of which the ledger lost rows: a crash of Postgres forgets the last commits.
        """
        while True:
            intake = Intake(self.sink, self.settings, self.store.free_bytes, self.brake, self.engine.prepare)
            flow = self._flow(self.engine.run(self._slices(intake, deliveries)))
            for batch in batched(flow, self.settings.batch_size, self.settings.batch_bytes, weight):
                self._deliver(batch)
                self._settle()
                yield from self._drain()
            while self._flusher.waits():
                self._finish(self._flusher.settled(wait=True))
            while self._closing:
                self._settle(wait=True)
                yield from self._drain()
            yield from self._drain()
            deliveries = [*intake.deferred, *self._lost]
            self._lost.clear()
            if not deliveries:
                return

    def _slices(self, intake: Intake, deliveries: Iterable[Delivery]) -> Iterator[Slice]:
        for item in intake.take(deliveries):
            if isinstance(item, ArchiveResult):
                self._results.append(item)
                continue
            entry = item.entry
            self._entries[entry.id] = entry
            if entry.id not in self._again:
                self.progress.opened(entry)
            if self.brake.check():
                item.zip.close()
                yield from self._stop(entry, ArchiveError(self.brake.reason))
            elif intake.enough_space(entry.archive):
                yield from self._braked(self._sliced(item))
            else:
                item.zip.close()
                yield from self._stop(entry, ArchiveError("disk-space", "free some and run again"))

    def _braked(self, slices: Iterator[Slice]) -> Iterator[Slice]:
        """Let an archive's slices through until the brake is pulled; the last one then says so."""
        for slice_ in slices:
            self._flying += size(slice_)
            yield slice_
            if not slice_.last and self.brake.check(self._flying):
                yield from self._stop(self._entries[slice_.archive_id], ArchiveError(self.brake.reason))
                return

    def _sliced(self, opened: Opened) -> Iterator[Slice]:
        entry = opened.entry
        recorded = self.sink.recorded(entry) if entry.state is State.RUNNING else iter(())
        with opened.zip as zip_:
            try:
                yield from slices(entry, zip_, self._heard(entry, recorded))
            except ArchiveError as error:
                yield from self._stop(entry, error)

    def _heard(self, entry: Entry, recorded: Iterator[Recorded]) -> Iterator[Recorded]:
        for item in recorded:
            if not item.sha256 and item.verdict is not Verdict.FAILED and entry.id not in self._again:
                self.progress.recorded(entry, item)
            yield item

    def _stop(self, entry: Entry, error: ArchiveError) -> Iterator[Slice]:
        self._errors[entry.id] = error
        file = entry.archive.file
        yield Slice(entry.id, str(entry.archive.path), file.size, entry.folder, (), last=True)

    def _flow(self, done: Iterable[Done]) -> Iterator[Record | End]:
        for slice_, outcomes, error in done:
            self._flying -= size(slice_)
            entry = self._entries[slice_.archive_id]
            if error:
                self._errors.setdefault(entry.id, error)
            if entry.id not in self._again:
                self.progress.worked(entry, outcomes)
            # An archive's error leaves a slice without outcomes.
            for member, outcome in zip(slice_.members, outcomes, strict=False):
                if outcome.image or outcome.verdict:
                    yield Record(entry.id, outcome, f"{entry.folder}/{member.path}")
            if slice_.last:
                yield End(entry, self._errors.pop(entry.id, None))

    def _deliver(self, batch: list[Record | End]) -> None:
        records = [item for item in batch if isinstance(item, Record)]
        ends = [item for item in batch if isinstance(item, End)]
        if records:
            self.sink.write(records)
        self._finish(self._flusher.settled(ends))

    def _finish(self, ends: list[End]) -> None:
        """Have the sink close archives whose files are on the disk."""
        whole = [end for end in ends if not end.error]
        early = [end for end in ends if end.error]
        if whole:
            self._closing.append((whole, self.sink.finish([end.entry for end in whole])))
        if early:
            self._closing.append((early, self.sink.leave([end.entry for end in early])))

    def _settle(self, *, wait: bool = False) -> None:
        """Take what the sink has closed meanwhile, in order; `wait` for the first of it."""
        if wait:
            self._closing[0][1].result()
        while self._closing and self._closing[0][1].done():
            ends, closing = self._closing.popleft()
            closings = closing.result()
            self._hear_refusals()
            for end, closed in zip(ends, closings, strict=True):
                self._close(end, closed)
        self._hear_refusals()

    def _close(self, end: End, closing: Closing) -> None:
        archive = end.entry.archive
        if not (end.error or closing.balance.closed or end.entry.id in self._again):
            self._again.add(end.entry.id)
            self._lost.append(Delivery(archive.path, archive.file, archive.path.parent))
            del self._entries[end.entry.id]
            return
        result = conclude(end, closing)
        if result.verdict is ArchiveVerdict.FAILED:
            self.sink.refuse(archive.file, archive.digest, result)
        self._results.append(result)
        del self._entries[end.entry.id]

    def _hear_refusals(self) -> None:
        for record in self.sink.refused():
            entry = self._entries[record.archive_id]
            self.progress.refused(entry, record.outcome)
            if self.settings.quarantine and record.outcome.verdict is Verdict.REJECTED:
                from pipeline.quarantine import Quarantine  # noqa: PLC0415 - starting is quick

                place = self.settings.extracted / record.file
                Quarantine(self.settings.quarantine).take(entry, record.outcome, place)

    def _drain(self) -> Iterator[ArchiveResult]:
        while self._results:
            yield self._results.popleft()
