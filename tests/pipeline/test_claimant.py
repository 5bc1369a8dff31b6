"""A process is told from the dead, and from a later one with its number."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.claimant import _process, is_dead, this_host, this_process


def test_this_process_lives() -> None:
    """The process that asks is not dead, also not to itself."""
    assert this_process().startswith(f"{os.getpid()}@")
    assert not is_dead(this_host(), this_process())


@pytest.mark.skipif(sys.platform != "linux", reason="a zombie is told by /proc")
def test_the_dead_are_known_on_this_host_only() -> None:
    """A process that ended is dead here, waited for or not; of another host nothing is known."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        name = _process(child.pid)
        assert not is_dead(this_host(), name)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(this_host(), name)
    assert is_dead(this_host(), name)
    assert not is_dead("elsewhere", name)
    assert not is_dead("", "")
    assert not is_dead(this_host(), "nonsense")


@pytest.mark.skipif(sys.platform != "linux", reason="times of start are read from /proc")
def test_a_number_taken_again() -> None:
    """Another process under the number of a dead one does not keep it alive."""
    assert is_dead(this_host(), f"{os.getpid()}@1")
