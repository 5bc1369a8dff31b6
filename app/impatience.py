"""A connection to Postgres that waits for an answer as long as one may take, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool

Answer = TypeVar("Answer")
Waiting = Generator[Any, Any, Answer]
"""What the driver does on a connection, in turns with waiting for its socket."""

CHECK_SECONDS = 2.0
"""An empty query is answered in a millisecond, on a busy machine in some more."""
ANSWER_SECONDS = 90.0
"""Longer than the server itself lets a query take."""


class Impatient(psycopg.Connection):
    """Ends itself with an `OperationalError` when a server, frozen or cut off, says nothing for `patience` seconds."""

    patience = ANSWER_SECONDS

    def wait(self, gen: Waiting[Answer], *arguments: Any, **options: Any) -> Answer:
        """Do what takes turns with waiting for the server."""
        return super().wait(self._bounded(gen), *arguments, **options)

    def check(self) -> None:
        """Make sure that the server answers, at once; raises `OperationalError`."""
        self.patience = CHECK_SECONDS
        try:
            ConnectionPool.check_connection(self)
        finally:
            self.patience = ANSWER_SECONDS

    def _bounded(self, gen: Waiting[Answer]) -> Waiting[Answer]:
        """Pass everything on between the driver and who waits for it, who comes here also when he waited in vain."""
        deadline = time.monotonic() + self.patience
        try:
            wish = next(gen)
            while True:
                ready = yield wish
                if not ready and time.monotonic() > deadline:
                    self.close()
                    raise psycopg.OperationalError(f"it has not answered for {self.patience:g} s")
                wish = gen.send(ready)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
