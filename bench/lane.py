"""One lane of the crash campaign: a workspace with its own Postgres, and what is killed in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import psycopg

from pipeline.catalog.changes import delete_all
from pipeline.database import connect
from pipeline.server import EmbeddedServer
from tests.workspace import Workspace

KINDS: Final = ("main process", "one of its workers", "whole group", "Postgres", "group and Postgres")
OPTIONS: Final = ("--batch-size", "25", "--workers", "2")
AGAIN: Final = ("--batch-size", "25", "--engine", "serial")
"""The run after a kill needs no workers: starting them would be most of its time."""
PATIENCE = 180.0
"""Seconds a run may take before it counts as hung."""


class Undisturbed(NamedTuple):
    """What a run leaves in peace: tables, files with their SHA-256, and how long it takes, in seconds."""

    catalog: dict[str, list[tuple[Any, ...]]]
    files: dict[str, str]
    seconds: float


class Lane:
    """A workspace to crash runs in; a context manager that owns an embedded Postgres."""

    def __init__(self, folder: Path, archives: Path) -> None:
        folder.mkdir()
        self._data = folder / "data"
        self._server = EmbeddedServer(self._data)
        self._serve()
        self._space = Workspace(folder, self._server.url)
        shutil.copytree(archives, self._space.input, dirs_exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.release()

    def _serve(self) -> None:
        """Start Postgres, or again after it was killed, and let it run on."""
        with self._server:
            self._server.keep()

    def undisturbed(self) -> Undisturbed:
        """Run in peace a few times; give what that leaves, and the shortest time it took."""
        seconds = PATIENCE
        for _ in range(3):
            self._wipe()
            started = time.monotonic()
            ran = self._space.run("ingest", *OPTIONS)
            seconds = min(seconds, time.monotonic() - started)
            if ran.code:
                raise RuntimeError(ran.err)
        return Undisturbed(self._space.catalog(), self._files(), seconds)

    def point(
        self, kind: str, moment: float, expected: Undisturbed, rng: random.Random
    ) -> tuple[bool, list[str]]:
        """Kill something at a moment of a run (0 its start, 1 its end), run again; say what differs."""
        process = self._running(moment, expected)
        met = process.poll() is None
        trouble = []
        self._strike(kind, process, rng)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            trouble.append("the run hung")
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return met, trouble + self._differences(expected)

    def _running(self, moment: float, expected: Undisturbed) -> subprocess.Popen[bytes]:
        """Start a run and wait for its moment; try again, sooner, when it was over before."""
        for haste in (0.95, 0.85, 0.7, 0.5):
            self._wipe()
            process = subprocess.Popen(
                self._space.command("ingest", *OPTIONS),
                cwd=self._space.root,
                env=self._space.environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                process.wait(moment * haste * expected.seconds)
            except subprocess.TimeoutExpired:
                break
        return process

    def _differences(self, expected: Undisturbed) -> list[str]:
        ran = self._space.run("ingest", *AGAIN)
        found = [f"the next run ended with {ran.code}: {ran.err[-500:]}"] if ran.code else []
        checked = self._space.run("verify", "--format", "json", "--data", self._space.root / "verify")
        findings = json.loads(checked.out)["findings"] if checked.out else [checked.err]
        if checked.code or findings:
            found.append(f"verify ended with {checked.code}: {findings[:5]}")
        catalog, files = self._space.catalog(), self._files()
        found += [f"table {name} differs" for name in catalog if catalog[name] != expected.catalog[name]]
        missing, extra = expected.files.keys() - files.keys(), files.keys() - expected.files.keys()
        torn = [name for name in files.keys() & expected.files.keys() if files[name] != expected.files[name]]
        for what, names in (("missing", missing), ("extra", extra), ("torn", torn)):
            if names:
                found.append(f"{len(names)} files {what}: {sorted(names)[:3]}")
        return found

    def _wipe(self) -> None:
        with connect(self._server.url) as connection:
            if connection.execute("SELECT to_regclass('image_info')").fetchone() != (None,):
                delete_all(connection)
        for folder in (self._space.extracted, self._space.static):
            shutil.rmtree(folder)
            folder.mkdir()

    def _files(self) -> dict[str, str]:
        return {name: hashlib.sha256(data).hexdigest() for name, data in self._space.files().items()}

    def _strike(self, kind: str, process: subprocess.Popen[bytes], rng: random.Random) -> None:
        if "Postgres" in kind:
            self._kill_postgres(rng)
        if kind == "main process":
            process.kill()
        elif kind == "one of its workers":
            _kill(rng.choice(descendants(process.pid) or [process.pid]))
        elif "group" in kind:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if "Postgres" in kind:
            self._serve_when_dead()

    def _kill_postgres(self, rng: random.Random) -> None:
        """Kill Postgres: its first process, or one that serves a connection, which ends all of them."""
        first = self._server.cluster.postmaster()
        victims = [first] if first else []
        if victims and rng.random() < 0.5:
            victims = descendants(victims[0]) or victims
        if victims:
            _kill(rng.choice(victims))

    def _serve_when_dead(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.Error):
                self._serve()
                with psycopg.connect(self._server.url, connect_timeout=5):
                    return
            time.sleep(0.05)
        raise RuntimeError("Postgres does not come back")


def descendants(pid: int) -> list[int]:
    """Name the processes below one, from /proc."""
    parents = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if entry.isdigit():
                parents[int(entry)] = int(
                    Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1]
                )
    found, new = [], {pid}
    while new := {child for child, parent in parents.items() if parent in new}:
        found += sorted(new)
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
