"""Reading images and where they came from: newest first, by digest, by filters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

import psycopg

SOURCES = 50
"""Sources given for an image, the oldest; one picture may be in every archive."""


class ImageRow(NamedTuple):
    """One image of the catalog; `sources` are dicts of archive, member_index, member_name, url, verdict, added_at."""

    id: int
    sha256: bytes
    sha1: bytes
    type: str
    width: int
    height: int
    byte_size: int
    local_url: str
    mode: str
    frames: int
    orientation: int | None
    captured_at: datetime | None
    captured_offset: str | None
    dhash: int | None
    remarks: list[str]
    created_at: datetime
    sources: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Filters:
    """What a listing is narrowed to; `q` is a part of a member's name or of a URL, in any case."""

    type: str | None = None
    min_width: int | None = None
    max_width: int | None = None
    min_height: int | None = None
    max_height: int | None = None
    archive: str | None = None
    sha1: bytes | None = None
    q: str | None = None


_COLUMNS: LiteralString = """i.id, i.sha256, i.sha1, i.type, i.width, i.height, i.byte_size, i.local_url, i.mode,
    i.frames, i.orientation, i.captured_at, i.captured_offset, i.dhash, i.remarks, i.created_at"""
_SOURCES: LiteralString = """
SELECT coalesce(jsonb_agg(to_jsonb(x) - 'id' ORDER BY x.id), '[]') AS sources FROM (
    SELECT s.id, (SELECT a.name FROM archive a WHERE a.id = s.archive_id) AS archive, s.member_index, s.member_name,
        s.url, s.verdict, s.added_at
    FROM image_source s WHERE s.image_id = i.id ORDER BY s.id LIMIT %(sources)s
) AS x"""
_CONDITIONS: dict[str, LiteralString] = {
    "before": "i.id < %(before)s",
    "type": "i.type = %(type)s",
    "min_width": "i.width >= %(min_width)s",
    "max_width": "i.width <= %(max_width)s",
    "min_height": "i.height >= %(min_height)s",
    "max_height": "i.height <= %(max_height)s",
    "sha1": "i.sha1 = %(sha1)s",
    "sha256": "i.sha256 = %(sha256)s",
    # An array, so that an old archive is not looked for among all the newer images.
    "archive": """i.id = ANY(ARRAY(SELECT s.image_id FROM image_source s JOIN archive a ON a.id = s.archive_id
        WHERE left(a.name, 500) = left(%(archive)s, 500) AND a.name = %(archive)s))""",
    "q": """EXISTS (SELECT FROM image_source s WHERE s.image_id = i.id
        AND (s.member_name ILIKE %(q)s OR s.url ILIKE %(q)s))""",
}


def listing(limit: int, before: int | None, filters: Filters) -> tuple[LiteralString, dict[str, object]]:
    """Give the SQL and parameters of a listing, for any kind of connection; only filters that are set cost."""
    asked: dict[str, object] = {"before": before}
    asked |= {name: getattr(filters, name) for name in Filters.__dataclass_fields__}
    if filters.q is not None:
        escaped = filters.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        asked["q"] = f"%{escaped}%"
    return _select(asked, limit)


def _select(asked: dict[str, object], limit: int) -> tuple[LiteralString, dict[str, object]]:
    active = {name: value for name, value in asked.items() if value is not None}
    where = " AND ".join(_CONDITIONS[name] for name in active) or "true"
    page = f"SELECT {_COLUMNS} FROM image_info i WHERE {where} ORDER BY i.id DESC LIMIT %(limit)s"
    query = f"""WITH i AS MATERIALIZED ({page})
SELECT {_COLUMNS}, found.sources FROM i CROSS JOIN LATERAL ({_SOURCES}) AS found ORDER BY i.id DESC"""
    return query, {**active, "limit": limit, "sources": SOURCES}


def list_images(
    connection: psycopg.Connection, limit: int, before: int | None = None, filters: Filters | None = None
) -> list[ImageRow]:
    """Give the newest images below the id `before`; the last one's id is the next `before`."""
    return _rows(connection, *listing(limit, before, filters or Filters()))


def get_image(connection: psycopg.Connection, digest: bytes) -> ImageRow | None:
    """Give the image with a SHA-256 (32 bytes) or a SHA-1 (20 bytes; the newest, should two collide)."""
    name = "sha256" if len(digest) == 32 else "sha1"
    found = _rows(connection, *_select({name: digest}, 1))
    return found[0] if found else None


def _rows(connection: psycopg.Connection, query: LiteralString, asked: dict[str, object]) -> list[ImageRow]:
    with connection.cursor() as cursor:
        return [ImageRow(*row) for row in cursor.execute(query, asked)]
