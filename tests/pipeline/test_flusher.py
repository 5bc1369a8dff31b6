"""Flushing beside the work: nothing counts as on the disk that was written after the flush began."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipeline import flusher
from pipeline.errors import StoreError
from pipeline.flow import End
from pipeline.flusher import Flusher
from pipeline.records import Archive, Entry, FileIdentity, State


class Disk:
    """A disk that takes as long as a test wants."""

    def __init__(self) -> None:
        self.begun, self.ready = threading.Semaphore(0), threading.Semaphore(0)
        self.full = False

    def flush(self) -> None:
        """Say that it began, and wait until it may end."""
        self.begun.release()
        assert self.ready.acquire(timeout=30)
        if self.full:
            raise StoreError("the disk is full")


@pytest.fixture
def disk() -> Disk:
    """Give a slow disk."""
    return Disk()


def end(number: int) -> End:
    """Give the end of an archive."""
    archive = Archive(Path("a.zip"), FileIdentity("a.zip", 1, 1, 1), b"digest", "a", 1)
    return End(Entry(number, archive, State.NEW, "a"), None)


def test_an_archive_waits_for_a_flush_that_began_after_its_end(disk: Disk) -> None:
    """What ends while a flush runs is not covered by it."""
    flushed = Flusher(disk.flush)
    assert not flushed.waits()
    assert flushed.settled([end(1)]) == []
    assert disk.begun.acquire(timeout=30)
    assert flushed.settled([end(2), end(3)]) == []
    disk.ready.release()
    assert flushed.settled(wait=True) == [end(1)]
    assert disk.begun.acquire(timeout=30)
    assert flushed.waits()
    disk.ready.release()
    assert flushed.settled(wait=True) == [end(2), end(3)]
    assert not flushed.waits()


def test_nothing_runs_twice_at_once(disk: Disk) -> None:
    """While one flush runs no other begins, and nobody waits for it without wishing to."""
    flushed = Flusher(disk.flush)
    flushed.settled([end(1)])
    assert disk.begun.acquire(timeout=30)
    for number in range(2, 10):
        assert flushed.settled([end(number)]) == []
    assert not disk.begun.acquire(blocking=False)
    disk.ready.release()
    assert flushed.settled(wait=True) == [end(1)]
    disk.ready.release()
    assert flushed.settled(wait=True) == [end(number) for number in range(2, 10)]


def test_what_was_written_is_flushed_now_and_then(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long archive does not leave all of its files to its end; nobody waits for such a flush at the end."""
    flushed = Flusher(disk.flush)
    assert flushed.settled() == []
    assert not disk.begun.acquire(blocking=False)
    monkeypatch.setattr(flusher, "SECONDS", 0.0)
    flushed = Flusher(disk.flush)
    assert flushed.settled() == []
    assert disk.begun.acquire(timeout=30)
    assert not flushed.waits()
    disk.ready.release()


def test_a_flush_that_failed_is_heard_of(disk: Disk) -> None:
    """An error in the thread is raised where its archives would have been given, and they are not."""
    disk.full = True
    flushed = Flusher(disk.flush)
    flushed.settled([end(1)])
    disk.ready.release()
    with pytest.raises(StoreError, match="full"):
        flushed.settled(wait=True)
