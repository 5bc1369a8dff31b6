"""What a worker process keeps between slices, and does with each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pipeline import isolation
from pipeline.archives import MemberReader
from pipeline.notes import Notes
from pipeline.quarantine import Quarantine
from pipeline.records import Outcome, Slice
from pipeline.store import Store
from pipeline.work import work
from pipeline.workbench import Workbench

SLACK = 1.0
"""Seconds between two settings of the alarm, at most."""


class Desk:
    """One worker's place: what it was told, its notes, its store."""

    def __init__(self, bench: Workbench, notes: Notes) -> None:
        self._bench = bench
        self._notes = notes
        self._store = Store(bench.extracted, bench.static)

    def work(self, slice_: Slice, slot: int) -> list[Outcome]:
        """Work a slice, noting in `slot` what is touched; the kernel ends this process when a member takes too long.

        The alarm is put off now and then, not for each member: one may take that much longer, and never less.
        """
        timeout = self._bench.limits.timeout
        slack = min(SLACK, timeout / 10)
        due = 0.0

        def mark(position: int) -> None:
            nonlocal due
            self._notes.write(slot, position)
            now = time.monotonic()
            if now >= due:
                isolation.allow(timeout + slack)
                due = now + slack

        try:
            return work(slice_, self._bench, self._store, mark)
        finally:
            isolation.allow(0)

    def set_aside(self, slice_: Slice, outcomes: Sequence[Outcome]) -> None:
        """Keep members in quarantine that a worker died of; they are unpacked, and no decoder touches them."""
        if self._bench.quarantine:
            quarantine = Quarantine(self._bench.quarantine)
            with MemberReader(Path(slice_.path), slice_.size) as reader:
                for member, outcome in zip(slice_.members, outcomes, strict=True):
                    quarantine.settle(slice_, member, outcome, (reader, self._bench.limits))
