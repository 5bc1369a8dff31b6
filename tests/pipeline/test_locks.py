"""A lock is free again when its holder is dead."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import pytest
from pebble import ProcessPool

from pipeline.isolation import fork_server
from pipeline.locks import MortalLock


def hold(lock: MortalLock, told: Connection) -> None:
    """Take a lock twice, say so, and let it go once for each word that comes."""
    lock.acquire()
    lock.acquire()
    for _ in range(2):
        told.send("held")
        told.recv()
        lock.release()
    told.send("free")
    told.recv()


@pytest.fixture
def lock() -> MortalLock:
    """Give the lock that pools of workers get."""
    made = fork_server().RLock()
    assert isinstance(made, MortalLock)
    return made


@contextlib.contextmanager
def holder(lock: MortalLock) -> Iterator[tuple[BaseProcess, Connection]]:
    """Run a process that holds the lock, and give the way to speak to it."""
    context = fork_server()
    here, there = context.Pipe()
    process = context.Process(target=hold, args=(lock, there))
    process.start()
    there.close()
    with here:
        assert here.recv() == "held"
        yield process, here
    process.join()


def test_one_process_at_a_time(lock: MortalLock) -> None:
    """What another process holds cannot be taken until it was let go as often as it was taken."""
    with holder(lock) as (_, speak):
        for said in ("held", "free"):
            assert not lock.acquire(block=False)
            speak.send("let go")
            assert speak.recv() == said
        assert lock.acquire(block=False)
        lock.release()
        speak.send("end")


def test_the_dead_hold_nothing(lock: MortalLock) -> None:
    """A lock whose holder was killed is free."""
    with holder(lock) as (process, _):
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert lock.acquire(block=False)


def die_holding(lock: MortalLock) -> None:
    """End this worker while it holds a lock."""
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_pool_survives_a_worker_that_dies_with_its_lock() -> None:
    """The locks of a pool are of this kind: the next task is worked although a holder of them died."""
    with ProcessPool(max_workers=1, context=fork_server()) as pool:
        assert pool.schedule(os.getpid).result()
        channel = pool._pool_manager.worker_manager.workers_channel
        assert channel is not None
        locks: list[object] = [channel.mutex.reader_mutex, channel.mutex.writer_mutex]
        for lock in locks:
            assert isinstance(lock, MortalLock)
            assert pool.schedule(die_holding, args=[lock]).exception() is not None
            assert pool.schedule(os.getpid).result()
