"""Bringing files to the disk beside the work, so that closing an archive does not wait for all that it wrote."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from pipeline.flow import End

SECONDS = 1.0
"""Between two flushes that no archive waits for."""


class Flusher:
    """Flushes in a thread, once after the other; tells which archives' files are on the disk.

    What went wrong in the thread is raised by the next call.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._running: Future[None] | None = None
        self._covered: list[End] = []
        self._waiting: list[End] = []
        self._due = time.monotonic() + SECONDS

    def waits(self) -> bool:
        """Tell whether an archive waits for its files."""
        return bool(self._covered or self._waiting)

    def settled(self, ends: Sequence[End] = (), *, wait: bool = False) -> list[End]:
        """Take archives in whose files are all written, and give those whose files are on the disk.

        With `wait`, what runs is waited for.
        """
        self._waiting += ends
        safe: list[End] = []
        if self._running and (wait or self._running.done()):
            self._running.result()
            safe, self._covered, self._running = self._covered, [], None
        if not self._running and (self._waiting or time.monotonic() >= self._due):
            self._begin()
        return safe

    def _begin(self) -> None:
        """Flush what was written until now."""
        self._covered, self._waiting = self._waiting, []
        running: Future[None] = Future()

        def flush() -> None:
            try:
                self._flush()
            except BaseException as error:  # noqa: BLE001 - raised where the result is taken
                running.set_exception(error)
            else:
                running.set_result(None)
            self._due = time.monotonic() + SECONDS

        self._running = running
        threading.Thread(target=flush, name="flusher", daemon=True).start()
