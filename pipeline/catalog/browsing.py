"""Reading the ledger page by page: archives with balances, what they did not store, and how much there is."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString, NamedTuple

import psycopg

from pipeline.records import Balance

FEW = 200_000
"""Up to about this many rows are counted; beyond, the planner's estimate is near enough for people."""


class ArchiveEntry(NamedTuple):
    """One archive of the ledger, with its balance."""

    id: int
    digest: bytes
    name: str
    state: str
    reason: str
    detail: str
    size: int
    first_seen: datetime
    finished_at: datetime | None
    balance: Balance


class UnstoredMember(NamedTuple):
    """One member that is not stored, with the reason."""

    member_index: int
    member_name: str
    verdict: str
    reason: str
    detail: str


class Totals(NamedTuple):
    """How much the catalog holds; `about` when `images` is an estimate. `unstored` and `members` are of archives."""

    images: int
    about: bool
    archives: int
    members: int
    unstored: int


_ARCHIVE: LiteralString = """SELECT id, digest, name, state, reason, detail, size, first_seen, finished_at,
    members, stored, duplicate, rejected, ignored, failed FROM archive"""
_ARCHIVES: LiteralString = f"""{_ARCHIVE}
WHERE %(before)s::int8 IS NULL OR id < %(before)s ORDER BY id DESC LIMIT %(limit)s"""
_UNSTORED: LiteralString = """
SELECT member_index, member_name, verdict, reason, detail FROM unstored_member
WHERE archive_id = %(archive)s AND member_index > %(after)s ORDER BY member_index LIMIT %(limit)s"""
_ESTIMATE: LiteralString = "SELECT reltuples::int8 FROM pg_class WHERE oid = 'image_info'::regclass"
_SUMS: LiteralString = """
SELECT count(*), coalesce(sum(members), 0), coalesce(sum(rejected + ignored + failed), 0) FROM archive"""


def list_archives(
    connection: psycopg.Connection, limit: int, before: int | None = None
) -> list[ArchiveEntry]:
    """Give the newest archives below the id `before`."""
    asked = {"limit": limit, "before": before}
    return [_entry(row) for row in connection.execute(_ARCHIVES, asked)]


def get_archive(connection: psycopg.Connection, archive_id: int) -> ArchiveEntry | None:
    """Give one archive."""
    row = connection.execute(f"{_ARCHIVE} WHERE id = %s", (archive_id,)).fetchone()
    return _entry(row) if row else None


def _entry(row: tuple[Any, ...]) -> ArchiveEntry:
    return ArchiveEntry._make((*row[:9], Balance(*row[9:])))


def list_unstored(
    connection: psycopg.Connection, archive_id: int, limit: int, after: int = -1
) -> list[UnstoredMember]:
    """Give the members that an archive did not store, in their order, above the index `after`."""
    asked = {"archive": archive_id, "limit": limit, "after": after}
    return [UnstoredMember(*row) for row in connection.execute(_UNSTORED, asked)]


def totals(connection: psycopg.Connection) -> Totals:
    """Count what the catalog holds, quickly however much it is."""
    row = connection.execute(_ESTIMATE).fetchone()
    images = int(row[0]) if row else 0
    about = images > FEW
    if not about:
        row = connection.execute("SELECT count(*) FROM image_info").fetchone()
        images = int(row[0]) if row else 0
    archives, members, unstored = connection.execute(_SUMS).fetchone() or (0, 0, 0)
    return Totals(images, about, int(archives), int(members), int(unstored))
