"""Reading the catalog for people: archives with balances, and what was not stored of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import psycopg

from pipeline.records import Balance, Verdict


class ArchiveRow(NamedTuple):
    """One archive of the ledger."""

    name: str
    state: str
    reason: str
    detail: str
    balance: Balance


class UnstoredRow(NamedTuple):
    """One member that is not stored; `member` is empty where it is the archive itself."""

    archive: str
    member: str
    verdict: str
    reason: str
    detail: str


class Totals(NamedTuple):
    """How much the catalog has; images are an estimate once there are many."""

    images: int
    archives: dict[str, int]
    members: dict[str, int]


_TOTALS = """
SELECT state, count(*), sum(stored), sum(duplicate), sum(rejected), sum(ignored), sum(failed) FROM archive GROUP BY 1"""
_ABOUT_IMAGES = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'image_info'::regclass"
MANY = 100_000
_ARCHIVES = """
SELECT name, state, reason, detail, members, stored, duplicate, rejected, ignored, failed FROM archive ORDER BY id"""
_REFUSED = """
SELECT name, '', state, reason, detail FROM archive WHERE state IN ('rejected', 'failed') ORDER BY id"""
_UNSTORED = """
SELECT a.name, u.member_name, u.verdict, u.reason, u.detail
FROM unstored_member u JOIN archive a ON a.id = u.archive_id ORDER BY u.archive_id, u.member_index"""


def archives(connection: psycopg.Connection) -> Iterator[ArchiveRow]:
    """Stream the ledger in the order of first sight; inside the caller's transaction."""
    with connection.cursor("archives") as cursor:
        for row in cursor.execute(_ARCHIVES):
            name, state, reason, detail, *counts = row
            yield ArchiveRow(name, state, reason, detail, Balance(*counts))


def refused(connection: psycopg.Connection) -> Iterator[UnstoredRow]:
    """Stream the archives that were refused whole, or failed; inside the caller's transaction."""
    with connection.cursor("refused") as cursor:
        for row in cursor.execute(_REFUSED):
            yield UnstoredRow(*row)


def unstored(connection: psycopg.Connection) -> Iterator[UnstoredRow]:
    """Stream the members that are not stored, archive by archive; inside the caller's transaction."""
    with connection.cursor("unstored") as cursor:
        for row in cursor.execute(_UNSTORED):
            yield UnstoredRow(*row)


def count_images(connection: psycopg.Connection) -> int:
    """Count distinct images."""
    row = connection.execute("SELECT count(*) FROM image_info").fetchone()
    return int(row[0]) if row else 0


def totals(connection: psycopg.Connection) -> Totals:
    """Add the ledger up, at a cost that does not grow with the number of images."""
    archives: dict[str, int] = {}
    sums = [0] * len(Verdict)
    for state, count, *counts in connection.execute(_TOTALS):
        archives[state] = count
        sums = [total + int(more) for total, more in zip(sums, counts, strict=True)]
    row = connection.execute(_ABOUT_IMAGES).fetchone()
    about = int(row[0]) if row else 0
    images = about if about > MANY else count_images(connection)
    return Totals(images, archives, dict(zip((verdict.value for verdict in Verdict), sums, strict=True)))
