"""Measuring counts what a command really used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import measure as measure_module
from bench.measure import RunFailed, measure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")


def test_time_and_memory_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU time of the command's children counts, and so does the most memory that it held."""
    seen = tmp_path / "seen"
    peak = measure_module._peak

    def watched(pid: int) -> int:
        found = peak(pid)
        if found > 64 << 20:
            seen.touch()
        return found

    monkeypatch.setattr(measure_module, "_peak", watched)
    code = """if True:
        import os, sys, time
        held = bytearray(64 << 20)
        if not os.fork():
            until = time.process_time() + 0.2
            while time.process_time() < until:
                pass
            os._exit(0)
        os.wait()
        while not os.path.exists(sys.argv[1]):
            time.sleep(0.01)
        time.sleep(0.3)"""
    cost = measure([sys.executable, "-c", code, str(seen)], os.environ, tmp_path, None)
    assert cost.cpu >= 0.2
    assert cost.seconds >= 0.3
    assert cost.peaks["main"] > 64 << 20


def test_a_failing_contestant_is_told(tmp_path: Path) -> None:
    """A command that ends with an error raises with its words."""
    with pytest.raises(RunFailed, match="no such luck"):
        measure([sys.executable, "-c", "raise SystemExit('no such luck')"], os.environ, tmp_path, None)
