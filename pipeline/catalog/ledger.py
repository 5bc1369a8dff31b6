"""The ledger: which archives are known, open, done; and what an interrupted run recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from decimal import Decimal

import psycopg

from pipeline.catalog.changes import hold_off
from pipeline.reasons import DAMAGE
from pipeline.records import Archive, ArchiveResult, Balance, Entry, FileIdentity, Recorded, State, Verdict

PAGE = 5000
NAME_LENGTH = 500

_FILES = "unnest(%(names)s::text[], %(sizes)s::int8[], %(times)s::int8[], %(inodes)s::numeric[])"
_KNOWN = f"""
SELECT asked.n FROM {_FILES} WITH ORDINALITY AS asked (name, size, mtime_ns, inode, n)
JOIN archive_file f USING (name, size, mtime_ns, inode)
JOIN archive a ON a.id = f.archive_id AND a.state = 'done'"""
# Sorted, so that two runs that register the same archives wait for each other instead of deadlocking.
_REGISTER = """
INSERT INTO archive (digest, name, folder, state, size, members)
SELECT digest, title, folder, 'running', size, members
FROM unnest(%(digests)s::bytea[], %(titles)s::text[], %(folders)s::text[], %(sizes)s::int8[], %(members)s::int4[])
    AS asked (digest, title, folder, size, members)
ORDER BY digest
ON CONFLICT (digest) DO NOTHING RETURNING digest"""
_LOOK_UP = f"""
SELECT a.digest, a.id, a.state, a.folder, a.damaged > 0 AND NOT EXISTS (
    SELECT FROM archive_file f WHERE f.archive_id = a.id
    AND (f.name, f.size, f.mtime_ns, f.inode) = (asked.name, asked.size, asked.mtime_ns, asked.inode))
FROM {_FILES} WITH ORDINALITY AS asked (name, size, mtime_ns, inode, n)
JOIN unnest(%(digests)s::bytea[]) WITH ORDINALITY AS named (digest, n) USING (n)
JOIN archive a ON a.digest = named.digest
ORDER BY asked.n"""
_REOPEN = """
UPDATE archive a SET state = 'running', reason = '', detail = '', finished_at = NULL,
    members = asked.members, folder = asked.folder, name = asked.title
FROM unnest(%(ids)s::int8[], %(members)s::int4[], %(folders)s::text[], %(titles)s::text[])
    AS asked (id, members, folder, title)
WHERE a.id = asked.id"""
# A refusal of the whole file is out of date once the same file can be opened.
_FORGET_REFUSAL = """
DELETE FROM archive a USING unnest(%(digests)s::bytea[], %(titles)s::text[], %(sizes)s::int8[])
    AS asked (digest, title, size)
WHERE left(a.name, 500) = left(asked.title, 500) AND a.name = asked.title AND a.size = asked.size
    AND a.digest <> asked.digest AND a.state IN ('rejected', 'failed') AND a.members = 0"""
_REMEMBER = f"""
INSERT INTO archive_file (name, size, mtime_ns, inode, archive_id)
SELECT DISTINCT ON (name, size, mtime_ns, inode) name, size, mtime_ns, inode, id
FROM {_FILES} WITH ORDINALITY AS asked (name, size, mtime_ns, inode, n)
JOIN unnest(%(ids)s::int8[]) WITH ORDINALITY AS owner (id, n) USING (n)
ORDER BY name, size, mtime_ns, inode, n DESC
ON CONFLICT (name, size, mtime_ns, inode) DO UPDATE SET archive_id = excluded.archive_id
WHERE archive_file.archive_id <> excluded.archive_id"""
_RECORDED = """
SELECT s.member_index, i.sha256, i.type, s.verdict, ''
FROM image_source s JOIN image_info i ON i.id = s.image_id
WHERE s.archive_id = %(archive)s AND s.member_index > %(after)s
UNION ALL
SELECT member_index, ''::bytea, '', verdict, reason FROM unstored_member
WHERE archive_id = %(archive)s AND member_index > %(after)s AND reason <> ALL(%(damage)s) AND NOT again
ORDER BY 1 LIMIT %(page)s"""
_FINISH = """
WITH counted AS (
    SELECT archive_id, verdict, count(*) AS n, 0::int8 AS damaged FROM image_source
    WHERE archive_id = ANY(%(ids)s) GROUP BY 1, 2
    UNION ALL
    SELECT archive_id, verdict, count(*), count(*) FILTER (WHERE reason = ANY(%(damage)s)) FROM unstored_member
    WHERE archive_id = ANY(%(ids)s) GROUP BY 1, 2
), balance AS (
    SELECT a.id,
           coalesce(sum(n) FILTER (WHERE verdict = 'stored'), 0) AS stored,
           coalesce(sum(n) FILTER (WHERE verdict = 'duplicate'), 0) AS duplicate,
           coalesce(sum(n) FILTER (WHERE verdict = 'rejected'), 0) AS rejected,
           coalesce(sum(n) FILTER (WHERE verdict = 'ignored'), 0) AS ignored,
           coalesce(sum(n) FILTER (WHERE verdict = 'failed'), 0) AS failed,
           coalesce(sum(c.damaged), 0) AS damaged,
           coalesce(sum(n), 0) AS total
    FROM archive a LEFT JOIN counted c ON c.archive_id = a.id WHERE a.id = ANY(%(ids)s) GROUP BY a.id
)
UPDATE archive a SET stored = b.stored, duplicate = b.duplicate, rejected = b.rejected, ignored = b.ignored,
    failed = b.failed, damaged = b.damaged,
    state = CASE WHEN %(close)s AND b.total = a.members AND b.failed = 0 THEN 'done' ELSE a.state END,
    finished_at = CASE WHEN %(close)s AND b.total = a.members AND b.failed = 0 THEN now() ELSE a.finished_at END
