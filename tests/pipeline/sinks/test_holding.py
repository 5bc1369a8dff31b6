"""Holding archives: one run at a time, across connections that break."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from pipeline.errors import CatalogUnavailable
from pipeline.sinks.holding import Holding

# The low half of a key stands in a column of its own (pg_locks).
HELD = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid::bigint = %s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


@pytest.fixture
def ours(database_url: str) -> Iterator[Holding]:
    """Give one run's claims."""
    holding = Holding(database_url)
    yield holding
    holding.close()


@pytest.fixture
def theirs(database_url: str) -> Iterator[Holding]:
    """Give another run's claims."""
    holding = Holding(database_url)
    yield holding
    holding.close()


def break_connections(database_url: str) -> None:
    """End every connection to the database but the one that does it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def until_free(database_url: str, key: int) -> None:
    """Wait until nobody holds an archive: the server notices a moment after a connection is closed here."""
    deadline = time.monotonic() + 30
    with psycopg.connect(database_url, autocommit=True) as connection:
        while connection.execute(HELD, (key,)).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_archive_is_held_by_one(ours: Holding, theirs: Holding, database_url: str) -> None:
    """What one run claims another does not get, until it is let go."""
    assert ours.claim({1, 2}) == {1, 2}
    assert theirs.claim({2, 3}) == {3}
    assert ours.claim({1, 2, 3}) == {1, 2}
    ours.free({2, 7})
    assert theirs.claim({2}) == {2}
    ours.close()
    until_free(database_url, 1)
    assert theirs.claim({1}) == {1}


def test_claims_outlive_a_connection(ours: Holding, theirs: Holding, database_url: str) -> None:
    """A new connection claims what the broken one held, before anything else."""
    assert ours.claim({1, 2}) == {1, 2}
    break_connections(database_url)
    assert ours.claim({2, 3}) == {2, 3}
    assert theirs.claim({1, 2, 3, 4}) == {4}


def test_a_run_that_was_faster_is_told(ours: Holding, theirs: Holding, database_url: str) -> None:
    """Where another run claimed an archive meanwhile, nobody goes on as if nothing had happened."""
    assert ours.claim({1}) == {1}
    break_connections(database_url)
    assert theirs.claim({1}) == {1}
    with pytest.raises(CatalogUnavailable, match="another run has claimed 1 archive"):
        ours.claim(set())
    theirs.close()
    until_free(database_url, 1)
    assert ours.claim(set()) == set()


def test_freeing_over_a_broken_connection(ours: Holding, theirs: Holding, database_url: str) -> None:
    """Locks that a broken connection held are free already."""
    assert ours.claim({1, 2}) == {1, 2}
    break_connections(database_url)
    ours.free({1})
    assert ours.claim({2}) == {2}
    assert theirs.claim({1, 2}) == {1}
