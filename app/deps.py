"""What routes depend on, as annotated types."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import psycopg
from fastapi import Depends, Request
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from app.gate import Gate
from app.impatience import Impatient
from app.inspectors import Inspectors
from app.problems import busy
from app.settings import ApiSettings
from pipeline.database import translated
from pipeline.store import Store


@dataclass(frozen=True, slots=True)
class Database:
    """The catalog's Postgres behind a pool; for sync code, such as sync routes and `run_in_threadpool`."""

    pool: ConnectionPool[Impatient]

    @contextlib.contextmanager
    def transaction(self, patience: float | None = None) -> Iterator[psycopg.Connection]:
        """Give a connection in a transaction, committed at the end; waits `patience` seconds for a free one.

        Raises the `busy` problem when all are taken for too long, and `CatalogUnavailable`.
        """
        with self.connection(patience) as connection, connection.transaction():
            yield connection

    @contextlib.contextmanager
    def connection(self, patience: float | None = None) -> Iterator[psycopg.Connection]:
        """Give a connection in no transaction; raises as `transaction` does."""
        with translated():
            connection = self._working(self.pool.timeout if patience is None else patience)
            try:
                yield connection
            finally:
                self.pool.putconn(connection)

    def _working(self, patience: float) -> Impatient:
        """Take a connection that answers; the pool's own check rests for seconds after each that does not.

        It also waits for ever for a server that is frozen.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                connection = self.pool.getconn(deadline - time.monotonic())
            except (PoolTimeout, TooManyRequests) as error:
                raise busy("No connection to the database is free.") from error
            try:
                connection.check()
            except psycopg.OperationalError:
                self.pool.putconn(connection)
                if time.monotonic() > deadline:
                    raise
            except BaseException:
                self.pool.putconn(connection)
                raise
            else:
                return connection


@dataclass(frozen=True, slots=True)
class Services:
    """What the application opens at its start and closes at its end."""

    settings: ApiSettings
    database: Database
    store: Store
    inspectors: Inspectors
    fetching: Gate
    uploading: Gate


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _settings(services: AllServices) -> ApiSettings:
    return services.settings


def _database(services: AllServices) -> Database:
    return services.database


def _store(services: AllServices) -> Store:
    return services.store


def _inspectors(services: AllServices) -> Inspectors:
    return services.inspectors


AllServices = Annotated[Services, Depends(_services)]
GivenSettings = Annotated[ApiSettings, Depends(_settings)]
GivenDatabase = Annotated[Database, Depends(_database)]
GivenStore = Annotated[Store, Depends(_store)]
GivenInspectors = Annotated[Inspectors, Depends(_inspectors)]
