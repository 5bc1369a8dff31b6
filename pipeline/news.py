"""A guess whether there is anything new, made before the ledger can be asked; being wrong costs time only."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.inbox import Delivery

STAMP = "last-run"


def likely(data: Path, deliveries: Sequence[Delivery]) -> bool:
    """Tell whether a file was delivered since the last run: files written, or folders changed, after its stamp."""
    if not deliveries:
        return False
    try:
        last = (data / STAMP).stat().st_mtime_ns
    except OSError:
        return True
    if any(delivery.file.mtime_ns > last for delivery in deliveries):
        return True
    try:
        return any(folder.stat().st_mtime_ns > last for folder in {delivery.root for delivery in deliveries})
    except OSError:
        return False


def seen(data: Path) -> None:
    """Note that a run has seen all that there was; where nothing can be written, guesses stay what they are."""
    with contextlib.suppress(OSError):
        data.mkdir(parents=True, exist_ok=True)
        (data / STAMP).touch()
