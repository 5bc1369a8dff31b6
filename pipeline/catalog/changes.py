"""Changing the catalog one image at a time, or all of it: images by URL, and deletion.

Files go after their rows, so that no row is ever without its file. An advisory lock keeps others from recording
meanwhile: it is held alone from before rows are deleted until their files are gone, and shared by whoever records
an image after having seen that its file is there. A direct run of the pipeline records long after it wrote a file;
it shares the lock when it opens an archive, and learns from `deleted_image` what was deleted since.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import errors

from pipeline.database import translated
from pipeline.errors import CatalogUnavailable
from pipeline.records import Image, clean
from pipeline.store import local_url

LOCK = 0x66696C6573
"""The advisory lock between recording and deleting ("files" in ASCII)."""


class Deleted(NamedTuple):
    """How much was deleted, and the folders below the extracted tree that went with their archives."""

    images: int
    sources: int
    archives: int
    folders: tuple[str, ...] = ()


class DeletedImage(NamedTuple):
    """One image that was deleted, how many sources it had, and the folders of archives that held it."""

    sha256: bytes
    type: str
    sources: int
    folders: tuple[str, ...]


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
LOOK_UP: LiteralString = """
SELECT i.sha256, i.type, count(s.id), array_remove(array_agg(DISTINCT a.folder), NULL)
FROM image_info i LEFT JOIN image_source s ON s.image_id = i.id LEFT JOIN archive a ON a.id = s.archive_id
WHERE i.sha256 = %(digest)s OR i.sha1 = %(digest)s
GROUP BY i.id ORDER BY i.id"""
DELETE_IMAGES: LiteralString = "DELETE FROM image_info WHERE sha256 = ANY(%(digests)s)"
# The account of an archive stays closed: what was a source of the image is a member that was left out.
STRIKE_OUT: LiteralString = """
WITH struck AS (
    INSERT INTO unstored_member (archive_id, member_index, member_name, verdict, reason)
    SELECT s.archive_id, s.member_index, s.member_name, 'ignored', 'deleted'
    FROM image_source s JOIN image_info i ON i.id = s.image_id
    WHERE i.sha256 = ANY(%(digests)s) AND s.archive_id IS NOT NULL
    ON CONFLICT (archive_id, member_index) DO NOTHING RETURNING archive_id, member_index
), counted AS (
    SELECT k.archive_id, count(*) AS n, count(*) FILTER (WHERE s.verdict = 'stored') AS stored
    FROM struck k JOIN image_source s USING (archive_id, member_index) GROUP BY 1
)
UPDATE archive a SET stored = a.stored - c.stored, duplicate = a.duplicate - (c.n - c.stored), ignored = a.ignored + c.n
FROM counted c WHERE a.id = c.archive_id AND a.state = 'done'"""
BURY: LiteralString = """
INSERT INTO deleted_image (sha256) SELECT unnest(%(digests)s::bytea[])
ON CONFLICT (sha256) DO UPDATE SET number = DEFAULT"""
TABLES: LiteralString = (
    "image_info, image_source, unstored_member, archive, archive_file, archive_claim, deleted_image"
)
LOCK_ALL: LiteralString = f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE"
COUNT_ALL: LiteralString = """
SELECT (SELECT count(*) FROM image_info), (SELECT count(*) FROM image_source), (SELECT count(*) FROM archive),
    (SELECT coalesce(array_agg(folder), '{}') FROM archive WHERE folder <> '')"""
# Numbers go on: a program that still holds an old one must not meet another archive under it.
DELETE_ALL: LiteralString = f"TRUNCATE {TABLES} CONTINUE IDENTITY"


@contextlib.contextmanager
def alone(connection: psycopg.Connection) -> Iterator[None]:
    """Keep others from recording images, also after commits; on a connection that is in no transaction."""
    with translated():
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        connection.commit()
        try:
            yield
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
            connection.commit()


def share(connection: psycopg.Connection) -> None:
    """Keep others from deleting until the caller's transaction ends; whoever records looks for the files after this.

    Raises `CatalogUnavailable` while somebody deletes.
    """
    row = connection.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", (LOCK,)).fetchone()
    if not (row and row[0]):
        raise CatalogUnavailable("Images are being deleted.")


def hold_off(connection: psycopg.Connection) -> None:
    """Wait until nobody deletes, and keep others from it until the caller's transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (LOCK,))


def await_deletion(connection: psycopg.Connection) -> int:
    """Hold deletions off; give the number of the last one. Files written afterwards stay."""
    hold_off(connection)
    row = connection.execute("SELECT coalesce(max(number), 0) FROM deleted_image").fetchone()
    return int(row[0]) if row else 0


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


def delete_image(connection: psycopg.Connection, digest: bytes) -> list[DeletedImage]:
    """Delete the image with a SHA-256, or all with a SHA-1, in a transaction; the caller is `alone`.

    Members that it came from are `ignored` as `deleted` from then on, so that their archives' balances stay closed.
    """
    with connection.transaction():
        rows = connection.execute(LOOK_UP, {"digest": digest}).fetchall()
        digests = [bytes(row[0]) for row in rows]
        connection.execute(STRIKE_OUT, {"digests": digests})
        connection.execute(DELETE_IMAGES, {"digests": digests})
        connection.execute(BURY, {"digests": digests})
    return [DeletedImage(bytes(sha256), type_, count, tuple(names)) for sha256, type_, count, names in rows]


def delete_all(connection: psycopg.Connection) -> Deleted:
    """Empty the catalog in a transaction: images, sources, ledger; the caller is `alone`.

    Waits for running batches; an ingest that goes on afterwards learns that its archive is gone.
    """
    with connection.transaction():
        connection.execute(LOCK_ALL)
        row = connection.execute(COUNT_ALL).fetchone()
        images, sources, archives, folders = row or (0, 0, 0, [])
        connection.execute(DELETE_ALL)
    return Deleted(images, sources, archives, tuple(folders))
