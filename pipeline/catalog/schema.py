"""The catalog's schema: numbered SQL files, applied in order under an advisory lock."""

from __future__ import annotations

from importlib import resources

import psycopg
from psycopg import errors, sql

from pipeline.database import connect, translated
from pipeline.errors import SchemaTooNew

LOCK = 0x696D616765
"""The advisory lock under which migrations run ("image" in ASCII)."""


def migrations() -> dict[int, str]:
    """Give the SQL of every migration by its number."""
    folder = resources.files("pipeline.catalog") / "migrations"
    found = {int(item.name[:4]): item for item in folder.iterdir() if item.name.endswith(".sql")}
    return {number: found[number].read_text("utf-8") for number in sorted(found)}


def version(connection: psycopg.Connection) -> int:
    """Give the number of the last migration that a database had; 0 for an empty database."""
    with translated():
        try:
            row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
        except errors.UndefinedTable:
            connection.rollback()
            return 0
    return row[0] or 0 if row else 0


def migrate(url: str) -> int:
    """Bring a database up to date; answers its version. Raises `SchemaTooNew` for one made by newer code."""
    with connect(url, autocommit=True) as connection:
        return upgrade(connection)


def upgrade(connection: psycopg.Connection) -> int:
    """Bring the database of a connection that commits by itself up to date, as `migrate` does."""
    steps = migrations()
    latest = max(steps)
    current = version(connection)
    if current < latest:
        with translated():
            connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version"
                " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            current = version(connection)
            for number in range(current + 1, latest + 1):
                _apply(connection, number, steps[number])
            connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    if current > latest:
        raise SchemaTooNew(
            f"The catalog has schema {current}, this program knows {latest}; update the program."
        )
    return latest


def _apply(connection: psycopg.Connection, number: int, text: str) -> None:
    with connection.transaction():
        connection.execute(sql.SQL(text))
        connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (number,))
