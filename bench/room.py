"""Where measuring happens: a Postgres that runs, and a clean desk for every run."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from pipeline.catalog.schema import migrate
from pipeline.server import EmbeddedServer

ROOT = Path(__file__).resolve().parent.parent
PREFIX = f"bench_{os.getpid()}"
EMPTY = f"{PREFIX}_empty"


@dataclass(frozen=True, slots=True)
class Desk:
    """What one run has for itself: archives, an output folder, a catalog."""

    folder: Path
    archives: tuple[Path, ...]
    url: str
    data: Path

    @property
    def extracted(self) -> Path:
        """Where a contestant writes."""
        return self.folder / "extracted"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a run: this code, these folders, nothing of the caller's settings."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("PIPELINE_", "PG"))}
        ours.pop("DATABASE_URL", None)
        # People's Pythons keep compiled modules; without them every start of every process compiles anew.
        ours.pop("PYTHONDONTWRITEBYTECODE", None)
        return {
            **ours,
            "PYTHONPATH": str(ROOT),
            "PIPELINE_DATA": str(self.data),
            "PIPELINE_INPUT": str(self.archives[0].parent if self.archives else self.folder),
            "PIPELINE_EXTRACTED": str(self.extracted),
            "PIPELINE_STATIC": str(self.folder / "static"),
        }


class Room:
    """A folder and a server for all runs."""

    def __init__(self, folder: Path, url: str, postmaster: int | None) -> None:
        self.folder = folder
        self.postmaster = postmaster
        self._url = url
        self._numbers = itertools.count()
        self._create(EMPTY)
        migrate(self._sibling(EMPTY))

    def close(self) -> None:
        """Remove what is in the way of nobody but the next benchmark."""
        self._admin(f"DROP DATABASE {EMPTY} WITH (FORCE)")

    @contextmanager
    def desk(self, archives: tuple[Path, ...], like: Desk | None = None) -> Iterator[Desk]:
        """Give a desk; `like` an earlier one, it has that one's catalog and store.

        Its files stay until the room goes: ext4 searches past inodes that were freed within the last minutes, so
        that removing one contestant's files would make the next one's slower.
        """
        name = f"{PREFIX}_{next(self._numbers)}"
        folder = self.folder / name
        folder.mkdir()
        self._create(name, _database(like.url) if like else EMPTY)
        if like:
            (folder / "static").symlink_to(like.folder / "static")
        try:
            yield Desk(folder, archives, self._sibling(name), folder / "data")
        finally:
            self._admin(f"DROP DATABASE {name} WITH (FORCE)")
            os.sync()

    def _create(self, name: str, template: str = "template0") -> None:
        self._admin(f"CREATE DATABASE {name} TEMPLATE {template}")
        self._admin("CHECKPOINT")

    def _admin(self, sql: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql.encode())

    def _sibling(self, name: str) -> str:
        parts = urlsplit(self._url)
        return parts._replace(path=f"/{name}").geturl().replace(":/bench", ":///bench")


def _database(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


@contextmanager
def open_room(database_url: str | None) -> Iterator[Room]:
    """Open a room on the Postgres named, or on an embedded one of its own; removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-bench-"))
    folder.chmod(0o755)
    try:
        if database_url:
            with closing(Room(folder, database_url, None)) as room:
                yield room
        else:
            with EmbeddedServer(folder / "server") as server:
                yield Room(folder, server.url, server.cluster.postmaster())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
