"""Plain calls have work done in another thread's loop, and hear of its first error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from pipeline.errors import SinkUnavailable
from pipeline.sinks.api.loop import LoopThread


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    """Give a loop that ends with the test."""
    made = LoopThread("test")
    yield made
    made.cancel()
    made.end()


async def give(value: int) -> int:
    """Give a value, after a moment."""
    await asyncio.sleep(0)
    return value


async def fail(message: str) -> int:
    """Fail."""
    await asyncio.sleep(0)
    raise SinkUnavailable(message)


async def hang() -> int:
    """Take for ever."""
    await asyncio.Event().wait()
    return 0


def test_waiting(loop: LoopThread) -> None:
    """Answers and errors come back, and patience may end."""
    assert loop.wait(give(3)) == 3
    with pytest.raises(SinkUnavailable, match="gone"):
        loop.wait(fail("gone"))
    with pytest.raises(TimeoutError):
        loop.wait(hang(), 0.01)
    loop.check()


def test_the_first_error_ends_everything(loop: LoopThread) -> None:
    """Whatever else is on its way ends with the first error, every check raises it, and places are free again."""
    places = threading.Semaphore(0)
    hanging = loop.launch(hang(), places)
    assert loop.launch(give(4)).result(60) == 4
    failing = loop.launch(fail("first"), places)
    for future in (failing, hanging):
        with pytest.raises(SinkUnavailable, match="first"):
            future.result(60)
    with pytest.raises(SinkUnavailable, match="first"):
        loop.check()
    assert places.acquire(timeout=60)
    assert places.acquire(timeout=60)
