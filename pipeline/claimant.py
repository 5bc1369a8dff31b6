"""Who a run is, so that a later one on the same host can see that it died."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

CLAIM_SECONDS = 2.0
PAUSE_SECONDS = 0.1


def this_host() -> str:
    """Name what process ids are counted in: the host, since it was started, and the pid namespace on it."""
    name = socket.gethostname()
    with suppress(OSError):
        name += "/" + Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    with suppress(OSError):
        name += "/" + os.readlink("/proc/self/ns/pid")
    return name


def this_process() -> str:
    """Name this process; its time of start tells it from a later one with its id."""
    return _process(os.getpid())


def is_dead(host: str, process: str) -> bool:
    """Tell whether a process is surely gone; one of another host never is."""
    pid = process.partition("@")[0]
    return bool(host) and host == this_host() and pid.isdecimal() and _process(int(pid)) != process


def _process(pid: int) -> str:
    """Give a process's id and its time of start in clock ticks (proc_pid_stat(5), field 22), if it lives."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return f"{pid}@" if _lives(pid) else ""
    return "" if fields[0] == "Z" else f"{pid}@{fields[19]}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class Patience:
    """How long a run waits, in all, for claims that may be those of a run just killed: its last requests still work."""

    def __init__(self, seconds: float = CLAIM_SECONDS) -> None:
        self._left = seconds

    def wait(self) -> bool:
        """Wait a moment; answers whether there was patience left for it."""
        if self._left <= 0:
            return False
        self._left -= PAUSE_SECONDS
        time.sleep(PAUSE_SECONDS)
        return True
