"""A worker that dies costs its own task, however soon it dies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from pebble import ProcessExpired
from pebble.pool.process import PoolManager

from pipeline import isolation
from pipeline.pool import Pool


class SlowHearing:
    """A pool's manager whose messages come late, as on a busy machine; deaths are seen at once."""

    def __init__(self, hear: Any) -> None:
        self._hear = hear

    def __call__(self, timeout: float) -> None:
        """Read the next message, after a while."""
        time.sleep(0.2)
        self._hear(timeout)


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Give a pool of two workers."""
    made = Pool(2, isolation.fork_server("tests.pipeline.test_pool"), isolation.confine, (1 << 30,))
    yield made
    made.end()


@pytest.mark.slow
def test_a_death_before_its_words_are_read(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose worker dies at once fails at once, not when its time is over."""
    assert pool.schedule(os.getpid).result() > 0
    manager = pool._pool_manager
    monkeypatch.setattr(manager, "process_next_message", SlowHearing(manager.process_next_message))
    for code in (3, 4):
        future = pool.schedule(os._exit, args=[code], timeout=500.0)
        with pytest.raises(ProcessExpired) as death:
            future.result(timeout=60)
        assert death.value.exitcode == code
    assert pool.schedule(os.getpid).result(timeout=60) > 0


@pytest.mark.slow
def test_many_deaths(pool: Pool) -> None:
    """Among many that die at once none is forgotten, and those beside them are answered."""
    futures: list[Any] = []
    for number in range(60):
        work: Callable[..., Any] = partial(os._exit, 7) if number % 3 else partial(abs, number)
        futures.append(pool.schedule(work, timeout=500.0))
    for number, future in enumerate(futures):
        if number % 3:
            with pytest.raises(ProcessExpired):
                future.result(timeout=60)
        else:
            assert future.result(timeout=60) == number


@pytest.mark.slow
def test_a_death_after_an_answer(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late words are read, a worker's death belongs to the task that it began last."""
    hear = PoolManager.process_next_message

    def late(manager: PoolManager, timeout: float) -> None:
        time.sleep(0.1)
        hear(manager, timeout)

    monkeypatch.setattr(PoolManager, "process_next_message", late)
    for number in range(3):
        answered = [pool.schedule(abs, args=[-number]) for _ in range(2)]
        dead = [pool.schedule(os._exit, args=[7], timeout=500.0) for _ in range(2)]
        assert [future.result(timeout=60) for future in answered] == [number, number]
        for future in dead:
            with pytest.raises(ProcessExpired):
                future.result(timeout=60)


@pytest.mark.slow
def test_a_wake_up_that_went_to_nobody(pool: Pool) -> None:
    """A pool ends also when an interrupted call left the lock of an earlier wait among those that wait."""
    assert pool.schedule(os.getpid).result() > 0
    nobody = threading.Lock()
    nobody.acquire()
    pool._context.task_queue.not_empty._waiters.appendleft(nobody)  # type: ignore[attr-defined]
    ending = threading.Thread(target=pool.end, daemon=True)
    ending.start()
    ending.join(60)
    assert not ending.is_alive()
