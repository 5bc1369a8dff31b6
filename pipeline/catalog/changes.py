"""Changing the catalog one image at a time, or all of it: images by URL, and deletion."""

from __future__ import annotations

from typing import LiteralString, NamedTuple

import psycopg
from psycopg import errors

from pipeline.catalog.batch import clean
from pipeline.errors import CatalogUnavailable
from pipeline.records import Image
from pipeline.store import local_url


class Deleted(NamedTuple):
    """How much was deleted."""

    images: int
    sources: int
    archives: int


INSERT_IMAGE: LiteralString = """
INSERT INTO image_info (sha256, sha1, width, height, type, byte_size, local_url, mode, frames, orientation,
    captured_at, captured_offset, dhash, remarks)
VALUES (%(sha256)s, %(sha1)s, %(width)s, %(height)s, %(type)s, %(byte_size)s, %(local_url)s, %(mode)s, %(frames)s,
    %(orientation)s, %(captured_at)s, %(captured_offset)s, %(dhash)s, %(remarks)s)
ON CONFLICT (sha256) DO NOTHING"""
INSERT_URL: LiteralString = """
INSERT INTO image_source (image_id, url, verdict)
SELECT id, %(url)s, CASE WHEN %(created)s THEN 'stored' ELSE 'duplicate' END FROM image_info WHERE sha256 = %(sha256)s
ON CONFLICT (image_id, md5(url)) WHERE url IS NOT NULL DO NOTHING"""
IMAGE_EXISTS: LiteralString = "SELECT FROM image_info WHERE sha256 = %(sha256)s"
DELETE_BY_SHA256: LiteralString = "DELETE FROM image_info WHERE sha256 = %(digest)s RETURNING local_url"
DELETE_BY_SHA1: LiteralString = "DELETE FROM image_info WHERE sha1 = %(digest)s RETURNING local_url"
LOCK_ALL: LiteralString = (
    "LOCK TABLE image_info, image_source, unstored_member, archive, archive_file IN ACCESS EXCLUSIVE MODE"
)
COUNT_ALL: LiteralString = """
SELECT (SELECT count(*) FROM image_info), (SELECT count(*) FROM image_source), (SELECT count(*) FROM archive)"""
# Numbers go on: a program that still holds an old one must not meet another archive under it.
DELETE_ALL: LiteralString = """
TRUNCATE image_info, image_source, unstored_member, archive, archive_file CONTINUE IDENTITY"""


def insert_url_source(connection: psycopg.Connection, image: Image, url: str) -> bool:
    """Record an image and the URL it came from, inside the caller's transaction; tells whether the image is new.

    The URL is kept also for an image that is known, once. Raises `CatalogUnavailable` when the image was
    deleted at the same moment, so that the caller tries again.
    """
    asked = {
        **image._asdict(),
        "local_url": local_url(image.sha256, image.type),
        "captured_offset": clean(image.captured_offset) if image.captured_offset else None,
        "remarks": [clean(remark) for remark in image.remarks],
        "url": clean(url),
    }
    created = connection.execute(INSERT_IMAGE, asked).rowcount == 1
    try:
        connection.execute(INSERT_URL, {**asked, "created": created})
        kept = connection.execute(IMAGE_EXISTS, asked).rowcount
    except errors.ForeignKeyViolation as error:
        raise CatalogUnavailable("The image was deleted while it was recorded.") from error
    if not kept:
        raise CatalogUnavailable("The image was deleted while it was recorded.")
    return created


def delete_image(connection: psycopg.Connection, digest: bytes) -> list[str]:
    """Delete the image with a SHA-256, or all with a SHA-1; answers their local URLs, for the files to follow."""
    query = DELETE_BY_SHA256 if len(digest) == 32 else DELETE_BY_SHA1
    return [row[0] for row in connection.execute(query, {"digest": digest})]


def delete_all(connection: psycopg.Connection) -> Deleted:
    """Empty the catalog, inside the caller's transaction: images, sources, ledger.

    Waits for running batches; an ingest that goes on afterwards learns that its archive is gone.
    """
    connection.execute(LOCK_ALL)
    row = connection.execute(COUNT_ALL).fetchone() or (0, 0, 0)
    connection.execute(DELETE_ALL)
    return Deleted(*row)
