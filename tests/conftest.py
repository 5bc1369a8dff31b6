"""Fixtures for every test: a real Postgres, a fresh database each, and the shared inputs where present."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from pipeline.catalog.schema import migrate
from pipeline.server import EmbeddedServer

ROOT = Path(__file__).resolve().parent.parent
_numbers = itertools.count()
HASTE = ("fsync", "full_page_writes", "autovacuum")
"""What the tests' own Postgres does without: nothing in it outlives the session."""

# The same examples every time, however slow the machine is. HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("steady"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def sibling(url: str, name: str) -> str:
    """Give the URL of another database on the same server."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{name}?{parts.query}"


def end_connections(admin: psycopg.Connection, database: str) -> int:
    """End every connection to a database but this one, wait until they are gone, and give how many there were."""
    ended = "SELECT pg_terminate_backend(pid, 180000) FROM pg_stat_activity WHERE datname = %s AND pid <> %s"
    return len(admin.execute(ended, (database, admin.info.backend_pid)).fetchall())


@pytest.fixture(scope="session", autouse=True)
def heard() -> None:
    """Let programs that tests start hear Ctrl-C: what a shell starts in the background ignores it, children too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def folder_for_everybody() -> Iterator[Path]:
    """Give a temporary folder that any user may enter, as root's Postgres runs as another; pytest's are private."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tests-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a temporary folder that any user may enter."""
    with folder_for_everybody() as folder:
        yield folder


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """Run an embedded Postgres for the session."""
    with folder_for_everybody() as folder, EmbeddedServer(folder / "data") as running:
        with psycopg.connect(sibling(running.url, "postgres"), autocommit=True) as connection:
            for name in HASTE:
                connection.execute(f"ALTER SYSTEM SET {name} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield running


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    """Give the name of a database with the current schema, to be copied."""
    with psycopg.connect(sibling(server.url, "postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_catalog")
    migrate(sibling(server.url, "template_catalog"))
    return "template_catalog"


@contextlib.contextmanager
def fresh_database(server: EmbeddedServer, template: str) -> Iterator[str]:
    """Give the URL of a new database, a copy of another one, until the context ends."""
    name = f"test_{next(_numbers)}"
    admin = sibling(server.url, "postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY WAL_LOG".encode())
    yield sibling(server.url, name)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database_url(server: EmbeddedServer, template: str) -> Iterator[str]:
    """Give the URL of a fresh database with the current schema."""
    with fresh_database(server, template) as url:
        yield url


@pytest.fixture
def empty_database_url(server: EmbeddedServer) -> Iterator[str]:
    """Give the URL of a fresh database without a schema."""
    name = f"empty_{next(_numbers)}"
    admin = sibling(server.url, "postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield sibling(server.url, name)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of shared inputs, or skip."""
    folder = ROOT.parent / "shared"
    if not (folder / "corpus").is_dir():
        pytest.skip("the shared inputs are not here")
    return folder


@pytest.fixture(scope="session")
def evil(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of generated hostile archives and images, with their manifest, or skip; nobody changes it."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    folder, fresh = session / "evil", session / "evil.new"
    with (session / "evil.lock").open("w") as lock:
        # Making it takes long: the first of several test processes does it for all.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            subprocess.run(
                [sys.executable, shared / "make_evil.py", fresh], check=True, stdout=subprocess.DEVNULL
            )
            fresh.rename(folder)
    return folder
