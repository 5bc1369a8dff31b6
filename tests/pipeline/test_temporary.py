"""Temporary files are told apart by whose they are."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from pipeline.temporary import STALE_SECONDS, is_stale, is_temporary, temporary_name


def left_by(folder: Path, process: int, rest: str = "1") -> Path:
    """Make a temporary file as another process of this machine would."""
    path = folder / temporary_name(rest).replace(str(os.getpid()), str(process), 1)
    path.write_bytes(b"half")
    return path


def test_own_file_is_in_use(tmp_path: Path) -> None:
    """A file of a living process is left alone until it is a day old."""
    path = left_by(tmp_path, os.getpid())
    assert is_temporary(str(path))
    assert not is_stale(str(path))
    os.utime(path, (0, path.stat().st_mtime - STALE_SECONDS - 10))
    assert is_stale(str(path))


def test_file_of_a_dead_process(tmp_path: Path) -> None:
    """A file is nobody's once its process has ended, also while the process was not yet buried by its parent."""
    with subprocess.Popen(["sleep", "600"]) as process:
        path = left_by(tmp_path, process.pid)
        assert not is_stale(str(path))
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_stale(str(path))
    assert is_stale(str(path))


def test_file_of_another_machine(tmp_path: Path) -> None:
    """A process number of another machine or container says nothing here."""
    with subprocess.Popen(["true"]) as process:
        pass
    mine = left_by(tmp_path, process.pid)
    owner, here, rest = mine.name.rpartition("-")[0], "0badf00d", "1"
    other = tmp_path / f"{owner.rpartition('-')[0]}-{here}-{rest}"
    other.write_bytes(b"half")
    assert is_stale(str(mine))
    assert not is_stale(str(other))


def test_gone(tmp_path: Path) -> None:
    """A file that is gone meanwhile is not stale."""
    assert not is_stale(str(tmp_path / temporary_name("1")))
