"""Talking to Postgres: connecting, telling its errors apart, trying again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from pipeline.errors import CatalogError, CatalogFull, CatalogUnavailable, PipelineError, SettingsError

Answer = TypeVar("Answer")

CONNECT_SECONDS = 10
CUT_OFF = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A minute until a server is given up that a cable or a firewall cuts off (tcp(7)); by default that is two hours."""
BAD_URL = (
    "The database URL cannot be read; it looks like postgresql://user:password@host:5432/database, "
    "with every special character of the password written as %XX."
)
PASSING: tuple[type[psycopg.Error], ...] = (
    psycopg.InterfaceError,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.IdleSessionTimeout,
    errors.TooManyConnections,
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
)
"""Errors after which the same work may succeed."""
HOPELESS = re.compile(
    r"FATAL: .*(does not exist|authentication failed|no pg_hba\.conf entry|permission denied|not permitted)"
    r"|no password supplied|SASL authentication|does not support SSL",
)
"""Refusals of a connection that waiting does not cure; the driver gives them no code."""
MISSPELT = re.compile(r"invalid [\w ]*value|invalid port number|bad value for")
"""Refusals of what a URL says, before anybody is asked."""


def connect(url: str, *, autocommit: bool = False) -> psycopg.Connection:
    """Open a connection; raises `CatalogUnavailable` when the server cannot be reached, and as `parameters` does."""
    given = parameters(url)
    with translated():
        return psycopg.connect(**given, autocommit=autocommit)


def parameters(url: str) -> dict[str, Any]:
    """Give what the driver is told for a URL; raises `SettingsError` for one that cannot be read."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # The driver's words repeat pieces of the URL, a password among them.
        raise SettingsError(BAD_URL) from None
    # The URL's own choices win; the environment's PGCLIENTENCODING must not, names are not all Latin.
    ours = {
        "application_name": "image-pipeline",
        "connect_timeout": CONNECT_SECONDS,
        "client_encoding": "UTF8",
        **CUT_OFF,
    }
    return {**ours, **given}


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into the pipeline's; the only place where this is done."""
    try:
        yield
    except psycopg.Error as error:
        raise _translation(error) from error


def _translation(error: psycopg.Error) -> PipelineError:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    state = error.sqlstate or ""
    connection_trouble = isinstance(error, psycopg.OperationalError) and not state
    if not state and MISSPELT.search(text):
        return SettingsError(f"The database URL makes no sense: {text}.")
    if connection_trouble and HOPELESS.search(text):
        return CatalogError(f"Postgres refuses the connection: {text}. Check the database URL.")
    if isinstance(error, errors.DiskFull) or (connection_trouble and "No space left" in text):
        return CatalogFull(f"Postgres has no disk space left: {text}. Free some and run again.")
    if isinstance(error, PASSING) or connection_trouble or state[:2] == "08":
        return CatalogUnavailable(
            f"Postgres cannot be reached: {text}. Nothing is lost; run again when it is back."
        )
    return CatalogError(f"Postgres refuses: {text}")


def persistent(work: Callable[[], Answer], seconds: float) -> Answer:
    """Do work that may be repeated until it succeeds; lets `CatalogUnavailable` through after `seconds`.

    `CatalogFull` comes through at once.
    """
    for attempt in Retrying(
        retry=retry_if_exception_type(CatalogUnavailable) & retry_if_not_exception_type(CatalogFull),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=stop_after_delay(seconds),
        reraise=True,
    ):
        with attempt:
            return work()
    raise AssertionError("tenacity answers or raises")  # pragma: no cover
