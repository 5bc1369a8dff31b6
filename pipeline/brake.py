"""When a run takes no more work: its time is up, too much goes wrong, the disk runs low, or it is asked to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.settings import Settings


@dataclass(slots=True)
class Brake:
    """Tells a run whether to stop, and why; what it has in hand is then finished and recorded, the rest waits.

    `errors` counts what went wrong so far, `free_bytes` what may still be written, `asked` whether the process
    shall stop. Time is the monotonic clock's, so that a clock that is set does not matter. The first reason stays.
    """

    settings: Settings
    errors: Callable[[], int] = int
    free_bytes: Callable[[], int] | None = None
    asked: Callable[[], bool] = bool
    reason: str = ""
    _started: float = field(default_factory=time.monotonic)

    def check(self, flying: int | None = None) -> str:
        """Give the reason to stop, or nothing; `flying` bytes are about to be written, None for no writing."""
        if not self.reason:
            self.reason = self._look(flying)
        return self.reason

    def _look(self, flying: int | None) -> str:
        if self.asked():
            return "stopping"
        limit, most = self.settings.time_limit, self.settings.max_errors
        if limit is not None and time.monotonic() - self._started >= limit:
            return "time-limit"
        if most is not None and self.errors() > most:
            return "max-errors"
        if flying is None or self.free_bytes is None:
            return ""
        if self.free_bytes() - flying < self.settings.reserve:
            return "low-disk"
        return ""
