"""The history of runs, those that died included.

A run that works on this database holds a session-level advisory lock for as long as it lives, which Postgres
frees however it ends. One that comes through the API renews `lease_until` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg

from pipeline.history import Ending, Run
from pipeline.records import ArchiveVerdict, Balance, clean

_KEY = "hashtextextended(id::text, 0)"
_BEGIN = """
INSERT INTO run (id, command, sink, host, pid, state, lease_until)
VALUES (%(id)s, %(command)s, %(sink)s, %(host)s, %(pid)s, 'running',
    clock_timestamp() + make_interval(secs => %(lease)s)) ON CONFLICT (id) DO NOTHING"""
_RENEW = """
UPDATE run SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s), state = 'running', finished = NULL
WHERE id = %(id)s AND lease_until IS NOT NULL AND state IN ('running', 'died')"""
_END = """
UPDATE run SET state = %(state)s, finished = statement_timestamp(),
    started = coalesce(statement_timestamp() - make_interval(secs => %(seconds)s::float8), started),
    exit_code = %(code)s, message = %(message)s,
    archives_done = %(done)s, archives_known = %(known)s, archives_rejected = %(refused)s,
    archives_failed = %(undelivered)s, archives_waiting = %(waiting)s,
    members = %(members)s, stored = %(stored)s, duplicate = %(duplicate)s, rejected = %(rejected)s,
    ignored = %(ignored)s, failed = %(failed)s
WHERE id = %(id)s"""
# The other's lock is only tried for this transaction; whoever gets it knows that its holder is gone.
_BURY = f"""
UPDATE run SET state = 'died', finished = clock_timestamp()
WHERE state = 'running' AND id IS DISTINCT FROM %s
AND CASE WHEN lease_until IS NULL THEN pg_try_advisory_xact_lock({_KEY}) ELSE lease_until < clock_timestamp() END"""
_REVIVE = "UPDATE run SET state = 'running', finished = NULL WHERE id = %s AND state = 'died'"
_RECENT = """
SELECT id, command, sink, host, pid, state, started, finished, exit_code, message,
    archives_done, archives_known, archives_rejected, archives_failed, archives_waiting,
    members, stored, duplicate, rejected, ignored, failed
FROM run ORDER BY started DESC, id LIMIT %s"""


class RunRow(NamedTuple):
    """One run of the history."""

    id: UUID
    command: str
    sink: str
    host: str
    pid: int
    state: str
    started: datetime
    finished: datetime | None
    exit_code: int | None
    message: str
    archives: dict[str, int]
    balance: Balance


def hold(connection: psycopg.Connection, run: Run) -> None:
    """Take the lock that says that a run lives, for as long as the connection does.

    One that another took for dead while its connection was broken is alive again.
    """
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s::uuid::text, 0))", (run.id,))
    connection.execute(_REVIVE, (run.id,))


def begin(connection: psycopg.Connection, run: Run, lease: float | None = None) -> None:
    """Note that a run begins, and that others died; repeating it changes nothing.

    A run that does not `hold` a lock has a lease instead, in seconds, to be renewed.
    """
    bury(connection, run)
    values = {
        "id": run.id,
        "command": run.command,
        "sink": run.sink,
        "host": run.host,
        "pid": run.pid,
        "lease": lease,
    }
    connection.execute(_BEGIN, values)


def renew(connection: psycopg.Connection, run: UUID, lease: float) -> None:
    """Prolong a run's lease in seconds; one that was taken for dead lives again."""
    connection.execute(_RENEW, {"id": run, "lease": lease})


def end(connection: psycopg.Connection, run: Run, ending: Ending) -> None:
    """Note how a run ended, and by this clock when it began: before it had reached the database."""
    count = ending.archives
    balance = ending.balance
    values = {
        "id": run.id,
        "state": ending.state.value,
        "code": ending.exit_code,
        "message": clean(ending.message),
        "seconds": ending.seconds,
        "done": count.get(ArchiveVerdict.DONE, 0),
        "known": count.get(ArchiveVerdict.KNOWN, 0),
        "refused": count.get(ArchiveVerdict.REJECTED, 0),
        "undelivered": count.get(ArchiveVerdict.FAILED, 0),
        "waiting": count.get(ArchiveVerdict.WAITING, 0),
        "members": balance.members,
        "stored": balance.stored,
        "duplicate": balance.duplicate,
        "rejected": balance.rejected,
        "ignored": balance.ignored,
        "failed": balance.failed,
    }
    connection.execute(_END, values)


def bury(connection: psycopg.Connection, own: Run | None = None) -> int:
    """Mark runs that ended without a word as died; answers how many. `own` is alive."""
    return connection.execute(_BURY, (own.id if own else None,)).rowcount


def recent(connection: psycopg.Connection, limit: int) -> Iterator[RunRow]:
    """Yield the last runs, the newest first."""
    for row in connection.execute(_RECENT, (limit,)):
        archives = {verdict.value: count for verdict, count in zip(ArchiveVerdict, row[10:15], strict=True)}
        yield RunRow._make((*row[:10], archives, Balance(*row[15:])))
