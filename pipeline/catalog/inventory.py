"""What the catalog says should be on the disk: images, their places in the extracted tree, and the ledger's sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import psycopg

from pipeline.catalog import changes, schema

PAGE = 1000
ORIGINS = 8
"""Places looked at for the bytes of one image, at most."""


class Shelved(NamedTuple):
    """One image that the store should hold."""

    sha256: bytes
    type: str
    local_url: str


class Placed(NamedTuple):
    """One file that the extracted tree should hold, below its archive's folder."""

    member_index: int
    path: str
    sha256: bytes
    type: str


class Origin(NamedTuple):
    """One place where an image's bytes may be found again; `path` is None where none was extracted."""

    sha256: bytes
    folder: str
    path: str | None
    archive: str
    digest: bytes
    size: int
    member_index: int
    member_name: str
    byte_size: int


class Folder(NamedTuple):
    """One archive of the ledger and its folder below the extracted tree.

    `placed` and `elsewhere` count its sources with and without a file there.
    """

    id: int
    name: str
    folder: str
    state: str
    placed: int
    elsewhere: int


class Account(NamedTuple):
    """What the ledger says of an archive, `told`, and what its rows add up to, `counted`, verdict by verdict."""

    id: int
    digest: bytes
    name: str
    state: str
    members: int
    told: tuple[int, ...]
    counted: tuple[int, ...]


VERDICTS = ("stored", "duplicate", "rejected", "ignored", "failed")
_PATH = "coalesce(nullif(s.path, ''), s.member_name)"
_IDENTITY = "SELECT current_database(), (SELECT min(applied_at)::text FROM schema_version)"
_TOTAL = """
SELECT (SELECT count(*) FROM image_info), (SELECT count(*) FROM image_source WHERE path IS NOT NULL)"""
_SHELVED = "SELECT sha256, type, local_url FROM image_info WHERE sha256 > %s ORDER BY sha256 LIMIT %s"
_RANGE = "SELECT sha256, type FROM image_info WHERE sha256 >= %s AND sha256 <= %s ORDER BY sha256"
_STILL = "SELECT sha256, type FROM image_info WHERE sha256 = ANY(%s)"
_FOLDERS = """
SELECT a.id, a.name, a.folder, a.state, count(s.path), count(*) FILTER (WHERE s.id IS NOT NULL AND s.path IS NULL)
FROM (SELECT * FROM archive WHERE id > %s AND folder <> '' ORDER BY id LIMIT %s) a
LEFT JOIN image_source s ON s.archive_id = a.id
GROUP BY a.id, a.name, a.folder, a.state ORDER BY a.id"""
_STATE = "SELECT state FROM archive WHERE id = %s"
_KNOWN_FOLDERS = "SELECT folder FROM archive WHERE folder = ANY(%s)"
_PLACED = f"""
SELECT s.member_index, {_PATH} AS place, i.sha256, i.type
FROM image_source s JOIN image_info i ON i.id = s.image_id
WHERE s.archive_id = %s AND s.path IS NOT NULL ORDER BY {_PATH} COLLATE "C" """
_NAMED = f"SELECT {_PATH} FROM image_source s WHERE s.archive_id = %s AND {_PATH} = ANY(%s)"
_STILL_PLACED = "SELECT member_index FROM image_source WHERE archive_id = %s AND member_index = ANY(%s)"
_ORIGINS = f"""
SELECT i.sha256, a.folder, CASE WHEN s.path IS NULL THEN NULL ELSE {_PATH} END, a.name, a.digest, a.size,
       s.member_index, s.member_name, i.byte_size
FROM image_info i
CROSS JOIN LATERAL (
    SELECT * FROM image_source o WHERE o.image_id = i.id AND o.archive_id IS NOT NULL ORDER BY o.id LIMIT %s) s
JOIN archive a ON a.id = s.archive_id
WHERE i.sha256 = ANY(%s)"""
_URLS = """
SELECT i.sha256, min(s.url) FROM image_info i JOIN image_source s ON s.image_id = i.id
WHERE i.sha256 = ANY(%s) AND s.url IS NOT NULL GROUP BY 1"""
_COUNTS = ", ".join(f"coalesce(sum(n) FILTER (WHERE verdict = '{verdict}'), 0)" for verdict in VERDICTS)
_ACCOUNTS = f"""
WITH page AS (SELECT * FROM archive WHERE id > %s ORDER BY id LIMIT %s), counted AS (
    SELECT archive_id, verdict, count(*) AS n FROM image_source
    WHERE archive_id IN (SELECT id FROM page) GROUP BY 1, 2
    UNION ALL
    SELECT archive_id, verdict, count(*) FROM unstored_member
    WHERE archive_id IN (SELECT id FROM page) GROUP BY 1, 2)
SELECT a.id, a.digest, a.name, a.state, a.members, {", ".join(f"a.{verdict}" for verdict in VERDICTS)}, {_COUNTS}
FROM page a LEFT JOIN counted c ON c.archive_id = a.id
GROUP BY a.id, a.digest, a.name, a.state, a.members, {", ".join(f"a.{verdict}" for verdict in VERDICTS)}
ORDER BY a.id"""
_REOPEN = "UPDATE archive SET state = 'running', finished_at = NULL WHERE id = %s AND state = 'done'"
_RECOUNT = """
UPDATE archive a SET stored = %s, duplicate = %s, rejected = %s, ignored = %s, failed = %s WHERE id = %s"""
# A session-level lock on one 64-bit key: its halves stand in two columns (pg_locks).
_CLAIMS = """
SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_LEASES = """
SELECT (SELECT count(*) FROM run WHERE state = 'running' AND lease_until > clock_timestamp())
    + (SELECT count(*) FROM claimant WHERE expires_at > clock_timestamp())"""
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'image-pipeline'"""


