"""What makes a process fit to run decoders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pebble import ProcessExpired

from pipeline.isolation import cause, cores, lost_a_page, uninterrupted
from tests.workspace import ROOT


@pytest.mark.parametrize(
    ("code", "reason", "detail"),
    [
        (-signal.SIGALRM, "decoder-timeout", "60 s"),
        (-signal.SIGSEGV, "decoder-crashed", "SIGSEGV"),
        (-signal.SIGABRT, "decoder-crashed", "SIGABRT"),
        (-signal.SIGKILL, "decoder-memory", "killed"),
        (3, "decoder-crashed", "exit code 3"),
        (-9999, "decoder-crashed", "exit code"),
    ],
)
def test_causes(code: int, reason: str, detail: str) -> None:
    """Signals have names, and two of them a meaning."""
    told = cause(ProcessExpired("gone", code=code), 60.0)  # type: ignore[no-untyped-call]
    assert told[0] == reason
    assert detail in told[1]


def test_pages_that_cannot_be_read() -> None:
    """One signal tells of a file that cannot be read."""
    for code, lost in ((-signal.SIGBUS, True), (-signal.SIGSEGV, False), (3, False)):
        assert lost_a_page(ProcessExpired("gone", code=code)) == lost  # type: ignore[no-untyped-call]
    assert not lost_a_page(TimeoutError())


def test_a_pool_that_lost_patience() -> None:
    """The pool's own limit is a timeout too."""
    assert cause(TimeoutError(), 2.5) == ("decoder-timeout", "it took longer than 2.5 s")


def test_cores() -> None:
    """There is at least one core."""
    assert cores() >= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_put_off(number: signal.Signals) -> None:
    """A signal that comes meanwhile is heard afterwards, by whoever heard it before."""
    heard: list[int] = []
    before = signal.signal(number, lambda number, _: heard.append(number))
    try:
        with uninterrupted():
            signal.raise_signal(number)
            assert heard == []
        assert heard == [number]
        signal.raise_signal(number)
        assert heard == [number, number]
    finally:
        signal.signal(number, before)


def test_other_threads(capsys: pytest.CaptureFixture[str]) -> None:
    """In a thread that hears no signals, nothing is done."""
    done: list[bool] = []

    def enter() -> None:
        with uninterrupted():
            done.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert done == [True]


@pytest.mark.slow
def test_a_deep_folder_for_temporary_files(tmp_path: Path) -> None:
    """Workers start also where the name of the fork server's socket would be too long to be bound."""
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    code = """
import multiprocessing.util
from pipeline import isolation
from pipeline.pool import Pool
if __name__ == "__main__":
    context = isolation.fork_server()
    isolation.start_fork_server()
    pool = Pool(1, context, isolation.confine, (1 << 30,))
    print(pool.schedule(abs, args=[-3]).result(), multiprocessing.util.get_temp_dir())
    pool.end()
"""
    script = tmp_path / "main.py"
    script.write_text(code, "utf-8")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(deep)}
    done = subprocess.run(
        [sys.executable, script], env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout.startswith("3 "), done.stderr
    assert not Path(done.stdout.split()[1]).exists()
