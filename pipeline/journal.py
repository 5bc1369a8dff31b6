"""Telling a run to programs: one JSON object a line on standard error, the run's id in each."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from pipeline.history import Ending
from pipeline.records import ArchiveResult, ArchiveVerdict, Entry, Outcome, Recorded, Verdict
from pipeline.report import Report

LEVELS = {
    ArchiveVerdict.REJECTED: "error",
    ArchiveVerdict.FAILED: "error",
    ArchiveVerdict.WAITING: "warning",
}


class Journal:
    """Writes one event for each archive that is not known and each member refused; keeps the report.

    Archives recognised as known without being opened are only counted, in `run-finished`.
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    def __enter__(self) -> Self:
        return self

    def began(self) -> None:
        """Tell the beginning of the run."""
        run = self._report.run
        about = {"command": run.command, "sink": run.sink, "host": run.host, "pid": run.pid}
        self._say("info", "run-started", about)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def opened(self, entry: Entry) -> None:
        """Nothing: an archive is told once, at its end."""

    def worked(self, entry: Entry, outcomes: list[Outcome]) -> None:
        """Tell the members that were refused."""
        self._report.note(entry, outcomes)
        for outcome in outcomes:
            if outcome.verdict and outcome.verdict is not Verdict.IGNORED:
                self._member(entry, outcome)

    def refused(self, entry: Entry, outcome: Outcome) -> None:
        """Tell a member that the sink refused."""
        self._report.note(entry, [outcome])
        self._member(entry, outcome)

    def recorded(self, entry: Entry, recorded: Recorded) -> None:
        """Count a member that an interrupted run recorded, and told."""
        del entry
        self._report.recall(recorded)

    def closed(self, result: ArchiveResult) -> None:
        """Tell an archive's result."""
        self._report.close(result)
        if result.verdict is ArchiveVerdict.KNOWN and not result.detail:
            return
        self._say(
            LEVELS.get(result.verdict, "info"),
            "archive",
            {
                "archive": result.name,
                "verdict": result.verdict.value,
                "reason": result.reason,
                "detail": result.detail,
                "balance": asdict(result.balance),
            },
        )

    def warned(self, message: str) -> None:
        """Tell trouble that does not end the run, and keep it for the account."""
        self._report.warnings.append(message)
        self._say("warning", "warning", {"message": message})

    def ended(self, ending: Ending) -> None:
        """Tell the end of the run, with its balance."""
        self._say(
            {0: "info", 3: "warning"}.get(ending.exit_code, "error"),
            "run-finished",
            {
                "state": ending.state.value,
                "exit_code": ending.exit_code,
                "message": ending.message,
                "archives": {verdict.value: count for verdict, count in ending.archives.items()},
                "balance": asdict(ending.balance),
                "seconds": ending.seconds,
            },
        )

    def _say(self, level: str, event: str, more: Mapping[str, object]) -> None:
        say(level, event, {"run": str(self._report.run.id), **more})

    def _member(self, entry: Entry, outcome: Outcome) -> None:
        self._say(
            "warning",
            "member",
            {
                "archive": entry.archive.name,
                "index": outcome.index,
                "member": outcome.name,
                "verdict": str(outcome.verdict),
                "reason": outcome.reason,
                "detail": outcome.detail,
            },
        )


def say(level: str, event: str, more: Mapping[str, object]) -> None:
    """Write one event."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sys.stderr.write(json.dumps({"time": time, "level": level, "event": event, **more}) + "\n")
    sys.stderr.flush()