FROM balance b WHERE b.id = a.id
RETURNING a.id, a.members, a.stored, a.duplicate, a.rejected, a.ignored, a.failed"""
# Whatever the server's default: this commit, and with it every batch before it, is on the disk when it returns.
_DURABLE = """
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"""
_REFUSE = """
INSERT INTO archive (digest, name, state, reason, detail, size) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (digest) DO UPDATE SET state = excluded.state, reason = excluded.reason, detail = excluded.detail
WHERE archive.state <> 'done'"""


def known(connection: psycopg.Connection, files: Sequence[FileIdentity]) -> set[FileIdentity]:
    """Tell which files are deliveries of archives that are done."""
    return {files[row[0] - 1] for row in connection.execute(_KNOWN, _columns(files))}


def open_archives(connection: psycopg.Connection, archives: Sequence[Archive]) -> list[Entry]:
    """Register archives, or reopen those that are not done or may be cured; the caller holds their claims."""
    asked = {
        **_columns([archive.file for archive in archives]),
        "digests": [archive.digest for archive in archives],
        "titles": [archive.name for archive in archives],
        "folders": [archive.folder for archive in archives],
        "members": [archive.members for archive in archives],
    }
    made = {bytes(row[0]) for row in connection.execute(_REGISTER, asked)}
    found = connection.execute(_LOOK_UP, asked).fetchall()
    if len(found) != len(archives):
        raise psycopg.errors.SerializationFailure("an archive was deleted at the same moment")
    entries = []
    for archive, (digest, id_, state, folder, curable) in zip(archives, found, strict=True):
        now = State.DONE if state == "done" and not curable else State.RUNNING
        now = State.NEW if bytes(digest) in made else now
        made.discard(bytes(digest))
        entries.append(Entry(id_, archive, now, folder or archive.folder))
    connection.execute(_FORGET_REFUSAL, asked)
    _reopen(connection, [entry for entry in entries if entry.state is State.RUNNING])
    connection.execute(_REMEMBER, {**asked, "ids": [entry.id for entry in entries]})
    return entries


def _reopen(connection: psycopg.Connection, entries: Sequence[Entry]) -> None:
    if entries:
        asked = {
            "ids": [entry.id for entry in entries],
            "members": [entry.archive.members for entry in entries],
            "folders": [entry.folder for entry in entries],
            "titles": [entry.archive.name for entry in entries],
        }
        connection.execute(_REOPEN, asked)


def recorded(connection: psycopg.Connection, archive_id: int, after: int) -> Iterator[Recorded]:
    """Yield the next page of what is recorded of an archive, but for refusals that a good copy may cure."""
    asked = {"archive": archive_id, "after": after, "damage": list(DAMAGE), "page": PAGE}
    for index, sha256, type_, verdict, reason in connection.execute(_RECORDED, asked):
        yield Recorded(index, bytes(sha256), type_, Verdict(verdict), reason)


def finish(connection: psycopg.Connection, ids: Sequence[int], *, close: bool = True) -> dict[int, Balance]:
    """Count archives' members, close those whose balance closes if wished, and give the balances by id.

    An archive with failed members stays open, so that the next run tries them again. Who deletes an image takes
    its members from the counts of archives that are done: none may be deleted between being counted and that.
    """
    asked = {"ids": list(ids), "damage": list(DAMAGE), "close": close}
    hold_off(connection)
    make_durable(connection)
    return {row[0]: Balance(*row[1:]) for row in connection.execute(_FINISH, asked)}


def make_durable(connection: psycopg.Connection) -> None:
    """Have this transaction's commit wait for the disk, and with it every commit before it."""
    connection.execute(_DURABLE)


def refuse(connection: psycopg.Connection, file: FileIdentity, digest: bytes, result: ArchiveResult) -> None:
    """Note that an archive was refused whole or failed; a done one stays done."""
    values = (digest, result.name, result.verdict.value, result.reason, result.detail, file.size)
    connection.execute(_REFUSE, values)


def _columns(files: Sequence[FileIdentity]) -> dict[str, list[object]]:
    """Give files as one list a column, in what Postgres can index.

    A name may have 4,096 bytes, an index row only 2,704. A time beyond the year 2262 wraps around.
    """
    return {
        "names": [_indexable(file.name) for file in files],
        "sizes": [file.size for file in files],
        "times": [(file.mtime_ns + (1 << 63)) % (1 << 64) - (1 << 63) for file in files],
        "inodes": [Decimal(file.inode) for file in files],
    }


def _indexable(name: str) -> str:
    if len(name) <= NAME_LENGTH:
        return name
    return f"{name[:NAME_LENGTH]}#{hashlib.sha256(name.encode()).hexdigest()}"
