"""The brake says when a run takes no more work, and why."""

from __future__ import annotations

import time

import pytest

from pipeline.brake import Brake
from pipeline.settings import Settings


def test_without_limits_a_run_goes_on() -> None:
    """Nothing stops a run that nothing limits."""
    assert Brake(Settings()).check() == ""


def test_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is up after the limit, whatever the wall clock says meanwhile."""
    brake = Brake(Settings(time_limit=100.0))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert brake.check() == ""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 101)
    assert brake.check() == "time-limit"


@pytest.mark.parametrize(("errors", "reason"), [(2, ""), (3, "max-errors")])
def test_errors(errors: int, reason: str) -> None:
    """As many errors as are borne are borne; one more is too many."""
    assert Brake(Settings(max_errors=2), lambda: errors).check() == reason


@pytest.mark.parametrize(("flying", "reason"), [(0, ""), (100, ""), (101, "low-disk")])
def test_disk(flying: int, reason: str) -> None:
    """What is about to be written counts as written."""
    assert Brake(Settings(reserve=900), free_bytes=lambda: 1000).check(flying) == reason


def test_the_first_reason_stays() -> None:
    """A run that stops for one reason does not change its mind."""
    asked = True
    brake = Brake(Settings(max_errors=0), errors=lambda: 1, asked=lambda: asked)
    assert brake.check() == "stopping"
    asked = False
    assert brake.check() == "stopping"
