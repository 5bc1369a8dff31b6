"""Showing a run: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pipeline.records import ArchiveResult, ArchiveVerdict, Balance, Entry, Outcome, Recorded
from pipeline.report import Report
from pipeline.words import counted, printable


def balance_line(balance: Balance) -> str:
    """Say a balance in one line."""
    return (
        f"{counted(balance.members, 'member')} = {balance.stored:,} stored + {balance.duplicate:,} duplicate"
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


class _Bars:
    """The bars of a terminal; what draws them is imported where there is one."""

    def __init__(self, total_archives: int | None) -> None:
        from tqdm import tqdm  # noqa: PLC0415

        self.archives = tqdm(total=total_archives, desc="archives", unit="zip", position=0, leave=False)
        self.members = tqdm(total=0, desc="members ", unit="img", position=1, leave=False, smoothing=0.1)


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
        self._bars = _Bars(total_archives) if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.members.close()
            self._bars.archives.close()

    def opened(self, entry: Entry) -> None:
        """Widen the members' bar by a new archive."""
        if self._bars:
            members = self._bars.members
            members.total = (members.total or 0) + entry.archive.members
            members.refresh()

    def worked(self, entry: Entry, outcomes: list[Outcome]) -> None:
        """Move the members' bar and count outcomes."""
        self._report.note(entry, outcomes)
        if self._bars:
            self._bars.members.set_postfix_str(self._activity(), refresh=False)
            self._bars.members.update(len(outcomes))

    def refused(self, entry: Entry, outcome: Outcome) -> None:
        """Count an image that the sink refused; the bar moved past it when it was worked."""
        self._report.note(entry, [outcome])

    def recorded(self, entry: Entry, recorded: Recorded) -> None:
        """Move the members' bar past one that an interrupted run recorded."""
        del entry
        self._report.recall(recorded)
        if self._bars:
            self._bars.members.update(1)

    def closed(self, result: ArchiveResult) -> None:
        """Show an archive's result; archives that were known already only move the bar."""
        self._report.close(result)
        if self._bars:
            self._bars.archives.update(1)
        if result.verdict is not ArchiveVerdict.KNOWN:
            self._write(result_line(result))

    def warned(self, message: str) -> None:
        """Show trouble that does not end the run, and keep it for the account."""
        self._report.warnings.append(message)
        self._write(f"Warning: {printable(message)}")

    def _write(self, line: str) -> None:
        if self._bars:
            self._bars.archives.write(line, file=sys.stderr)
        else:
            sys.stderr.write(f"{line}\n")
