"""Measuring one run of a command: wall time, CPU time of everything it started, peak memory of every process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
WATCH_SECONDS = 0.1
ORPHAN_SECONDS = 20.0
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost: seconds of wall and of CPU (its own processes, and the server's), peaks in bytes."""

    seconds: float
    cpu: float
    server_cpu: float
    peaks: dict[str, int] = field(default_factory=dict)


class RunFailed(Exception):
    """A contestant ended with an error."""


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends, so that their CPU time is counted (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(words: Sequence[str], environ: Mapping[str, str], cwd: Path, server: int | None) -> Cost:
    """Run a command to its end, and to the end of what it left behind; raises `RunFailed`."""
    before, bystanders = _children_cpu(), set(_children(os.getpid()))
    server_before = _server_cpu(server)
    log = cwd / "run.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(words, env=environ, cwd=cwd, stdout=output, stderr=output)
        peaks = _watched(process)
        seconds = time.perf_counter() - started
    _reap(bystanders)
    if process.returncode:
        text = log.read_text("utf-8", "replace")[-2000:]
        raise RunFailed(f"{' '.join(words[:6])} … ended with {process.returncode}:\n{text}")
    return Cost(seconds, _children_cpu() - before, _server_cpu(server) - server_before, peaks)


def _watched(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """Wait for a process; watch peaks by role: `main`, and the largest of its Python and server descendants."""
    peaks: dict[str, int] = {}
    while True:
        if _ended(process, WATCH_SECONDS):
            process.wait()
            return peaks
        for pid in (process.pid, *_descendants(process.pid)):
            role = "main" if pid == process.pid else _role(pid)
            peaks[role] = max(peaks.get(role, 0), _peak(pid))


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a process without asking again and again, which would add up to 50 ms to what is measured."""
    if sys.platform != "linux":
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    descriptor = os.pidfd_open(process.pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _role(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        return "server" if b"postgres" in words.split(b"\0")[0] else "worker"
    return "worker"


def _peak(pid: int) -> int:
    """Give the most memory that a process held at once (VmHWM, proc(5)), in bytes."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text("ascii").split())
    return found


def _descendants(pid: int) -> list[int]:
    return [one for child in _children(pid) for one in (child, *_descendants(child))]


def _reap(bystanders: set[int]) -> None:
    """Wait for adopted orphans, so that their CPU time is counted."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while left := set(_children(os.getpid())) - bystanders:
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            raise RunFailed(f"processes {sorted(left)} outlive their run")
        time.sleep(0.005)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _server_cpu(postmaster: int | None) -> float:
    """Give the CPU seconds of a Postgres: its postmaster, that of ended backends, and of those that live."""
    if postmaster is None:
        return 0.0
    total = _stat_cpu(postmaster, with_ended=True)
    return total + sum(_stat_cpu(child, with_ended=False) for child in _children(postmaster))


def _stat_cpu(pid: int, *, with_ended: bool) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return sum(map(int, fields[11 : 15 if with_ended else 13])) / _TICK
    return 0.0
