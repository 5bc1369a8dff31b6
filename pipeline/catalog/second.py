"""A second chance for what was refused: which archives have it coming, and opening them again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import LiteralString

import psycopg

from pipeline.records import Candidate

_CANDIDATES: LiteralString = """
SELECT a.id, a.name, a.digest, a.size, count(u.archive_id)
FROM archive a LEFT JOIN unstored_member u
    ON u.archive_id = a.id AND (u.again OR u.verdict = 'failed' OR u.reason = ANY(%(reasons)s))
WHERE a.id > %(after)s AND (u.archive_id IS NOT NULL
    OR a.state IN ('rejected', 'failed') AND a.reason = ANY(%(reasons)s))
GROUP BY a.id ORDER BY a.id LIMIT %(limit)s"""
_MARK: LiteralString = """
UPDATE unstored_member SET again = true
WHERE archive_id = ANY(%(ids)s) AND (verdict = 'failed' OR reason = ANY(%(reasons)s))"""
_OPEN: LiteralString = """
UPDATE archive SET state = 'running', finished_at = NULL
WHERE id = ANY(%(ids)s) AND state = 'done'
    AND EXISTS (SELECT FROM unstored_member u WHERE u.archive_id = archive.id AND u.again)"""


def candidates(
    connection: psycopg.Connection, reasons: Collection[str], after: int = 0, limit: int | None = None
) -> list[Candidate]:
    """Give the archives that were refused, or have members refused, for one of these reasons, or that failed.

    In the order of their ids, above `after`, at most `limit`.
    """
    rows = connection.execute(_CANDIDATES, {"reasons": sorted(reasons), "after": after, "limit": limit})
    return [Candidate(id_, name, bytes(digest), size, count) for id_, name, digest, size, count in rows]


def reconsider(connection: psycopg.Connection, ids: Sequence[int], reasons: Collection[str]) -> int:
    """Have these archives' refusals taken again by the next run over them; answers how many members that are.

    Their verdicts hold until there are new ones, so that nothing is lost when the run is interrupted.
    """
    asked = {"ids": list(ids), "reasons": sorted(reasons)}
    with connection.transaction():
        marked = connection.execute(_MARK, asked).rowcount
        connection.execute(_OPEN, asked)
    return marked
