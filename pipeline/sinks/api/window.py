"""How many requests may be on their way at once: one more after success, half as many after trouble (AIMD)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

COOLDOWN = 0.5
"""Seconds in which trouble counts once: requests that were sent together fail together."""


class Window:
    """A number of turns between 1 and a ceiling; one event loop uses it, anybody may read it."""

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.turns = 0
        self._limit = float(ceiling)
        self._shrunk = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many turns there are now."""
        return int(self._limit)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, first come, first served, and hold it."""
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(given)
        self._give()
        try:
            await given
            yield
        finally:
            if given.done() and not given.cancelled():
                self.turns -= 1
                self._give()

    def grow(self) -> None:
        """Allow one turn more after as many successes as there are turns."""
        self._limit = min(self.ceiling, self._limit + 1 / self._limit)
        self._give()

    def shrink(self) -> None:
        """Halve the turns."""
        now = time.monotonic()
        if now - self._shrunk >= COOLDOWN:
            self._shrunk = now
            self._limit = max(1.0, self._limit / 2)

    def _give(self) -> None:
        while self.turns < self.limit and self._waiting:
            given = self._waiting.popleft()
            if not given.done():
                given.set_result(None)
                self.turns += 1
