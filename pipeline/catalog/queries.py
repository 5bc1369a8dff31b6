"""Reading the catalog for people: archives with balances, and members that were not stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import psycopg

from pipeline.records import Balance


class ArchiveRow(NamedTuple):
    """One archive of the ledger."""

    name: str
    state: str
    reason: str
    detail: str
    balance: Balance


class UnstoredRow(NamedTuple):
    """One member that is not stored."""

    archive: str
    member: str
    verdict: str
    reason: str
    detail: str


_ARCHIVES = """
SELECT name, state, reason, detail, members, stored, duplicate, rejected, ignored, failed FROM archive ORDER BY id"""
_UNSTORED = """
SELECT a.name, u.member_name, u.verdict, u.reason, u.detail
FROM unstored_member u JOIN archive a ON a.id = u.archive_id ORDER BY u.archive_id, u.member_index"""


def archives(connection: psycopg.Connection) -> Iterator[ArchiveRow]:
    """Stream the ledger in the order of first sight; inside the caller's transaction."""
    with connection.cursor("archives") as cursor:
        for row in cursor.execute(_ARCHIVES):
            name, state, reason, detail, *counts = row
            yield ArchiveRow(name, state, reason, detail, Balance(*counts))


def unstored(connection: psycopg.Connection) -> Iterator[UnstoredRow]:
    """Stream the members that are not stored, archive by archive; inside the caller's transaction."""
    with connection.cursor("unstored") as cursor:
        for row in cursor.execute(_UNSTORED):
            yield UnstoredRow(*row)


def count_images(connection: psycopg.Connection) -> int:
    """Count distinct images."""
    row = connection.execute("SELECT count(*) FROM image_info").fetchone()
    return int(row[0]) if row else 0
