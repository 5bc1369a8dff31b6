"""What makes a process fit to run decoders."""

from __future__ import annotations

import signal
import threading

import pytest

from pipeline.isolation import uninterrupted


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
