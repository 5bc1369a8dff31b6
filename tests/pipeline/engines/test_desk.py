"""A worker's desk has the kernel end a member that takes too long, at little cost for those that do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import isolation
from pipeline.engines import desk as module
from pipeline.engines.desk import SLACK, Desk
from pipeline.notes import Notes
from pipeline.records import Outcome, Slice
from pipeline.settings import Limits
from pipeline.workbench import Workbench


@pytest.mark.parametrize("timeout", [60.0, 0.5])
def test_the_alarm_is_put_off_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout: float
) -> None:
    """It is set for the first member and then at intervals, so that none has less time than it is allowed."""
    now = 1000.0
    started: list[float] = []
    alarms: list[float] = []

    def members(slice_: Slice, bench: Workbench, store: object, mark: Callable[[int], None]) -> list[Outcome]:
        nonlocal now
        for position in range(1000):
            mark(position)
            started.append(alarms[-1] - now)
            now += timeout / 137
        return []

    def allow(seconds: float) -> None:
        alarms.append(now + seconds if seconds else 0.0)

    monkeypatch.setattr(module, "work", members)
    monkeypatch.setattr(isolation, "allow", allow)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bench = Workbench(tmp_path / "extracted", tmp_path / "static", Limits(timeout=timeout))
    with Notes.made() as notes:
        Desk(bench, notes).work(Slice(1, "a.zip", 1, "a", ()), 0)
    assert min(started) >= timeout - 1e-6
    assert max(started) <= timeout + SLACK
    assert len(alarms) < 1000 / 2
    assert alarms[-1] == 0.0
