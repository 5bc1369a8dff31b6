"""Where an interrupted check stopped: kept in a small file, so that the next one goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.errors import StoreError
from pipeline.verify.findings import Cursor, Step

EVERY = 2.0
"""Seconds between two notes."""
WEEK = 7 * 86_400.0


@dataclass(slots=True)
class Tally:
    """What a check has seen so far: files checked, problems that are left, and those repaired."""

    checked: int = 0
    problems: int = 0
    repaired: int = 0

    def add(self, step: Step) -> None:
        """Count a step."""
        self.checked += step.checked
        self.problems += sum(finding.problem for finding in step.findings)
        self.repaired += sum(finding.outlook == "repaired" for finding in step.findings)


class Memory:
    """Remembers how far a check came; a context manager that keeps a second check away.

    `identity` tells the check from one of another catalog. Raises `StoreError` when the folder cannot be used
    or another check is at work.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._path = folder / "verify.json"
        self._identity = identity
        self._noted = time.monotonic()
        self._lock = -1
        self._now = Cursor(), Tally()

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(
                self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise StoreError("Another verify is at work; wait for its end.") from error
        except OSError as error:
            raise StoreError(f"{self._path.parent} cannot be used: {error.strerror}.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def recall(self) -> tuple[Cursor, Tally]:
        """Give where an interrupted check of the same things stopped; the beginning when there is none."""
        try:
            noted = json.loads(self._path.read_text("utf-8"))
            if noted["identity"] == self._identity and 0 <= time.time() - noted["time"] < WEEK:
                return Cursor(*map(str, noted["cursor"])), Tally(**noted["tally"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return Cursor(), Tally()

    @contextlib.contextmanager
    def keeping(self, cursor: Cursor, tally: Tally) -> Iterator[None]:
        """Keep the note of a check when it is interrupted; forget it when the check comes to its end."""
        self._now = cursor, replace(tally)
        try:
            yield
        except BaseException:
            self.save(*self._now)
            raise
        self.forget()

    def note(self, cursor: Cursor, tally: Tally) -> None:
        """Note how far the check is, now and then; a piece that is done in part is done again."""
        if cursor != self._now[0]:
            self._now = cursor, replace(tally)
            if time.monotonic() - self._noted >= EVERY:
                self.save(*self._now)

    def save(self, cursor: Cursor, tally: Tally) -> None:
        """Note how far the check is; whole or not at all."""
        self._noted = time.monotonic()
        noted = {"identity": self._identity, "time": time.time(), "cursor": cursor, "tally": asdict(tally)}
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(noted), "utf-8")
            fresh.replace(self._path)
        except OSError as error:
            raise StoreError(f"{fresh} cannot be written: {error.strerror}.") from error

    def forget(self) -> None:
        """Begin anew next time."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
