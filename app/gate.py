"""A gate that lets only so many in at a time; the others are told to come again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from app.problems import busy


class Gate:
    """Bounds how many requests do something costly at a time. One event loop uses it."""

    def __init__(self, most: int, doing: str) -> None:
        self._most = self._free = most
        self._doing = doing

    def check(self) -> None:
        """Raise the `busy` problem when there are enough inside."""
        if self._free <= 0:
            raise busy(f"The server is {self._doing} as many as it can.")

    @property
    def inside(self) -> int:
        """How many are inside."""
        return self._most - self._free

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Count as one of those inside; raises the `busy` problem when there are enough."""
        self.check()
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
