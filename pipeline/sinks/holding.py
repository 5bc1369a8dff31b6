"""Holding archives for a run by session-level advisory locks, over a connection of its own."""

from __future__ import annotations

import psycopg

from pipeline.database import connect, translated
from pipeline.errors import CatalogUnavailable
from pipeline.words import counted


class Holding:
    """The archives that this process claims, by their keys; Postgres frees them however it ends."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection | None = None
        self._keys: set[int] = set()

    def claim(self, keys: set[int]) -> set[int]:
        """Claim archives over a connection that is known to live; answers those of them that are held, old and new.

        A new connection takes the old one's claims over first, and goes no further when another run was faster:
        raises `CatalogUnavailable`.
        """
        if self._connection is not None and not _alive(self._connection):
            self._connection.close()
        if self._connection is None or self._connection.closed:
            if not (keys or self._keys):
                return set()
            self._connection = self._taken_over()
        self._keys |= _lock(self._connection, keys - self._keys)
        return keys & self._keys

    def free(self, keys: set[int]) -> None:
        """Let archives go."""
        keys &= self._keys
        self._keys -= keys
        if not keys or self._connection is None or self._connection.closed:
            return
        try:
            self._connection.execute(
                "SELECT pg_advisory_unlock(key) FROM unnest(%s::int8[]) AS asked (key)", (list(keys),)
            )
        except psycopg.Error:
            # A broken connection has freed its locks; the next claim opens another.
            self._connection.close()

    def close(self) -> None:
        """Let everything go."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _taken_over(self) -> psycopg.Connection:
        connection = connect(self._url, autocommit=True)
        if lost := self._keys - _lock(connection, self._keys):
            connection.close()
            raise CatalogUnavailable(
                f"The connection broke, and another run has claimed {counted(len(lost), 'archive')}."
            )
        return connection


def _alive(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _lock(connection: psycopg.Connection, keys: set[int]) -> set[int]:
    if not keys:
        return set()
    with translated():
        rows = connection.execute(
            "SELECT key FROM unnest(%s::int8[]) AS asked (key) WHERE pg_try_advisory_lock(key)", (list(keys),)
        ).fetchall()
    return {row[0] for row in rows}
