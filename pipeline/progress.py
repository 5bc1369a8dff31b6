"""Showing a run: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tqdm import tqdm

from pipeline.records import ArchiveResult, ArchiveVerdict, Balance, Entry, Outcome, Recorded
from pipeline.report import Report


def printable(text: str) -> str:
    """Escape what could steer a terminal or deceive a reader: control, bidi and invisible characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def balance_line(balance: Balance) -> str:
    """Say a balance in one line."""
    return (
        f"{balance.members:,} members = {balance.stored:,} stored + {balance.duplicate:,} duplicate"
        f" + {balance.rejected:,} rejected + {balance.ignored:,} ignored + {balance.failed:,} failed"
    )


def result_line(result: ArchiveResult) -> str:
    """Say an archive's result in one line."""
    line = f"{result.verdict:<8}  {printable(result.name)}"
    if result.reason and result.verdict is not ArchiveVerdict.KNOWN:
        line += f"  ({result.reason}{': ' + printable(result.detail) if result.detail else ''})"
    if result.balance.members:
        line += f"  {balance_line(result.balance)}"
    return line


class Display:
    """Shows progress on standard error and keeps the report; a context manager that owns the bars."""

    def __init__(
        self,
        report: Report,
        total_archives: int | None = None,
        activity: Callable[[], str] = str,
    ) -> None:
        self._report = report
        self._activity = activity
        self._bars = sys.stderr.isatty()
        hidden = not self._bars
        self._archives = tqdm(
            total=total_archives, desc="archives", unit="zip", disable=hidden, position=0, leave=False
        )
        self._members = tqdm(
            total=0, desc="members ", unit="img", disable=hidden, position=1, leave=False, smoothing=0.1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._members.close()
        self._archives.close()

    def opened(self, entry: Entry) -> None:
        """Widen the members' bar by a new archive."""
        if self._bars:
            self._members.total = (self._members.total or 0) + entry.archive.members
            self._members.refresh()

    def worked(self, entry: Entry, outcomes: list[Outcome]) -> None:
        """Move the members' bar and count outcomes."""
        self._report.note(entry, outcomes)
        if self._bars:
            self._members.set_postfix_str(self._activity(), refresh=False)
        self._members.update(len(outcomes))

    def refused(self, entry: Entry, outcome: Outcome) -> None:
        """Count an image that the sink refused; the bar moved past it when it was worked."""
        self._report.note(entry, [outcome])

    def recorded(self, entry: Entry, recorded: Recorded) -> None:
        """Move the members' bar past one that an interrupted run recorded."""
        del entry
        self._report.recall(recorded)
        self._members.update(1)

    def closed(self, result: ArchiveResult) -> None:
        """Show an archive's result; archives that were known already only move the bar."""
        self._report.close(result)
        self._archives.update(1)
        if result.verdict is not ArchiveVerdict.KNOWN:
            tqdm.write(result_line(result), file=sys.stderr)

    def warned(self, message: str) -> None:
        """Show trouble that does not end the run, and keep it for the account."""
        self._report.warnings.append(message)
        tqdm.write(f"Warning: {printable(message)}", file=sys.stderr)
