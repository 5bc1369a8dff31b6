"""The account of a run: what became of every archive, and why members were not taken."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import STOPPED, SettingsError
from pipeline.history import Ending, Run, RunState
from pipeline.reasons import sentence
from pipeline.records import ArchiveResult, ArchiveVerdict, Balance, Entry, Outcome, Recorded, Verdict
from pipeline.textfile import write_text

SHOWN = 20
"""Refused members kept for the table at the end; all of them are in the catalog."""


class Refused(NamedTuple):
    """One line of the closing table: a member that was not taken, and why."""

    archive: str
    member: str
    reason: str
    detail: str


@dataclass(slots=True)
class Report:
    """Gathers a run's results; bounded but for one line for each archive."""

    run: Run
    strict: bool = False
    named: frozenset[Path] = frozenset()
    """Files that were asked for one by one: that they wait is told by the exit code."""
    archives: list[ArchiveResult] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    balance: Balance = field(default_factory=Balance)
    """The sum over the archives worked in this run."""
    verdicts: Counter[ArchiveVerdict] = field(default_factory=Counter)
    """How many archives got which verdict."""
    settled: Counter[str] = field(default_factory=Counter)
    """How many delivered files were deleted or moved where; those that stay count for nothing, ""."""
    errors: int = 0
    stopped: str = ""
    warnings: list[str] = field(default_factory=list)
    bytes: int = 0
    started: float = field(default_factory=time.monotonic)
    took: float | None = None
    """Seconds until the run's end was first told; every account of it says the same."""

    def note(self, entry: Entry, outcomes: Sequence[Outcome]) -> None:
        """Count what a slice's members became."""
        for outcome in outcomes:
            if outcome.image:
                self.bytes += outcome.image.byte_size
            elif outcome.verdict:
                self.reasons[outcome.reason] += 1
                self.errors += outcome.verdict is not Verdict.IGNORED
                if outcome.verdict is not Verdict.IGNORED and len(self.refused) < SHOWN:
                    name = entry.archive.name
                    self.refused.append(Refused(name, outcome.name, outcome.reason, outcome.detail))

    def recall(self, recorded: Recorded) -> None:
        """Count a member that an interrupted run had refused already."""
        self.reasons[recorded.reason] += 1

    def close(self, result: ArchiveResult) -> None:
        """Take an archive's final result."""
        self.archives.append(result)
        self.verdicts[result.verdict] += 1
        if result.balance.members:
            self.balance += result.balance
        self.errors += result.verdict in {ArchiveVerdict.REJECTED, ArchiveVerdict.FAILED}

    @property
    def delivered(self) -> bool:
        """Whether nothing was left undelivered, no archive was refused whole, and no file was left unsettled."""
        bad = {ArchiveVerdict.FAILED, ArchiveVerdict.REJECTED}
        balance = self.balance
        troubled = self.warnings or not bad.isdisjoint(self.verdicts)
        return balance.closed and not balance.failed and not troubled

    @property
    def exit_code(self) -> int:
        """The exit code of a run that came to its end: 1 when something is wrong, 3 when only the time was.

        That is so when the run's time was up, and when a file that was asked for by its name waits.
        """
        wrong = self.stopped in {"max-errors", "low-disk"} or (self.strict and self.balance.rejected)
        if wrong or not self.delivered:
            return 1
        return 3 if self.stopped == "time-limit" or any(self._kept_waiting()) else 0

    def _kept_waiting(self) -> Iterator[ArchiveResult]:
        return (r for r in self.archives if r.verdict is ArchiveVerdict.WAITING and r.path in self.named)

    @property
    def seconds(self) -> float:
        """How long the run took, or has taken so far; rounded to milliseconds."""
        return round(time.monotonic() - self.started, 3) if self.took is None else self.took

    def ending(self, error: BaseException | None = None) -> Ending:
        """Say how the run ended: by itself, or by an error or by a request to stop."""
        self.took = self.seconds
        if error is None:
            state, code = RunState.STOPPED if self.stopped else RunState.FINISHED, self.exit_code
            message = sentence(self.stopped) if self.stopped else ""
        elif isinstance(error, KeyboardInterrupt):
            state, code, message = RunState.STOPPED, 1, STOPPED
        else:
            state, code = RunState.FAILED, 2 if isinstance(error, SettingsError) else 1
            message = str(error) or type(error).__name__
        return Ending(state, code, self.verdicts, self.balance, message, self.took)

    def as_dict(self) -> dict[str, object]:
        """Give the report as the JSON document that `--report` writes."""
        seconds = self.seconds
        balance = self.balance
        images = balance.stored + balance.duplicate
        return {
            "run": str(self.run.id),
            "balance": asdict(balance),
            "archives": [
                {
                    "name": result.name,
                    "verdict": result.verdict.value,
                    "reason": result.reason,
                    "detail": result.detail,
                    "balance": asdict(result.balance),
                }
                for result in self.archives
            ],
            "reasons": dict(self.reasons.most_common()),
            "seconds": seconds,
            "images_per_second": round(images / seconds, 1) if seconds else 0.0,
            "bytes": self.bytes,
            "warnings": self.warnings,
            "stopped": self.stopped,
        }

    def write(self, path: Path) -> None:
        """Write the JSON document to a file, whole or not at all; raises `StoreError`."""
        write_text(path, json.dumps(self.as_dict(), indent=2, ensure_ascii=True) + "\n", "The report")
