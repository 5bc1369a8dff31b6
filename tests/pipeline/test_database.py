"""The driver's errors become the pipeline's, in one place; what passes is tried again."""

from __future__ import annotations

import os
import socket
import sys

import psycopg
import pytest
from psycopg import errors, pq
from psycopg.conninfo import make_conninfo

from pipeline.database import connect, parameters, persistent, translated
from pipeline.errors import CatalogError, CatalogUnavailable, SettingsError


def test_connecting(database_url: str) -> None:
    """A connection is there, named, and speaks UTF-8 whatever the environment says."""
    with connect(database_url) as connection:
        row = connection.execute("SELECT current_setting('application_name'), '\u0436'::text").fetchone()
    assert row == ("image-pipeline", "\u0436")


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "postgresql://u:secret@[::1/x",
        "mysql://u:secret@host/x",
        "postgresql://u:secret@127.0.0.1:99999/x",
        "postgresql://u:secret@127.0.0.1/x?sslmode=maybe",
        "postgresql://u:secret@127.0.0.1/x?connect_timeout=soon",
    ],
)
def test_urls_that_make_no_sense(url: str) -> None:
    """They are wrong usage; the error says what is wrong, and does not repeat a password."""
    with pytest.raises(SettingsError) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for options of Linux")
def test_a_server_that_is_cut_off() -> None:
    """The kernel is told to give up a server in the network that it hears nothing of; the URL may say otherwise."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        given = parameters(f"postgresql://u@127.0.0.1:{port}/d?keepalives_idle=7")
        connection = pq.PGconn.connect_start(make_conninfo(**given).encode())
        with socket.socket(fileno=os.dup(connection.socket)) as client:
            options = {
                "idle": client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                "timeout": client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            }
        connection.finish()
    assert options == {"idle": 7, "timeout": 60_000}


def test_nobody_there() -> None:
    """A server that does not answer may answer later."""
    with pytest.raises(CatalogUnavailable, match="Nothing is lost"):
        connect("postgresql://user@127.0.0.1:1/x")


def test_a_database_that_is_not_there(database_url: str) -> None:
    """Waiting does not make a database."""
    with pytest.raises(CatalogError, match="does not exist") as caught:
        connect(database_url.replace("/test_", "/nowhere_"))
    assert not isinstance(caught.value, CatalogUnavailable)


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (errors.AdminShutdown(), True),
        (errors.DeadlockDetected(), True),
        (errors.DiskFull(), True),
        (psycopg.InterfaceError(), True),
        (errors.UndefinedTable("no such table"), False),
        (errors.UniqueViolation("twice"), False),
    ],
)
def test_what_passes(error: psycopg.Error, passing: bool) -> None:
    """Errors after which the same work may succeed are told from the others."""
    with pytest.raises(CatalogError) as caught, translated():
        raise error
    assert isinstance(caught.value, CatalogUnavailable) is passing
    assert caught.value.__cause__ is error


def test_trying_again() -> None:
    """Work is repeated while the trouble passes, and no longer than the budget."""
    left = [CatalogUnavailable("once"), CatalogUnavailable("twice")]

    def work() -> str:
        if left:
            raise left.pop()
        return "done"

    assert persistent(work, 30) == "done"
    left.append(CatalogUnavailable("again"))
    with pytest.raises(CatalogUnavailable, match="again"):
        persistent(work, 0)
    with pytest.raises(CatalogError, match="hopeless"):
        persistent(_refuse, 30)


def _refuse() -> None:
    raise CatalogError("hopeless")
