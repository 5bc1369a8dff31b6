"""What makes a process fit to run decoders."""

from __future__ import annotations

import signal
import threading

import pytest
from pebble import ProcessExpired

from pipeline.isolation import cause, cores, uninterrupted


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
