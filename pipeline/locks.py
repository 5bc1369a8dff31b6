"""A lock between processes that outlives nobody."""

from __future__ import annotations

import fcntl
import os
import tempfile
import weakref
from multiprocessing.reduction import DupFd
from typing import Protocol


class _Inherited(Protocol):
    def detach(self) -> int: ...


class MortalLock:
    """A lock between processes that the kernel frees when its holder dies, however it dies.

    The locks of `multiprocessing` stay taken by the dead: whoever waits for them waits for ever. This one is a
    record lock (fcntl(2)) on a file without a name. It reaches other processes by being sent to them when they
    start; its holder may take it again; between the threads of one process it does not exclude.
    """

    def __init__(self, file: int | None = None) -> None:
        self._file = _nameless() if file is None else file
        self._depth = 0
        weakref.finalize(self, os.close, self._file)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the lock; tells whether it was free. The time is not needed: who holds it lives, and lets it go."""
        del timeout
        if self._depth == 0:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX if block else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                return False
        self._depth += 1
        return True

    def release(self) -> None:
        """Let go once."""
        self._depth -= 1
        if self._depth == 0:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __reduce__(self) -> tuple[object, ...]:
        return _received, (DupFd(self._file),)


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("lock")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _received(file: _Inherited) -> MortalLock:
    return MortalLock(file.detach())
