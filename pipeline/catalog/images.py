"""Looking images up by their digests."""

from __future__ import annotations

from collections.abc import Collection

import psycopg

from pipeline.records import Image

_TYPES = "SELECT sha256, type FROM image_info WHERE sha256 = ANY(%s)"
_IMAGES = """
SELECT sha256, sha1, type, width, height, byte_size, mode, frames, orientation, captured_at, captured_offset, dhash,
       remarks
FROM image_info WHERE sha256 = ANY(%s)"""
_MADE_OF = """
SELECT count(*) FROM fresh JOIN image_info USING (id) WHERE sha256 = ANY(%s)"""


def types(connection: psycopg.Connection, digests: Collection[bytes]) -> dict[bytes, str]:
    """Give the types of those images that the catalog has."""
    return {bytes(row[0]): row[1] for row in connection.execute(_TYPES, (list(digests),))}


def find(connection: psycopg.Connection, digests: Collection[bytes]) -> dict[bytes, Image]:
    """Give those images that the catalog has."""
    found = {}
    for sha256, sha1, *middle, remarks in connection.execute(_IMAGES, (list(digests),)):
        found[bytes(sha256)] = Image._make((bytes(sha256), bytes(sha1), *middle, tuple(remarks)))
    return found


def made(connection: psycopg.Connection, digests: Collection[bytes]) -> int:
    """Count those images that the batch recorded by this transaction was the first to bring."""
    row = connection.execute(_MADE_OF, (list(digests),)).fetchone()
    return int(row[0]) if row else 0
