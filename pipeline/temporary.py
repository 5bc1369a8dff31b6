"""Temporary files: their names say whose they are, so that what a killed process left can be told from the rest."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from functools import lru_cache

TEMPORARY = ".pipeline-"
STALE_SECONDS = 86_400.0


def temporary_name(rest: str) -> str:
    """Give the name of a temporary file of this process."""
    return f"{TEMPORARY}{os.getpid()}-{_here()}-{rest}"


def is_temporary(path: str) -> bool:
    """Tell a temporary file by its name."""
    return os.path.basename(path).startswith(TEMPORARY)


def is_stale(path: str) -> bool:
    """Tell whether a temporary file or folder belongs to nobody any more: its process is gone, or it is a day old.

    Another machine or container that shares the folder numbers its processes itself: there only age counts.
    """
    try:
        age = time.time() - os.lstat(path).st_mtime
    except OSError:
        return False
    owner, _, rest = os.path.basename(path).removeprefix(TEMPORARY).partition("-")
    if rest.startswith(_here() + "-") and owner.isdecimal() and not _lives(int(owner)):
        return True
    return age > STALE_SECONDS


@lru_cache(maxsize=1)
def _here() -> str:
    """Name the world in which a process number means something: this host, and this PID namespace of it."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()}\0{namespace}".encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    """Tell whether a process is there and not only waiting to be buried by a parent that does not care."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return True
