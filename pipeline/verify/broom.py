"""Removing files that no row names, without ever removing one that a run or the API is about to name.

It happens under the lock that deletion takes: meanwhile nobody opens an archive or records an image, and whoever
records one afterwards looks for its file first. A run that has opened archives before is not disturbed: nothing
is removed while it goes on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence

import psycopg

from pipeline.catalog import inventory
from pipeline.catalog.changes import LOCK

QUIET = 300.0
"""Seconds for which a file must have been left alone before it is judged beside a running API."""
ENDLESS = float("inf")


def settled(connection: psycopg.Connection) -> float:
    """Give how many seconds a file must have been left alone before it may be called an orphan.

    While a run is going on, no age is enough: what it wrote is named with its batch.
    """
    if inventory.busy(connection):
        return ENDLESS
    return QUIET if inventory.others(connection) else 0.0


def idle(path: str) -> float:
    """Give for how many seconds a file has been left alone; none when it is gone."""
    try:
        return max(0.0, time.time() - os.lstat(path).st_ctime)
    except OSError:
        return -1.0


class Broom:
    """Removes orphans while nobody else writes."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def remove(self, paths: Sequence[str], named: Callable[[Sequence[str]], set[str]]) -> set[str]:
        """Remove files that `named` does not claim when asked again; answers those that are gone."""
        with self._alone() as alone:
            if not alone or not paths or inventory.busy(self._connection):
                return set()
            wanted = named(paths)
            return {path for path in paths if path not in wanted and remove_file(path)}

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the lock of deletion if it is free; waiting for it inside a transaction could be endless."""
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
        taken = bool(row and row[0])
        try:
            yield taken
        finally:
            if taken:
                self._connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))


def remove_file(path: str) -> bool:
    """Remove a file, or a temporary folder; tells whether it is gone."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except OSError:
        return not os.path.lexists(path)
    return True


def remove_empty_folders(root: str, path: str) -> None:
    """Remove the folders above a removed file that are empty now, up to `root`."""
    folder = os.path.dirname(path)
    with contextlib.suppress(OSError):
        while folder.startswith(root + "/"):
            os.rmdir(folder)
            folder = os.path.dirname(folder)
