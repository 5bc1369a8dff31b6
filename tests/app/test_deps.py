"""A database behind a pool gives working connections, whatever became of those in it."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import psycopg
from psycopg_pool import ConnectionPool

from app.deps import Database
from app.impatience import Impatient
from tests.conftest import end_connections, sibling


def test_many_broken_connections_delay_nobody(database_url: str) -> None:
    """A request passes over every connection that Postgres ended meanwhile, without a rest after each."""
    with ConnectionPool(
        database_url, connection_class=Impatient, min_size=10, max_size=10, timeout=60, open=True
    ) as pool:
        pool.wait(180)
        with psycopg.connect(sibling(database_url, "postgres"), autocommit=True) as admin:
            assert end_connections(admin, urlsplit(database_url).path[1:]) == 10
        start = time.monotonic()
        with Database(pool).transaction(patience=120) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        # The pool's own check rests 1, 2, 4, 8 … seconds between two of them: 120 here.
        assert time.monotonic() - start < 60
