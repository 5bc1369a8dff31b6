"""Claims of runs that come through the API: leases, told apart from the advisory locks of direct runs.

A run that holds a lease is known by its id; its host and process let a later run on the same host see that it
died. All times are the database's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import LiteralString, NamedTuple
from uuid import UUID

import psycopg

LEASE_SECONDS = 60
RENEW_SECONDS = 15
"""A lease is not written again when it was so short a time ago: batches of one run would wait for each other."""


class Claimant(NamedTuple):
    """A run that holds archives: its id, the host it runs on, and the process it is there."""

    run: UUID
    host: str
    process: str


_RENEW: LiteralString = """
INSERT INTO claimant (run, host, process, expires_at)
VALUES (%(run)s, %(host)s, %(process)s, clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (run) DO UPDATE SET expires_at = excluded.expires_at"""
_KEEP: LiteralString = """
UPDATE claimant SET expires_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE run = %(run)s AND expires_at < clock_timestamp() + make_interval(secs => %(lease)s - %(renew)s)"""
_BURY: LiteralString = "DELETE FROM claimant WHERE run = ANY(%(runs)s) AND host = %(host)s AND run <> %(run)s"
_FORGET: LiteralString = "DELETE FROM claimant WHERE expires_at < clock_timestamp() - interval '1 day'"
_LOCK: LiteralString = """
SELECT key FROM unnest(%(keys)s::int8[]) AS asked (key) WHERE pg_try_advisory_xact_lock(key)"""
_HELD: LiteralString = """
SELECT a.digest, c.run, c.host, c.process FROM archive a
JOIN archive_claim k ON k.archive_id = a.id JOIN claimant c USING (run)
WHERE a.digest = ANY(%(digests)s) AND c.expires_at > clock_timestamp()"""
_CLAIM: LiteralString = """
INSERT INTO archive_claim (archive_id, run) SELECT DISTINCT unnest(%(ids)s::int8[]), %(run)s::uuid
ON CONFLICT (archive_id) DO UPDATE SET run = excluded.run"""
_FOREIGN: LiteralString = """
SELECT id, a.digest, coalesce(c.expires_at > clock_timestamp(), false)
FROM unnest(%(ids)s::int8[]) AS asked (id) LEFT JOIN archive a USING (id)
LEFT JOIN archive_claim k ON k.archive_id = id LEFT JOIN claimant c USING (run)
WHERE k.run IS DISTINCT FROM %(run)s"""
_SHARE: LiteralString = "SELECT pg_try_advisory_xact_lock_shared(%s)"


def key(digest: bytes) -> int:
    """Give the advisory lock of an archive."""
    return int.from_bytes(digest[:8], "big", signed=True)


def renew(connection: psycopg.Connection, claimant: Claimant, dead: Collection[UUID] = ()) -> None:
    """Begin or prolong a run's lease, and end those of runs on its host that it has seen to be dead."""
    asked = {**claimant._asdict(), "lease": LEASE_SECONDS, "runs": list(dead)}
    if dead:
        connection.execute(_BURY, asked)
    connection.execute(_FORGET)
    connection.execute(_RENEW, asked)


def keep(connection: psycopg.Connection, run: UUID) -> bool:
    """Prolong a run's lease when it is time to; tells whether there is such a run."""
    connection.execute(_KEEP, {"run": run, "lease": LEASE_SECONDS, "renew": RENEW_SECONDS})
    return connection.execute("SELECT FROM claimant WHERE run = %s", (run,)).rowcount == 1


def contested(
    connection: psycopg.Connection, digests: Sequence[bytes], run: UUID
) -> dict[bytes, Claimant | None]:
    """Lock archives for this transaction; answers which ones another run holds, and which run where it is known."""
    rows = connection.execute(_LOCK, {"keys": [key(digest) for digest in digests]}).fetchall()
    free = {row[0] for row in rows}
    found: dict[bytes, Claimant | None] = {digest: None for digest in digests if key(digest) not in free}
    return {**found, **{digest: by for digest, by in held(connection, digests).items() if by.run != run}}


def held(connection: psycopg.Connection, digests: Sequence[bytes]) -> dict[bytes, Claimant]:
    """Tell which archives are held by a lease that has not run out, and by whom."""
    rows = connection.execute(_HELD, {"digests": list(digests)})
    return {bytes(digest): Claimant(run, host, process) for digest, run, host, process in rows}


def bury(connection: psycopg.Connection, dead: Collection[UUID]) -> None:
    """End the leases of runs that were seen to be dead."""
    connection.execute("DELETE FROM claimant WHERE run = ANY(%s)", (list(dead),))


def claim(connection: psycopg.Connection, ids: Sequence[int], run: UUID) -> None:
    """Give archives to a run; the caller has seen to it that no other holds them."""
    connection.execute(_CLAIM, {"ids": list(ids), "run": run})


def seize(connection: psycopg.Connection, ids: Sequence[int]) -> None:
    """End what is left of leases on archives that a direct run has taken over."""
    connection.execute("DELETE FROM archive_claim WHERE archive_id = ANY(%s)", (list(ids),))


def lost(connection: psycopg.Connection, ids: Collection[int], run: UUID) -> list[int]:
    """Tell which archives another run holds, or are gone; a run may repeat itself on those that nobody holds."""
    gone = []
    for id_, digest, leased in connection.execute(_FOREIGN, {"ids": list(ids), "run": run}).fetchall():
        if digest is None or leased or not _shared(connection, bytes(digest)):
            gone.append(id_)
    return gone


def _shared(connection: psycopg.Connection, digest: bytes) -> bool:
    row = connection.execute(_SHARE, (key(digest),)).fetchone()
    return bool(row and row[0])


def free(connection: psycopg.Connection, ids: Sequence[int], run: UUID) -> None:
    """Let go of archives that a run holds."""
    connection.execute("DELETE FROM archive_claim WHERE archive_id = ANY(%s) AND run = %s", (list(ids), run))


def leave(connection: psycopg.Connection, run: UUID) -> None:
    """Let go of everything that a run holds."""
    connection.execute("DELETE FROM claimant WHERE run = %s", (run,))
