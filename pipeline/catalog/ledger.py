"""The ledger: which archives are known, open, done; and what an interrupted run recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg

from pipeline.reasons import DAMAGE
from pipeline.records import Archive, ArchiveResult, Balance, Entry, FileIdentity, Recorded, State, Verdict

PAGE = 5000

_KNOWN = """
SELECT f.name, f.size, f.mtime_ns, f.inode::text
FROM unnest(%s::text[], %s::int8[], %s::int8[], %s::numeric[]) AS asked (name, size, mtime_ns, inode)
JOIN archive_file f USING (name, size, mtime_ns, inode)
JOIN archive a ON a.id = f.archive_id AND a.state = 'done'"""
_REGISTER = """
INSERT INTO archive (digest, name, folder, state, size, members) VALUES (%s, %s, %s, 'running', %s, %s)
ON CONFLICT (digest) DO NOTHING RETURNING id"""
_LOOK_UP = """
SELECT a.id, a.state, a.folder, a.damaged,
       EXISTS (SELECT FROM archive_file f WHERE (f.name, f.size, f.mtime_ns, f.inode) = (%s, %s, %s, %s))
FROM archive a WHERE a.digest = %s"""
_REOPEN = """
UPDATE archive SET state = 'running', reason = '', detail = '', members = %s, folder = %s, name = %s WHERE id = %s"""
_REMEMBER = """
INSERT INTO archive_file (name, size, mtime_ns, inode, archive_id) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (name, size, mtime_ns, inode) DO UPDATE SET archive_id = excluded.archive_id"""
_RECORDED = """
SELECT s.member_index, i.sha256, i.type, s.verdict, ''
FROM image_source s JOIN image_info i ON i.id = s.image_id
WHERE s.archive_id = %(archive)s AND s.member_index > %(after)s
UNION ALL
SELECT member_index, ''::bytea, '', verdict, reason FROM unstored_member
WHERE archive_id = %(archive)s AND member_index > %(after)s AND reason <> ALL(%(damage)s)
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
    state = CASE WHEN b.total = a.members THEN 'done' ELSE a.state END,
    finished_at = CASE WHEN b.total = a.members THEN now() ELSE a.finished_at END
FROM balance b WHERE b.id = a.id
RETURNING a.id, a.members, a.stored, a.duplicate, a.rejected, a.ignored, a.failed"""
_REFUSE = """
INSERT INTO archive (digest, name, state, reason, detail, size) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (digest) DO UPDATE SET state = excluded.state, reason = excluded.reason, detail = excluded.detail
WHERE archive.state <> 'done'"""


def known(connection: psycopg.Connection, files: Sequence[FileIdentity]) -> set[FileIdentity]:
    """Tell which files are deliveries of archives that are done."""
    names, sizes, times, inodes = ([file[column] for file in files] for column in range(4))
    rows = connection.execute(_KNOWN, (names, sizes, times, [str(inode) for inode in inodes])).fetchall()
    return {FileIdentity(name, size, mtime_ns, int(inode)) for name, size, mtime_ns, inode in rows}


def open_archive(connection: psycopg.Connection, archive: Archive) -> Entry:
    """Register an archive, or reopen one that is not done or may be cured; the caller holds its claim."""
    file = archive.file
    made = connection.execute(
        _REGISTER, (archive.digest, archive.name, archive.folder, file.size, archive.members)
    ).fetchone()
    if made:
        entry = Entry(made[0], archive, State.NEW, archive.folder)
    else:
        row = connection.execute(_LOOK_UP, (*file, archive.digest)).fetchone()
        if row is None:
            raise psycopg.errors.SerializationFailure("the archive was deleted at the same moment")
        id_, state, folder, damaged, seen = row
        if state == "done" and (not damaged or seen):
            entry = Entry(id_, archive, State.DONE, folder)
        else:
            folder = folder or archive.folder
            connection.execute(_REOPEN, (archive.members, folder, archive.name, id_))
            entry = Entry(id_, archive, State.RUNNING, folder)
    connection.execute(_REMEMBER, (*file, entry.id))
    return entry


def recorded(connection: psycopg.Connection, archive_id: int, after: int) -> Iterator[Recorded]:
    """Yield the next page of what is recorded of an archive, but for refusals that a good copy may cure."""
    asked = {"archive": archive_id, "after": after, "damage": list(DAMAGE), "page": PAGE}
    for index, sha256, type_, verdict, reason in connection.execute(_RECORDED, asked):
        yield Recorded(index, bytes(sha256), type_, Verdict(verdict), reason)


def finish(connection: psycopg.Connection, ids: Sequence[int]) -> dict[int, Balance]:
    """Count archives' members, close those whose balance closes, and give the balances by id."""
    asked = {"ids": list(ids), "damage": list(DAMAGE)}
    return {row[0]: Balance(*row[1:]) for row in connection.execute(_FINISH, asked)}


def refuse(connection: psycopg.Connection, file: FileIdentity, digest: bytes, result: ArchiveResult) -> None:
    """Note that an archive was refused whole or failed; a done one stays done."""
    values = (digest, result.name, result.verdict.value, result.reason, result.detail, file.size)
    connection.execute(_REFUSE, values)
