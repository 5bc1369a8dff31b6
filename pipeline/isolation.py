"""What makes a process fit to run decoders that may crash, hang or eat memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import ForkServerContext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pebble import ProcessExpired

from pipeline.locks import MortalLock

PR_SET_PDEATHSIG = 1
LONGEST = 60
"""Bytes that the folder for temporary files may have, so that a socket below it has a name that can be bound."""
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - what is made there has a folder of its own


class _Context(ForkServerContext):
    """Starts workers whose pool goes on at once when one of them dies while it holds a lock."""

    def RLock(self) -> MortalLock:  # type: ignore[override]
        return MortalLock()


def fork_server(*preload: str) -> ForkServerContext:
    """Give the context that starts workers from a clean, single-threaded process with modules loaded once."""
    # Otherwise NumPy starts threads that spin for a while, in every worker, for mathematics that nobody does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    context = _Context()
    context.set_forkserver_preload(list(preload))
    return context


def start_fork_server() -> None:
    """Start the fork server that contexts share, deaf to Ctrl-C, without waiting for its modules; once is enough."""
    with _short_temporary_folder():
        # The folder that holds the fork server's socket is chosen at the first call, for good.
        util.get_temp_dir()
    # The tracker lets Ctrl-C through again when it has started; the fork server would start it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _short_temporary_folder() -> Iterator[None]:
    """Have temporary files elsewhere for a moment where their folder is too deep for sockets (107 bytes, unix(7))."""
    before = tempfile.tempdir
    usable = (folder for folder in SHORT_FOLDERS if os.access(folder, os.W_OK | os.X_OK))
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST and (folder := next(usable, None)):
        tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = before


def cores() -> int:
    """Give how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def confine(memory: int) -> None:
    """Prepare a fresh worker process: bound to its parent's life, deaf to Ctrl-C, silent, with bounded memory in bytes.

    RLIMIT_DATA counts private memory and leaves read-only file maps out (Linux 4.7, setrlimit(2)). Decoders
    written in C say what they like on standard error, over the progress that people look at.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _let_the_fork_server_go()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


def _let_the_fork_server_go() -> None:
    """Close this worker's end of the pipe that keeps the fork server alive.

    Otherwise a worker that hangs would keep the fork server, and with it itself, alive after the main process.
    """
    server = getattr(forkserver, "_forkserver", None)
    held = getattr(server, "_forkserver_alive_fd", None)
    if isinstance(held, int):
        os.close(held)
        vars(server)["_forkserver_alive_fd"] = None


def allow(seconds: float) -> None:
    """Have the kernel end this process, also inside C code, unless called again in time; 0 takes it back."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM for a moment; they come afterwards.

    A worker that is half started when its parent ends would complain of that on the terminal.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    if threading.current_thread() is not threading.main_thread() or None in before.values():
        yield
        return
    waiting: list[int] = []
    for number in numbers:
        signal.signal(number, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for waiting_number in waiting:
        signal.raise_signal(waiting_number)


def cause(death: ProcessExpired | TimeoutError, seconds: float) -> tuple[str, str]:
    """Give the reason and the detail of a worker's death."""
    if isinstance(death, TimeoutError) or death.exitcode == -signal.SIGALRM:
        return "decoder-timeout", f"it took longer than {seconds:g} s"
    if death.exitcode == -signal.SIGKILL:
        return "decoder-memory", "its process was killed, as the system does when memory runs out"
    with contextlib.suppress(ValueError, TypeError):
        return "decoder-crashed", f"its process was ended by {signal.Signals(-int(death.exitcode)).name}"
    return "decoder-crashed", f"its process ended with exit code {death.exitcode}"


def lost_a_page(death: ProcessExpired | TimeoutError) -> bool:
    """Tell whether a worker died of a mapped file that it could not read (mmap(2), SIGBUS)."""
    return not isinstance(death, TimeoutError) and death.exitcode == -signal.SIGBUS
