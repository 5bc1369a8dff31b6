"""The lookout takes what is at rest, once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.inbox import discover
from pipeline.lookout import Lookout
from pipeline.records import ArchiveResult, ArchiveVerdict

ZIP = b"PK\x03\x04" + bytes(30)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock that the lookout reads; the wall clock jumps back at each look."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def names(lookout: Lookout, folder: Path) -> list[str]:
    """Name what may be taken now."""
    return [delivery.file.name for delivery in lookout.ready(discover([], folder))]


def test_a_file_is_taken_once_it_rests(tmp_path: Path, clock: Clock) -> None:
    """A file that grows waits until it has looked the same for long enough."""
    lookout, path = Lookout(rest=5), tmp_path / "a.zip"
    path.write_bytes(ZIP)
    assert names(lookout, tmp_path) == []
    clock.now += 4
    path.write_bytes(ZIP * 2)
    assert names(lookout, tmp_path) == []
    clock.now += 4
    assert names(lookout, tmp_path) == []
    clock.now += 1
    assert names(lookout, tmp_path) == ["a.zip"]


def test_an_open_or_unfinished_file_waits(tmp_path: Path, clock: Clock) -> None:
    """However long a writer pauses, its file waits; so does one whose name says download."""
    lookout = Lookout(rest=5)
    (tmp_path / "b.zip.part").write_bytes(ZIP)
    with (tmp_path / "a.zip").open("wb") as writer:
        writer.write(ZIP)
        for _ in range(3):
            assert names(lookout, tmp_path) == []
            clock.now += 100
    assert names(lookout, tmp_path) == []
    clock.now += 5
    assert names(lookout, tmp_path) == ["a.zip"]
    assert lookout.waiting


@pytest.mark.parametrize("verdict", list(ArchiveVerdict))
def test_what_is_dealt_with_is_left_alone(tmp_path: Path, clock: Clock, verdict: ArchiveVerdict) -> None:
    """A final verdict stands until the file changes; what failed or waits is tried again later."""
    lookout, path = Lookout(rest=5, again=60), tmp_path / "a.zip"
    path.write_bytes(ZIP)
    deliveries = list(discover([], tmp_path))
    lookout.ready(deliveries)
    lookout.heard(deliveries, [ArchiveResult("a.zip", verdict, path=path)])
    clock.now += 59
    assert names(lookout, tmp_path) == []
    clock.now += 1
    final = verdict not in {ArchiveVerdict.FAILED, ArchiveVerdict.WAITING}
    assert names(lookout, tmp_path) == ([] if final else ["a.zip"])
    assert lookout.waiting is not final
    path.write_bytes(ZIP * 2)
    assert names(lookout, tmp_path) == []
    clock.now += 5
    assert names(lookout, tmp_path) == ["a.zip"]


def test_what_fails_again_waits_longer(tmp_path: Path, clock: Clock) -> None:
    """Each failure doubles the pause, up to five minutes; a change of the file starts anew."""
    lookout, path = Lookout(rest=5, again=60), tmp_path / "a.zip"
    path.write_bytes(ZIP)
    for pause in (60, 120, 240, 300, 300):
        deliveries = list(discover([], tmp_path))
        lookout.ready(deliveries)
        lookout.heard(deliveries, [])
        clock.now += pause - 1
        assert names(lookout, tmp_path) == []
        clock.now += 1
        assert names(lookout, tmp_path) == ["a.zip"]
    path.write_bytes(ZIP * 2)
    assert names(lookout, tmp_path) == []
    clock.now += 5
    assert names(lookout, tmp_path) == ["a.zip"]


def test_nothing_is_remembered_of_what_is_gone(tmp_path: Path, clock: Clock) -> None:
    """What is taken out of the folder is forgotten."""
    lookout, path = Lookout(), tmp_path / "a.zip"
    path.write_bytes(ZIP)
    names(lookout, tmp_path)
    lookout.dismiss(next(discover([], tmp_path)))
    path.unlink()
    names(lookout, tmp_path)
    assert (lookout._seen, lookout._dealt) == ({}, {})
