"""Recording a batch: binary COPY into a temporary table, then set operations, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import errors

from pipeline.errors import CatalogError, CatalogUnavailable
from pipeline.records import Record, Verdict, clean
from pipeline.store import local_url

_COLUMNS = (
    ("ord", "int4"),
    ("archive_id", "int8"),
    ("member_index", "int4"),
    ("member_name", "text"),
    ("path", "text"),
    ("sha256", "bytea"),
    ("sha1", "bytea"),
    ("width", "int4"),
    ("height", "int4"),
    ("type", "text"),
    ("byte_size", "int8"),
    ("local_url", "text"),
    ("mode", "text"),
    ("frames", "int4"),
    ("orientation", "int2"),
    ("captured_at", "timestamp"),
    ("captured_offset", "text"),
    ("dhash", "int8"),
    ("remarks", "text[]"),
    ("verdict", "text"),
    ("reason", "text"),
    ("detail", "text"),
)
DELETED = "Images were deleted while a batch that holds them was recorded."
FILES_DELETED = (
    "An image was deleted from the catalog while its archive was taken in; run again to take it anew."
)
_TYPES = [kind for _, kind in _COLUMNS]
_DECLARED = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS)

PREPARE = f"""
CREATE TEMPORARY TABLE incoming ({_DECLARED}) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE fresh (id int8) ON COMMIT DELETE ROWS;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
"""
"""What a connection needs before `record`: temporary tables, and plans that stay good as the catalog grows."""

_COPY = f"COPY incoming ({', '.join(name for name, _ in _COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_IMAGE = """sha256, sha1, width, height, type, byte_size, local_url, mode, frames, orientation, captured_at,
    captured_offset, dhash, remarks"""
# Sorted by digest, so that two runs that add the same images wait for each other instead of deadlocking.
_INSERT_IMAGES = f"""
WITH made AS (
    INSERT INTO image_info ({_IMAGE})
    SELECT DISTINCT ON (sha256) {_IMAGE} FROM incoming WHERE sha256 IS NOT NULL ORDER BY sha256, ord
    ON CONFLICT (sha256) DO NOTHING RETURNING id
)
INSERT INTO fresh SELECT id FROM made"""
_INSERT_SOURCES = """
INSERT INTO image_source (image_id, archive_id, member_index, member_name, path, verdict)
SELECT i.id, n.archive_id, n.member_index, n.member_name, n.path,
       CASE WHEN n.ord = min(n.ord) OVER (PARTITION BY n.sha256) AND i.id IN (SELECT id FROM fresh)
            THEN 'stored' ELSE 'duplicate' END
FROM incoming n JOIN image_info i ON i.sha256 = n.sha256
ORDER BY n.ord
ON CONFLICT (archive_id, member_index) DO NOTHING"""
_FORGET_REFUSALS = """
DELETE FROM unstored_member u USING incoming n
WHERE u.archive_id = n.archive_id AND u.member_index = n.member_index AND n.sha256 IS NOT NULL"""
_INSERT_REFUSALS = """
INSERT INTO unstored_member (archive_id, member_index, member_name, verdict, reason, detail)
SELECT DISTINCT ON (archive_id, member_index) archive_id, member_index, member_name, verdict, reason, detail
FROM incoming n
WHERE sha256 IS NULL AND NOT EXISTS (
    SELECT FROM image_source s WHERE s.archive_id = n.archive_id AND s.member_index = n.member_index)
ORDER BY archive_id, member_index, ord
ON CONFLICT (archive_id, member_index)
DO UPDATE SET verdict = excluded.verdict, reason = excluded.reason, detail = excluded.detail, again = false"""
_DELETED_SINCE = """
SELECT count(*) FROM deleted_image d WHERE d.number > %(since)s AND d.sha256 IN (SELECT sha256 FROM incoming)"""
_COUNT_LOST = """
SELECT count(*) FROM incoming n WHERE sha256 IS NOT NULL AND NOT EXISTS (
    SELECT FROM image_source s WHERE s.archive_id = n.archive_id AND s.member_index = n.member_index)"""
_VERDICTS = """
SELECT coalesce(s.verdict, u.verdict) FROM incoming n
LEFT JOIN image_source s ON s.archive_id = n.archive_id AND s.member_index = n.member_index
LEFT JOIN unstored_member u ON u.archive_id = n.archive_id AND u.member_index = n.member_index
ORDER BY n.ord"""


def record(connection: psycopg.Connection, batch: Sequence[Record], since: int | None = None) -> None:
    """Record a batch inside the caller's transaction; recording it again changes nothing.

    The connection was prepared with `PREPARE`. An image for a member that was refused before takes the
    refusal's place; a refusal never takes an image's. Raises `CatalogUnavailable` when images were deleted
    at the same moment, so that the caller tries again, and `CatalogError` when an archive was, or an image of
    the batch after the deletion numbered `since`; with None, the caller has seen to the files.
    """
    try:
        _record(connection, batch)
        if since is not None:
            row = connection.execute(_DELETED_SINCE, {"since": since}).fetchone()
            if row and row[0]:
                raise CatalogError(FILES_DELETED)
    except errors.ForeignKeyViolation as error:
        if "image_id" in (error.diag.constraint_name or ""):
            raise CatalogUnavailable(DELETED) from error
        raise CatalogError(
            "An archive was deleted from the catalog while it was taken in; run again to take it anew."
        ) from error


def verdicts(connection: psycopg.Connection) -> list[Verdict]:
    """Give the verdict of each item of the batch that this transaction recorded, in the batch's order."""
    return [Verdict(row[0]) for row in connection.execute(_VERDICTS)]


def _record(connection: psycopg.Connection, batch: Sequence[Record]) -> None:
    with connection.cursor() as cursor:
        with cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for order, record_ in enumerate(batch):
                copy.write_row(_row(order, record_))
        images = sum(1 for item in batch if item.outcome.image)
        if images:
            cursor.execute(_INSERT_IMAGES)
            cursor.execute(_INSERT_SOURCES)
            if cursor.rowcount < images:
                cursor.execute(_COUNT_LOST)
                if (cursor.fetchone() or (0,))[0]:
                    raise CatalogUnavailable(DELETED)
            cursor.execute(_FORGET_REFUSALS)
        if images < len(batch):
            cursor.execute(_INSERT_REFUSALS)


def _row(order: int, record: Record) -> tuple[object, ...]:
    archive_id, outcome, file = record
    image = outcome.image
    if image is None:
        verdict = str(outcome.verdict)
        nothing = (None,) * 14
        return (
            *(order, archive_id, outcome.index, outcome.name, None, *nothing),
            *(verdict, outcome.reason, clean(outcome.detail)),
        )
    return (
        order,
        archive_id,
        outcome.index,
        outcome.name,
        _path(file, outcome.name),
        image.sha256,
        image.sha1,
        image.width,
        image.height,
        image.type,
        image.byte_size,
        local_url(image.sha256, image.type),
        image.mode,
        image.frames,
        image.orientation,
        image.captured_at,
        clean(image.captured_offset) if image.captured_offset else None,
        image.dhash,
        [clean(remark) for remark in image.remarks],
        None,
        None,
        None,
    )


def _path(file: str, name: str) -> str | None:
    """Give a file's path below its archive's folder: empty when it is the member's name, as it mostly is."""
    if not file:
        return None
    path = file.partition("/")[2]
    return "" if path == name else path
