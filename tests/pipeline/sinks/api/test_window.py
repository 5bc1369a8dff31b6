"""How many requests are on their way adapts: one more after success, half as many after trouble."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.sinks.api import window
from pipeline.sinks.api.window import Window


def test_trouble_halves_and_success_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble halves the limit down to one; as many successes as the limit add one, up to the ceiling."""
    monkeypatch.setattr(window, "COOLDOWN", 0.0)
    turns = Window(8)
    limits: list[int] = []
    for _ in range(5):
        turns.shrink()
        limits.append(turns.limit)
    assert limits == [4, 2, 1, 1, 1]
    turns.grow()
    assert turns.limit == 2
    for _ in range(100):
        turns.grow()
    assert turns.limit == 8


def test_trouble_at_the_same_moment_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that fail together halve the limit once."""
    monkeypatch.setattr(window, "COOLDOWN", 300.0)
    turns = Window(8)
    for _ in range(8):
        turns.shrink()
    assert turns.limit == 4


def test_turns_are_bounded_and_come_in_order() -> None:
    """No more turns are held than the limit says, the first to ask has the first, and a cancelled one loses none."""

    async def scene() -> tuple[list[int], int]:
        turns, done, most = Window(2), list[int](), 0

        async def work(number: int) -> None:
            nonlocal most
            async with turns.turn():
                most = max(most, turns.turns)
                await asyncio.sleep(0)
                done.append(number)

        tasks = [asyncio.create_task(work(number)) for number in range(10)]
        await asyncio.sleep(0)
        tasks[5].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert turns.turns == 0
        return done, most

    assert asyncio.run(scene()) == ([0, 1, 2, 3, 4, 6, 7, 8, 9], 2)