def identity(connection: psycopg.Connection) -> str:
    """Give what tells this catalog from another, for as long as it lives."""
    return " ".join(str(part) for part in connection.execute(_IDENTITY).fetchone() or ())


def total(connection: psycopg.Connection) -> int:
    """Count the files that there should be."""
    return sum(connection.execute(_TOTAL).fetchone() or ())


def shelved(connection: psycopg.Connection, after: bytes) -> list[Shelved]:
    """Give the next page of images, by ascending SHA-256."""
    rows = connection.execute(_SHELVED, (after, PAGE))
    return [Shelved(bytes(sha256), type_, url) for sha256, type_, url in rows]


def shelved_between(connection: psycopg.Connection, first: bytes, last: bytes) -> Iterator[tuple[bytes, str]]:
    """Stream the images of a range of SHA-256, both ends included, inside the caller's transaction."""
    with connection.cursor("shelved_between") as cursor:
        for sha256, type_ in cursor.execute(_RANGE, (first, last)):
            yield bytes(sha256), type_


def still_shelved(connection: psycopg.Connection, digests: Sequence[bytes]) -> dict[bytes, str]:
    """Tell which images are in the catalog now, with their types."""
    return {bytes(sha256): type_ for sha256, type_ in connection.execute(_STILL, (list(digests),))}


def folders(connection: psycopg.Connection, after: int) -> list[Folder]:
    """Give the next page of archives that have a folder, by ascending id."""
    return [Folder(*row) for row in connection.execute(_FOLDERS, (after, 50))]


def state(connection: psycopg.Connection, archive_id: int) -> str:
    """Give the state of an archive now; empty when it is gone."""
    row = connection.execute(_STATE, (archive_id,)).fetchone()
    return row[0] if row else ""


def known_folders(connection: psycopg.Connection, names: Sequence[str]) -> set[str]:
    """Tell which folders belong to archives of the ledger."""
    return {row[0] for row in connection.execute(_KNOWN_FOLDERS, (list(names),))}


def placed(connection: psycopg.Connection, archive_id: int) -> Iterator[Placed]:
    """Stream an archive's extracted files in the order of the bytes of their paths, inside the caller's transaction."""
    with connection.cursor("placed") as cursor:
        for index, path, sha256, type_ in cursor.execute(_PLACED, (archive_id,)):
            yield Placed(index, path, bytes(sha256), type_)


def named(connection: psycopg.Connection, archive_id: int, paths: Sequence[str]) -> set[str]:
    """Tell which of these paths an archive's rows name now."""
    return {row[0] for row in connection.execute(_NAMED, (archive_id, list(paths)))}


def still_placed(connection: psycopg.Connection, archive_id: int, indexes: Sequence[int]) -> set[int]:
    """Tell which of these members are stored now."""
    return {row[0] for row in connection.execute(_STILL_PLACED, (archive_id, list(indexes)))}


def origins(connection: psycopg.Connection, digests: Sequence[bytes]) -> list[Origin]:
    """Give the members that images came from, a few for each image."""
    rows = connection.execute(_ORIGINS, (ORIGINS, list(digests)))
    return [Origin._make(row) for row in rows]


def urls(connection: psycopg.Connection, digests: Sequence[bytes]) -> dict[bytes, str]:
    """Give a URL that each image came from, for those that came from one."""
    return {bytes(sha256): url for sha256, url in connection.execute(_URLS, (list(digests),))}


def accounts(connection: psycopg.Connection, after: int) -> list[Account]:
    """Give the next page of the ledger with its rows counted anew, by ascending id."""
    return [
        Account(id_, bytes(digest), name, state_, members, tuple(rest[:5]), tuple(map(int, rest[5:])))
        for id_, digest, name, state_, members, *rest in connection.execute(_ACCOUNTS, (after, 200))
    ]


def recount(connection: psycopg.Connection, account: Account) -> None:
    """Write what an archive's rows add up to into its ledger entry."""
    connection.execute(_RECOUNT, (*account.counted, account.id))


def reopen(connection: psycopg.Connection, account: Account) -> None:
    """Open an archive again, so that the next ingest takes the members that have no verdict."""
    connection.execute(_REOPEN, (account.id,))


def claims(connection: psycopg.Connection) -> set[int]:
    """Give the keys that runs hold at this moment: those of their archives, and their own."""
    return {row[0] for row in connection.execute(_CLAIMS)} - {schema.LOCK, changes.LOCK}


def busy(connection: psycopg.Connection) -> bool:
    """Tell whether a run is going on, over this database or through the API."""
    return bool(claims(connection)) or leased(connection)


def leased(connection: psycopg.Connection) -> bool:
    """Tell whether a run is going on through the API."""
    return bool((connection.execute(_LEASES).fetchone() or (0,))[0])


def others(connection: psycopg.Connection) -> bool:
    """Tell whether another program of ours is connected to the catalog."""
    # The server shows one transaction the same picture again and again.
    connection.execute("SELECT pg_stat_clear_snapshot()")
    return bool((connection.execute(_OTHERS).fetchone() or (0,))[0])
