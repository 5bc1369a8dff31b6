"""Talking to Postgres: connecting, telling its errors apart, trying again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg
from psycopg import errors
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from pipeline.errors import CatalogError, CatalogUnavailable

Answer = TypeVar("Answer")

CONNECT_SECONDS = 10
PASSING: tuple[type[psycopg.Error], ...] = (
    psycopg.InterfaceError,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.TooManyConnections,
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
)
"""Errors after which the same work may succeed."""


def connect(url: str, *, autocommit: bool = False) -> psycopg.Connection:
    """Open a connection; raises `CatalogUnavailable` when the server cannot be reached."""
    with translated():
        return psycopg.connect(
            url, autocommit=autocommit, connect_timeout=CONNECT_SECONDS, application_name="image-pipeline"
        )


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into the pipeline's; the only place where this is done."""
    try:
        yield
    except psycopg.Error as error:
        raise _translation(error) from error


def _translation(error: psycopg.Error) -> CatalogError:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    state = error.sqlstate or ""
    hopeless = isinstance(error, errors.InvalidPassword | errors.InvalidAuthorizationSpecification)
    connection_trouble = isinstance(error, psycopg.OperationalError) and not state
    if not hopeless and (isinstance(error, PASSING) or connection_trouble or state[:2] == "08"):
        return CatalogUnavailable(
            f"Postgres cannot be reached: {text}. Nothing is lost; run again when it is back."
        )
    if isinstance(error, errors.DiskFull):
        return CatalogUnavailable(f"Postgres has no disk space left: {text}. Free some and run again.")
    return CatalogError(f"Postgres refuses: {text}")


def persistent(work: Callable[[], Answer], seconds: float) -> Answer:
    """Do work that may be repeated until it succeeds; lets `CatalogUnavailable` through after `seconds`."""
    for attempt in Retrying(
        retry=retry_if_exception_type(CatalogUnavailable),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=stop_after_delay(seconds),
        reraise=True,
    ):
        with attempt:
            return work()
    raise AssertionError("tenacity answers or raises")  # pragma: no cover
