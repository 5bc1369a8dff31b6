"""A connection gives up on a server that is frozen, and is of use again when another one answers."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from app import impatience
from app.deps import Database
from app.impatience import Impatient
from pipeline.errors import CatalogUnavailable


@contextlib.contextmanager
def frozen(connection: psycopg.Connection) -> Iterator[None]:
    """Stop the server's process behind a connection for a while."""
    process = connection.info.backend_pid
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool[Impatient]]:
    """Give a pool of one connection."""
    with ConnectionPool(
        database_url, connection_class=Impatient, min_size=1, max_size=1, timeout=120, open=True
    ) as pool:
        yield pool


def test_a_frozen_connection_is_passed_over(pool: ConnectionPool[Impatient]) -> None:
    """A request gets another connection when the one at hand does not answer."""
    with pool.connection() as connection:
        pass
    with frozen(connection):
        with Database(pool).transaction() as other:
            assert other.execute("SELECT 1").fetchone() == (1,)
        assert connection.closed


def test_a_check_ends_when_time_is_up(
    pool: ConnectionPool[Impatient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that has no time for another connection is told that the database is away."""
    monkeypatch.setattr(impatience, "CHECK_SECONDS", 0.5)
    with pool.connection() as connection:
        pass
    with (
        frozen(connection),
        pytest.raises(CatalogUnavailable, match="not answered"),
        Database(pool).transaction(patience=0.25),
    ):
        pass


def test_a_query_in_flight_ends(pool: ConnectionPool[Impatient]) -> None:
    """A server that freezes in the middle of a transaction does not hold its request for ever; the next one works."""

    def meet_frost() -> None:
        with Database(pool).transaction() as connection:
            assert isinstance(connection, Impatient)
            connection.execute("SELECT 1")
            connection.patience = 0.5
            with frozen(connection):
                connection.execute("SELECT 1")

    with pytest.raises(CatalogUnavailable, match="not answered"):
        meet_frost()
    with Database(pool).transaction() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_slow_answer_is_waited_for(pool: ConnectionPool[Impatient]) -> None:
    """Between what it says a server may take its time."""
    with Database(pool).transaction() as connection:
        assert isinstance(connection, Impatient)
        assert connection.execute("SELECT pg_sleep(0.5)::text").fetchone() == ("",)
        assert connection.patience == impatience.ANSWER_SECONDS
